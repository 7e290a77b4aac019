"""Two models on the same images: which of them flip, and whether the difference could be chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from components.contract import Labels

Rows = tuple[int, ...]  # of the images, this model's most confident first


@dataclass(frozen=True)
class Flips:
    """The images that two models answer differently."""

    mended: Rows  # only the other model gets them wrong
    broken: Rows  # only this one does
    moved: Rows  # both do, in different ways
    chance: float  # of a split of mended and broken at least this uneven, were both equally good: McNemar's exact test


def find_flips(labels: Labels, answers: Labels, confidences: NDArray[np.floating], others: Labels) -> Flips:
    """Put a model's answers beside another's.

    Args:
        labels: the true ones, (n,).
        answers: this model's labels, (n,).
        confidences: how probable it says they are, (n,), 0 to 1.
        others: the other model's labels, (n,).
    """
    order = np.argsort(-confidences, kind="stable")
    flipped = order[answers[order] != others[order]]
    right, other_right = answers[flipped] == labels[flipped], others[flipped] == labels[flipped]
    mended, broken = flipped[right], flipped[other_right]
    return Flips(
        mended=tuple(mended.tolist()),
        broken=tuple(broken.tolist()),
        moved=tuple(flipped[~right & ~other_right].tolist()),
        chance=find_chance(len(mended), len(broken)),
    )


def find_chance(mended: int, broken: int) -> float:
    """How probable a split at least this uneven is between models that are equally good: McNemar's exact test."""
    uneven = mended + broken
    return float(binomtest(mended, uneven).pvalue) if uneven else 1.0


@dataclass(frozen=True)
class ClassChange:
    """What becomes of one class where a model takes another's place."""

    name: str
    before: int  # images that the other model takes for it
    after: int  # images that this one does
    gained: int  # of these, those that the other takes for something else
    lost: int
    mended: int  # images of this class that only this model gets right
    broken: int  # that only the other does
    moved: int  # that both get wrong, in different ways


@dataclass(frozen=True)
class Changes:
    """How two models' answers to the same images go together; can be added up over parts of the images."""

    names: tuple[str, ...]  # of the classes, by label
    table: NDArray[np.int64]  # images by the other's answer and this one's, (classes, classes)
    judged: NDArray[np.int64]  # images of each true class that are mended, broken and moved, (classes, 3)
    unlabelled: int  # images whose true class nobody knows

    def __add__(self, more: "Changes") -> "Changes":
        return Changes(
            self.names, self.table + more.table, self.judged + more.judged, self.unlabelled + more.unlabelled
        )

    @property
    def images(self) -> int:
        """All of them."""
        return int(self.table.sum())

    @property
    def flips(self) -> int:
        """Those that the two answer differently."""
        return self.images - int(self.table.trace())

    @property
    def most_common(self) -> int:
        """How many images the most frequent flip has."""
        return int((self.table - np.diag(self.table.diagonal())).max())

    @property
    def labelled(self) -> bool:
        """Whether the true class of every image is known."""
        return bool(self.images) and not self.unlabelled

    @property
    def mended(self) -> int:
        """Those that only this model gets right."""
        return int(self.judged[:, 0].sum())

    @property
    def broken(self) -> int:
        """Those that only the other model gets right."""
        return int(self.judged[:, 1].sum())

    @property
    def moved(self) -> int:
        """Those that both get wrong, in different ways."""
        return int(self.judged[:, 2].sum())

    @property
    def chance(self) -> float:
        """See `find_chance`."""
        return find_chance(self.mended, self.broken)

    @property
    def classes(self) -> tuple[ClassChange, ...]:
        """Class by class."""
        before, after, stayed = self.table.sum(axis=1), self.table.sum(axis=0), self.table.diagonal()
        counts = np.column_stack([before, after, after - stayed, before - stayed, self.judged]).tolist()
        return tuple(ClassChange(name, *found) for name, found in zip(self.names, counts, strict=True))


def count_changes(labels: Labels | None, before: Labels, after: Labels, names: tuple[str, ...]) -> Changes:
    """Count two models' answers.

    Args:
        labels: the true ones, (n,), one that is no class's where nobody knows; None: of all of them.
        before: the other model's labels, (n,).
        after: this model's, (n,).
        names: of the classes, by label.
    """
    classes = len(names)
    table = np.bincount(before.astype(np.intp) * classes + after, minlength=classes**2).reshape(classes, classes)
    if labels is None:
        return Changes(names, table, np.zeros((classes, 3), np.int64), len(after))
    known = labels < classes
    judged = np.zeros((classes, 3), np.int64)
    flipped = known & (before != after)
    kinds = np.where(after == labels, 0, np.where(before == labels, 1, 2))
    np.add.at(judged, (labels[flipped], kinds[flipped]), 1)
    return Changes(names, table, judged, int((~known).sum()))
