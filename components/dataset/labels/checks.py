"""Candidates -> what is new, what is known, what changes a label, and what is refused.

Nothing that looks like an image of the test split becomes a training example: the test split measures the models, and a
model that was trained on it would be measured too well.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from components.catalogues import catalogue_of
from components.contract import DataContract, Images, ImageSpec
from components.dataset.duplicates import find_duplicates
from components.dataset.labels.examples import LabelCandidate, LabelReject
from components.dataset.labels.naming import hash_of
from components.dataset.manifest import Examples
from components.readers.images.statistics import EVERY, measure_images

MEASURES = (*EVERY, "contrast")


@dataclass(frozen=True)
class Sorted:
    """What becomes of the candidates; each is counted once."""

    added: list[LabelCandidate]
    relabelled: dict[str, int]  # id of a training row -> its new class
    known: int  # there already, with that class, or named twice
    rejects: list[LabelReject]


class Known:
    """The rows of a dataset, found by id, hash or pixels."""

    def __init__(self, train: Examples, test: Examples) -> None:
        self.contract = train.contract
        self.train_ids = {row_id: int(label) for row_id, label in zip(train.ids, train.labels, strict=True)}
        self.train_hashes = _by_hash(train)
        self.test_ids, self.test_hashes = set(test.ids), _by_hash(test)

    def find(self, one: LabelCandidate) -> str:
        """The id of the training row that a candidate is or names; "" where it is a new image.

        Raises:
            LookupError: it names no training row, or is an image of the test split.
        """
        key = hash_of(one.pixels) if one.pixels else one.hash
        if one.row_id in self.test_ids or key in self.test_hashes:
            named = one.row_id or self.test_hashes[key]
            raise LookupError(f"in the test split, whose labels no import changes: {named}")
        if one.row_id and one.row_id not in self.train_ids:
            raise LookupError(f"no such row in the dataset: {one.row_id[:60]}; other ids need a file of their pixels")
        if one.hash and one.hash not in self.train_hashes:
            raise LookupError(f"no such row in the dataset: hash {one.hash[:60]}")
        return one.row_id or self.train_hashes.get(key, "")


def sort_candidates(candidates: list[LabelCandidate], train: Examples, test: Examples) -> Sorted:
    """Hold candidates against the dataset that they are to be added to."""
    known, rejects = Known(train, test), list[LabelReject]()
    groups = defaultdict[str, list[LabelCandidate]](list)  # those that are about the same image
    rows = dict[str, str]()  # group -> id of the training row that it is
    for one in candidates:
        try:
            row_id = known.find(one)
        except LookupError as error:
            rejects.append(LabelReject.of(one, str(error)))
            continue
        key = row_id or hash_of(one.pixels)
        groups[key].append(one)
        rows[key] = row_id
    new, relabelled, refused = list[LabelCandidate](), dict[str, int](), list[LabelReject]()
    for key, group in groups.items():
        row_id, label = rows[key], group[0].label
        if reason := _find_conflict(group, row_id, known):
            refused += [LabelReject.of(one, reason) for one in group]
        elif not row_id:
            new.append(group[0])
        elif known.train_ids[row_id] != label:
            relabelled[row_id] = label
    good, bad = _split_by_bounds(new, train.contract)
    added, copies = _split_by_duplicates(good, test)
    rejects += [*refused, *bad, *copies]
    return Sorted(added, relabelled, len(candidates) - len(added) - len(relabelled) - len(rejects), rejects)


def _find_conflict(group: list[LabelCandidate], row_id: str, known: Known) -> str:
    """Why nobody but a person can say which class an image has; "" where they agree."""
    labels = sorted({one.label for one in group})
    if len(labels) > 1:
        return f"given several classes at once: {', '.join(known.contract.classes[label] for label in labels)}"
    if row_id and known.train_ids[row_id] != labels[0] and all(one.pixels for one in group):
        said = known.contract.classes[known.train_ids[row_id]]
        return f"the very image of a training row of another class: {row_id}, {said}; a table of id,label changes it"
    return ""


def to_images(candidates: Iterable[LabelCandidate], image: ImageSpec) -> Images:
    """Their pixels, uint8 (n, height, width[, 3])."""
    return np.frombuffer(b"".join(one.pixels for one in candidates), np.uint8).reshape(-1, *image.shape)


def _by_hash(examples: Examples) -> dict[str, str]:
    return {hash_of(image.tobytes()): row_id for row_id, image in zip(examples.ids, examples.images, strict=True)}


def _split_by_bounds(
    candidates: list[LabelCandidate], contract: DataContract
) -> tuple[list[LabelCandidate], list[LabelReject]]:
    """Those that validation would accept, and those that would make it refuse the whole."""
    if not candidates:
        return [], []
    measured = measure_images(to_images(candidates, contract.image), MEASURES)
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
            bad.append(LabelReject.of(one, f"not like the dataset's images: {'; '.join(broken)}"))
        else:
            good.append(one)
    return good, bad


def _split_by_duplicates(
    candidates: list[LabelCandidate], test: Examples
) -> tuple[list[LabelCandidate], list[LabelReject]]:
    """Those that are not, and those that are, a copy of a test image, changed a little."""
    if not candidates:
        return [], []
    copies = {copy.row: copy for copy in find_duplicates(to_images(candidates, test.contract.image), test.images)}
    rejects = [
        LabelReject.of(
            candidates[row], f"as good as an image of the test split: {test.ids[copy.other]}, {copy.likeness}"
        )
        for row, copy in copies.items()
    ]
    return [one for row, one in enumerate(candidates) if row not in copies], rejects
