"""Labelled images -> which of them are the test split, where a source has none.

What shows one thing stays in one split, or the test split would measure what a model remembers: near copies of each
other, and rows of one group (a product, a seller, a photographer). These sets are taken in the order of a hash of what
is in them, so the order of the rows has no say, and a set that is added later pushes few others across the border.

A near copy is a photo that was saved again, made brighter or cropped by up to 2 %. Another shot of the same product is
not found: at the size of an image it is no more like the first one than two products on one background are like each
other. `groups` are for that.

A class gets `share` of its images, at least 1, and at least 2 where it has 10, as near as its sets allow. Never more
than half of a class's sets are taken: where one photographer made most of the pictures, those of all others would go to
the test split otherwise, and the model would learn from one photographer alone.
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
from components.dataset.duplicates import Alike
from components.dataset.linking import link, link_duplicates, link_equal
from components.errors import SourceError

SHARE = 0.15  # of a class's images

Refs = Sequence[str | None]


@dataclass(frozen=True)
class Drawn:
    """A test split, and what was found on the way. Rows are positions in the source."""

    test: NDArray[np.bool_]  # (n,), what goes to the test split
    left_out: NDArray[np.bool_]  # (n,), what goes to neither: `duplicates` and `conflicts`
    counts: dict[Split, tuple[int, ...]]  # images of each class, by label
    near_groups: int  # sets of two or more near copies of each other
    duplicates: dict[int, int]  # row -> the row with the very same image and label that is kept
    conflicts: tuple[tuple[int, ...], ...]  # rows of the very same image under several labels
    near_conflicts: tuple[Alike, ...]  # near copies under different labels; both stay
    straddling: tuple[int, ...]  # rows of sets that the version before has in both splits, where no row may move

    @property
    def train(self) -> NDArray[np.bool_]:
        """(n,), what goes to the training split."""
        return ~self.test & ~self.left_out


def draw_test_split(
    images: Images,
    labels: Labels,
    digests: Sequence[str],
    groups: Refs | None = None,
    before: Mapping[str, Split] | None = None,
    share: float = SHARE,
    classes: Sequence[str] = (),
) -> Drawn:
    """Draw the test split of a source that has none.

    The same rows in any order give the same split. With `before` no row that it knows changes its split, whatever is
    added; without it, few do.

    Args:
        images: as the model will see them, uint8 (n, height, width[, 3]).
        labels: (n,).
        digests: SHA-256 of each row's file or content, hex.
        groups: text that rows have in common which must not be parted; "" or None: none.
        before: digest -> its split in the version before.
        share: of each class's images, above 0 and below 1.
        classes: the classes' names by label, for errors.

    Raises:
        SourceError: a class that cannot be in both splits. Says why, and what to do.
        ValueError: arguments of different lengths, or a share that is none.
    """
    groups, before = groups or [None] * len(labels), before or {}
    if not len(images) == len(labels) == len(digests) == len(groups):
        raise ValueError(f"{len(images)} images, {len(labels)} labels, {len(digests)} digests, {len(groups)} groups")
    if not 0 < share < 1:
        raise ValueError(f"a share of {share}; expected a number between 0 and 1")
    duplicates, conflicts = find_equal(images, labels, digests, groups, [digest in before for digest in digests])
    left_out = np.zeros(len(labels), bool)
    left_out[[*duplicates, *(row for rows in conflicts for row in rows)]] = True
    kept = np.array(sorted(np.flatnonzero(~left_out).tolist(), key=lambda row: digests[row]), np.intp)
    near, doubtful = link_duplicates(images[kept], labels[kept])
    row_sets = _collect(kept, near, duplicates, labels, digests, groups)
    balance = Balance(share)
    test, straddling = _assign(row_sets, digests, before, balance)
    drawn = Drawn(
        test,
        left_out,
        _count(labels, test, left_out, len(classes)),
        near_groups=int((np.bincount(near) > 1).sum()),
        duplicates=duplicates,
        conflicts=conflicts,
        near_conflicts=tuple(Alike(int(kept[one.row]), int(kept[one.other]), one.likeness) for one in doubtful),
        straddling=straddling,
    )
    _require_both(drawn, balance, labels, classes)
    return drawn


def find_equal(
    images: Images, labels: Labels, digests: Sequence[str], groups: Refs, preferred: Sequence[bool]
) -> tuple[dict[int, int], tuple[tuple[int, ...], ...]]:
    """The very same images: files of equal bytes, or those that become equal pixels.

    Args:
        images: uint8 (n, height, width[, 3]).
        labels: (n,).
        digests: SHA-256 of each row's file or content, hex.
        groups: (n,), see `draw_test_split`.
        preferred: (n,), the rows that are kept rather than others.

    Returns:
        Of those with one label, each row that is left out -> the one that is kept: a preferred one, else the first by
        digest. And the rows of those with several labels.
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
    """What stays together, by near copies, by equal images and by group, in the order in which it is drawn."""
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
    row_sets: list[RowSet], digests: Sequence[str], before: Mapping[str, Split], balance: Balance
) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Which rows are tested, (n,), and the rows of sets that are in both splits already.

    What joins a set of before goes where that is. Where it is in both splits, because what joins it links two sets, a
    new row goes to the training split, so that the test split stays what it was.
    """
    tested, free, straddling = list[int](), list[RowSet](), list[int]()
    for one in row_sets:
        balance.add(one)
        known = {row: before[digests[row]] for row in one.rows if digests[row] in before}
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
    own = "put test pictures of your own into a folder test beside train"
    if images == 0:
        return "each of its pictures is in another class too. Remove it from one of them"
    if images == 1:
        return f"found 1 picture that can be used, expected 2 or more. Add pictures, or {own}"
    if sets == 1:
        return (
            f"its {images:,} pictures are near copies of each other or of one group, which stay in one split. Add "
            f"pictures of other products, or {own}"
        )
    return (
        f"its {images:,} pictures stay where they, what they are near copies of, or their groups are already. Add "
        f"pictures of other products, or {own}"
    )
