"""Draw the test split of a source that has none.

Near-duplicates, and rows of one group (a product, a seller, a photographer), stay in one split; otherwise the test
split would reward memorization. These sets are drawn in the order of a hash of their content, so the order of the rows
does not matter, and adding rows moves few sets to the other split.

A near-duplicate is a photo that was saved again, brightened, or cropped by at most 2 %. Another shot of the same
product is not detected: at the size of an image, it correlates no more than two products on the same background do.
Use `groups` for these.

A class gets `share` of its images, at least 1, and at least 2 of 10 or more, as closely as its sets allow. At most half
of its sets are drawn: if one photographer took most of the pictures, all other photographers would otherwise end up in
the test split.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Labels, Split
from components.dataset.balance import Balance, RowSet
from components.dataset.duplicates import DuplicatePair
from components.dataset.linking import link, link_duplicates, link_equal
from components.errors import SourceError

SHARE = 0.15  # of each class's images

Refs = Sequence[str | None]


@dataclass(frozen=True)
class Drawn:
    """A drawn test split, and the duplicates found. Rows are positions in the source."""

    test: NDArray[np.bool_]  # (n,), rows of the test split
    left_out: NDArray[np.bool_]  # (n,), rows of neither split: `duplicates` and `conflicts`
    counts: dict[Split, tuple[int, ...]]  # images per class, by label
    near_groups: int  # sets of two or more near-duplicates
    duplicates: dict[int, int]  # row -> the kept row with the same image and label
    conflicts: tuple[tuple[int, ...], ...]  # rows with the same image but different labels
    near_conflicts: tuple[DuplicatePair, ...]  # near-duplicates with different labels; both are kept
    straddling: tuple[int, ...]  # rows of sets that the previous version already has in both splits

    @property
    def train(self) -> NDArray[np.bool_]:
        """(n,), rows of the training split."""
        return ~self.test & ~self.left_out


def draw_test_split(
    images: Images,
    labels: Labels,
    digests: Sequence[str],
    groups: Refs | None = None,
    previous: Mapping[str, Split] | None = None,
    share: float = SHARE,
    classes: Sequence[str] = (),
) -> Drawn:
    """Draw the test split of a source that has none.

    The split does not depend on the order of the rows. When rows are added, the rows in `previous` keep their split;
    without `previous`, few rows change theirs.

    Args:
        images: uint8 (n, height, width[, 3]), as prepared for the model.
        labels: (n,).
        digests: SHA-256 of each row's file or content, hex.
        groups: group of each row; rows of a group stay in one split. "" or None: no group.
        previous: digest -> split in the previous version.
        share: target share of each class's images, between 0 and 1, exclusive.
        classes: class names by label, for error messages.

    Raises:
        SourceError: a class cannot be in both splits. Says why, and what to do.
        ValueError: arguments differ in length, or `share` is out of range.
    """
    groups, previous = groups or [None] * len(labels), previous or {}
    if not len(images) == len(labels) == len(digests) == len(groups):
        lengths = f"{len(images)} images, {len(labels)} labels, {len(digests)} digests, {len(groups)} groups"
        raise ValueError(f"expected equal lengths, found {lengths}")
    if not 0 < share < 1:
        raise ValueError(f"share: found {share}, expected a number between 0 and 1")
    duplicates, conflicts = find_equal(images, labels, digests, groups, [digest in previous for digest in digests])
    left_out = np.zeros(len(labels), bool)
    left_out[[*duplicates, *(row for rows in conflicts for row in rows)]] = True
    kept = np.array(sorted(np.flatnonzero(~left_out).tolist(), key=lambda row: digests[row]), np.intp)
    near, doubtful = link_duplicates(images[kept], labels[kept])
    row_sets = _collect(kept, near, duplicates, labels, digests, groups)
    balance = Balance(share)
    test, straddling = _assign(row_sets, digests, previous, balance)
    drawn = Drawn(
        test,
        left_out,
        _count(labels, test, left_out, len(classes)),
        near_groups=int((np.bincount(near) > 1).sum()),
        duplicates=duplicates,
        conflicts=conflicts,
        near_conflicts=tuple(
            DuplicatePair(int(kept[one.row]), int(kept[one.other]), one.correlation) for one in doubtful
        ),
        straddling=straddling,
    )
    _require_both(drawn, balance, labels, classes)
    return drawn


def find_equal(
    images: Images, labels: Labels, digests: Sequence[str], groups: Refs, preferred: Sequence[bool]
) -> tuple[dict[int, int], tuple[tuple[int, ...], ...]]:
    """Find exact duplicates: files with equal bytes, or images with equal pixels.

    Args:
        images: uint8 (n, height, width[, 3]).
        labels: (n,).
        digests: SHA-256 of each row's file or content, hex.
        groups: (n,), see `draw_test_split`.
        preferred: (n,), rows to keep rather than others.

    Returns:
        Duplicates with the same label: dropped row -> kept row (a preferred one, else the first by digest). And the
        rows of duplicates with different labels.
    """
    contents = link_equal(np.arange(len(digests)), digests)
    contents = link_equal(contents, (hashlib.sha256(image.tobytes()).digest() for image in images))
    duplicates, conflicts = dict[int, int](), list[tuple[int, ...]]()
    for rows in _members(contents):
        if len({int(labels[row]) for row in rows}) > 1:
            conflicts.append(tuple(rows))
        elif len(rows) > 1:
            first, *others = sorted(rows, key=lambda row: (not preferred[row], digests[row], groups[row] or ""))
            duplicates |= dict.fromkeys(others, first)
    return duplicates, tuple(conflicts)


def _members(sets: NDArray[np.intp]) -> list[list[int]]:
    """The rows of each set, in order."""
    members = defaultdict[int, list[int]](list)
    for row, one in enumerate(sets.tolist()):
        members[one].append(row)
    return list(members.values())


def _collect(
    kept: NDArray[np.intp],
    near: NDArray[np.intp],
    duplicates: Mapping[int, int],
    labels: Labels,
    digests: Sequence[str],
    groups: Refs,
) -> list[RowSet]:
    """Group rows by near-duplicates, exact duplicates and group, in drawing order."""
    chains = [pair for rows in _members(near) for pair in pairwise(kept[rows].tolist())]
    rows, others = np.array([*chains, *duplicates.items()], np.intp).reshape(-1, 2).T
    sets = link_equal(link(np.arange(len(labels)), rows, others), groups)
    staying = set(kept.tolist())
    collected = []
    for members in _members(sets):
        inside = tuple(row for row in members if row in staying)
        if inside:
            named = sorted(f"group {name}" for row in members if (name := groups[row]))
            content = named[0] if named else min(digests[row] for row in inside)
            key = hashlib.sha256(f"test split: {content}".encode()).digest()
            collected.append(RowSet(key, inside, Counter(int(labels[row]) for row in inside)))
    return sorted(collected, key=lambda one: one.key)


def _assign(
    row_sets: list[RowSet], digests: Sequence[str], previous: Mapping[str, Split], balance: Balance
) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Assign rows to the test split, (n,). Also returns the rows of sets that are already in both splits.

    New rows follow the set they join. If they link sets of both splits, they go to the training split, so that the test
    split does not change.
    """
    tested, free, straddling = list[int](), list[RowSet](), list[int]()
    for one in row_sets:
        balance.add(one)
        known = {row: previous[digests[row]] for row in one.rows if digests[row] in previous}
        splits = set(known.values())
        if not splits:
            free.append(one)
        elif splits == {"test"}:
            balance.take(one)
            tested += one.rows
        elif len(splits) > 1:
            straddling += one.rows
            tested += [row for row, split in known.items() if split == "test"]
    tested += [row for one in balance.draw(free) for row in one.rows]
    test = np.zeros(len(digests), bool)
    test[tested] = True
    return test, tuple(straddling)


def _count(
    labels: Labels, test: NDArray[np.bool_], left_out: NDArray[np.bool_], classes: int
) -> dict[Split, tuple[int, ...]]:
    sides: dict[Split, NDArray[np.bool_]] = {"train": ~test & ~left_out, "test": test}
    size = max(classes, int(labels.max(initial=0)) + 1)
    return {split: tuple(np.bincount(labels[side], minlength=size).tolist()) for split, side in sides.items()}


def _require_both(drawn: Drawn, balance: Balance, labels: Labels, classes: Sequence[str]) -> None:
    """Check that every class of the source is in both splits."""
    for label in np.unique(labels).tolist():
        if min(drawn.counts["train"][label], drawn.counts["test"][label]) == 0:
            name = classes[label] if classes else f"label {label}"
            reason = _explain(balance.images[label], balance.sets[label])
            raise SourceError(f"the class {name!r} cannot be in both the training and the test split: {reason}")


def _explain(images: int, sets: int) -> str:
    """Why a class is in one split only, and what to do."""
    own = "put your own test pictures into a folder test next to train"
    if images == 0:
        return "each of its pictures is also in another class. Remove the duplicates from one of them"
    if images == 1:
        return f"found 1 usable picture, expected 2 or more. Add pictures, or {own}"
    if sets == 1:
        return (
            f"its {images:,} pictures are near-duplicates or belong to one group, which stays in one split. Add "
            f"pictures of other products, or {own}"
        )
    return (
        f"its {images:,} pictures must stay in the split that they, their near-duplicates or their groups are already "
        f"in. Add pictures of other products, or {own}"
    )
