"""Two models on the same images: which of them flip, and whether the difference could be chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Labels

Rows = tuple[int, ...]  # of the images, this model's most confident first
UNKNOWN = len(CLASSES)  # stands for a class that nobody knows


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

    counts: NDArray[np.int64]  # (11, 10, 10): images by true class, the last UNKNOWN, the other's answer, this one's

    def __add__(self, more: "Changes") -> "Changes":
        return Changes(self.counts + more.counts)

    @property
    def table(self) -> NDArray[np.int64]:
        """Images by the other's answer and this one's, (10, 10)."""
        table: NDArray[np.int64] = self.counts.sum(axis=0)
        return table

    @property
    def images(self) -> int:
        """All of them."""
        return int(self.counts.sum())

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
        return bool(self.images) and not self.counts[UNKNOWN].any()

    @property
    def mended(self) -> int:
        """Those that only this model gets right."""
        return sum(one.mended for one in self.classes)

    @property
    def broken(self) -> int:
        """Those that only the other model gets right."""
        return sum(one.broken for one in self.classes)

    @property
    def moved(self) -> int:
        """Those that both get wrong, in different ways."""
        return sum(one.moved for one in self.classes)

    @property
    def chance(self) -> float:
        """See `find_chance`."""
        return find_chance(self.mended, self.broken)

    @property
    def classes(self) -> tuple[ClassChange, ...]:
        """Class by class."""
        return tuple(self._class(label) for label in range(len(CLASSES)))

    def _class(self, label: int) -> ClassChange:
        table, of_it = self.table, self.counts[label]
        before, after, stayed = int(table[label].sum()), int(table[:, label].sum()), int(table[label, label])
        mended = int(of_it[:, label].sum() - of_it[label, label])
        broken = int(of_it[label].sum() - of_it[label, label])
        moved = int(of_it.sum() - of_it.trace()) - mended - broken
        return ClassChange(CLASSES[label], before, after, after - stayed, before - stayed, mended, broken, moved)


def count_changes(labels: Labels | None, before: Labels, after: Labels) -> Changes:
    """Count two models' answers.

    Args:
        labels: the true ones, (n,); None: nobody knows.
        before: the other model's labels, (n,).
        after: this model's, (n,).
    """
    true = np.full(len(after), UNKNOWN) if labels is None else labels.astype(np.intp)
    shape = (UNKNOWN + 1, len(CLASSES), len(CLASSES))
    flat = np.ravel_multi_index((true, before.astype(np.intp), after.astype(np.intp)), shape)
    return Changes(np.bincount(flat, minlength=np.prod(shape)).reshape(shape))
