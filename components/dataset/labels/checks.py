"""Sort candidates into new examples, known ones, label corrections and rejects.

Near-duplicates of test images never become training examples, because they would inflate the test metrics.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from components.catalogues import catalogue_of
from components.contract import DataContract, Images
from components.dataset.duplicates import find_duplicates
from components.dataset.labels.examples import LabelCandidate, LabelReject
from components.dataset.labels.naming import hash_of
from components.dataset.manifest import Examples
from components.readers.images.statistics import EVERY, measure_images

MEASURES = (*EVERY, "contrast")


@dataclass(frozen=True)
class SortedCandidates:
    """The sorted candidates; each is counted once."""

    added: list[LabelCandidate]
    relabelled: dict[str, int]  # id of a training row -> its new label
    known: int  # already in the dataset with that label, or repeated
    rejects: list[LabelReject]


class KnownRows:
    """Looks up rows of a dataset by id, hash or pixels."""

    def __init__(self, train: Examples, test: Examples) -> None:
        self.contract = train.contract
        self.train_ids = {row_id: int(label) for row_id, label in zip(train.ids, train.labels, strict=True)}
        self.train_hashes = _by_hash(train)
        self.test_ids, self.test_hashes = set(test.ids), _by_hash(test)

    def find(self, one: LabelCandidate) -> str:
        """The id of the training row that a candidate matches; "" for a new image.

        Raises:
            LookupError: the candidate names an unknown row, or matches the test split.
        """
        key = hash_of(one.pixels) if one.pixels else one.hash
        if one.row_id in self.test_ids or key in self.test_hashes:
            named = one.row_id or self.test_hashes[key]
            raise LookupError(f"in the test split, whose labels imports never change: {named}")
        if one.row_id and one.row_id not in self.train_ids:
            raise LookupError(f"no such row in the dataset: {one.row_id[:60]}; use --images for ids of other images")
        if one.hash and one.hash not in self.train_hashes:
            raise LookupError(f"no such row in the dataset: hash {one.hash[:60]}")
        return one.row_id or self.train_hashes.get(key, "")


def sort_candidates(candidates: list[LabelCandidate], train: Examples, test: Examples) -> SortedCandidates:
    """Compare candidates with the dataset and sort them."""
    known, rejects = KnownRows(train, test), list[LabelReject]()
    groups = defaultdict[str, list[LabelCandidate]](list)  # candidates of the same image
    rows = dict[str, str]()  # group -> id of its training row, or ""
    for one in candidates:
        try:
            row_id = known.find(one)
        except LookupError as error:
            rejects.append(LabelReject.of(one, str(error)))
            continue
        key = row_id or hash_of(one.pixels)
        groups[key].append(one)
        rows[key] = row_id
    new, relabelled, conflicting = list[LabelCandidate](), dict[str, int](), list[LabelReject]()
    for key, group in groups.items():
        row_id, label = rows[key], group[0].label
        if reason := _find_conflict(group, row_id, known):
            conflicting += [LabelReject.of(one, reason) for one in group]
        elif not row_id:
            new.append(group[0])
        elif known.train_ids[row_id] != label:
            relabelled[row_id] = label
    good, bad = _split_by_bounds(new, train.contract)
    added, duplicates = _split_by_duplicates(good, test)
    rejects += [*conflicting, *bad, *duplicates]
    return SortedCandidates(added, relabelled, len(candidates) - len(added) - len(relabelled) - len(rejects), rejects)


def _find_conflict(group: list[LabelCandidate], row_id: str, known: KnownRows) -> str:
    """Why a person must decide on an image's class; "" if there is no conflict."""
    labels = sorted({one.label for one in group})
    if len(labels) > 1:
        return f"conflicting classes for one image: {', '.join(known.contract.classes[label] for label in labels)}"
    if row_id and known.train_ids[row_id] != labels[0] and all(one.pixels for one in group):
        current = known.contract.classes[known.train_ids[row_id]]
        return (
            f"duplicate of a training image of another class: {row_id}, {current}; use a table of id,label to relabel"
        )
    return ""


def to_images(candidates: Iterable[LabelCandidate], contract: DataContract) -> Images:
    """The candidates' images, (n,)."""
    return np.frombuffer(b"".join(one.pixels for one in candidates), contract.dtype)


def _by_hash(examples: Examples) -> dict[str, str]:
    return {hash_of(image.tobytes()): row_id for row_id, image in zip(examples.ids, examples.images, strict=True)}


def _split_by_bounds(
    candidates: list[LabelCandidate], contract: DataContract
) -> tuple[list[LabelCandidate], list[LabelReject]]:
    """Split candidates into those within the validation bounds, and rejects."""
    if not candidates:
        return [], []
    measured = measure_images(to_images(candidates, contract), MEASURES)
    bounds = catalogue_of(contract).validation
    good, bad = [], []
    for row, one in enumerate(candidates):
        broken = [
            f"{name} {float(measured[name][row]):.4g}, expected {low:g} to {high:g}"
            for name in MEASURES
            if (range_of := getattr(bounds, name)) is not None
            for low, high in [range_of]
            if not low <= measured[name][row] <= high
        ]
        if broken:
            bad.append(LabelReject.of(one, f"outside the dataset's bounds: {'; '.join(broken)}"))
        else:
            good.append(one)
    return good, bad


def _split_by_duplicates(
    candidates: list[LabelCandidate], test: Examples
) -> tuple[list[LabelCandidate], list[LabelReject]]:
    """Split candidates into those that differ from all test images, and near-duplicates as rejects."""
    if not candidates:
        return [], []
    images = to_images(candidates, test.contract)
    duplicates = {pair.row: pair for pair in find_duplicates(images, test.images)}
    rejects = [
        LabelReject.of(candidates[row], f"near-duplicate of a test image: {test.ids[pair.other]}, {pair.correlation}")
        for row, pair in duplicates.items()
    ]
    return [one for row, one in enumerate(candidates) if row not in duplicates], rejects
