"""Compares two models on the same images: the images whose label changes, and the significance of the difference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from components.contract import Labels

Rows = tuple[int, ...]  # row numbers of images, sorted by this model's confidence, highest first


@dataclass(frozen=True)
class Flips:
    """The images that two models classify differently."""

    fixed: Rows  # only the other model is wrong
    regressed: Rows  # only this model is wrong
    moved: Rows  # both are wrong, with different labels
    chance: float  # p-value of McNemar's exact test


def find_flips(labels: Labels, predictions: Labels, confidences: NDArray[np.floating], others: Labels) -> Flips:
    """Compare a model's predictions with another model's.

    Args:
        labels: True labels, (n,).
        predictions: This model's labels, (n,).
        confidences: This model's confidences, (n,), 0 to 1.
        others: The other model's labels, (n,).
    """
    order = np.argsort(-confidences, kind="stable")
    flipped = order[predictions[order] != others[order]]
    right, other_right = predictions[flipped] == labels[flipped], others[flipped] == labels[flipped]
    fixed, regressed = flipped[right], flipped[other_right]
    return Flips(
        fixed=tuple(fixed.tolist()),
        regressed=tuple(regressed.tolist()),
        moved=tuple(flipped[~right & ~other_right].tolist()),
        chance=find_chance(len(fixed), len(regressed)),
    )


def find_chance(fixed: int, regressed: int) -> float:
    """Return the p-value of McNemar's exact test for these numbers of fixed and regressed images."""
    uneven = fixed + regressed
    return float(binomtest(fixed, uneven).pvalue) if uneven else 1.0


@dataclass(frozen=True)
class ClassChange:
    """Changes of one class when a model replaces another."""

    name: str
    before: int  # images that the other model predicts as this class
    after: int  # images that this model predicts as this class
    gained: int  # images that only this model predicts as this class
    lost: int  # images that only the other model predicts as this class
    fixed: int  # images of this class that only this model classifies correctly
    regressed: int  # images of this class that only the other model classifies correctly
    moved: int  # images of this class that both misclassify, with different labels


@dataclass(frozen=True)
class Changes:
    """Counts of two models' predictions on the same images. Counts of disjoint sets of images can be added."""

    names: tuple[str, ...]  # of the classes, by label
    table: NDArray[np.int64]  # images by the other model's prediction and this model's, (classes, classes)
    judged: NDArray[np.int64]  # images of each true class that are fixed, regressed and moved, (classes, 3)
    unlabelled: int  # images whose true class is unknown

    def __add__(self, more: "Changes") -> "Changes":
        return Changes(
            self.names, self.table + more.table, self.judged + more.judged, self.unlabelled + more.unlabelled
        )

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.table.sum())

    @property
    def flips(self) -> int:
        """Number of images that the two models classify differently."""
        return self.images - int(self.table.trace())

    @property
    def most_common(self) -> int:
        """Number of images of the most frequent label change."""
        return int((self.table - np.diag(self.table.diagonal())).max())

    @property
    def labelled(self) -> bool:
        """Whether the true class of every image is known."""
        return bool(self.images) and not self.unlabelled

    @property
    def fixed(self) -> int:
        """Number of fixed images: only this model is right."""
        return int(self.judged[:, 0].sum())

    @property
    def regressed(self) -> int:
        """Number of regressed images: only the other model is right."""
        return int(self.judged[:, 1].sum())

    @property
    def moved(self) -> int:
        """Number of images that both models misclassify, with different labels."""
        return int(self.judged[:, 2].sum())

    @property
    def chance(self) -> float:
        """P-value of McNemar's exact test."""
        return find_chance(self.fixed, self.regressed)

    @property
    def classes(self) -> tuple[ClassChange, ...]:
        """Changes by class."""
        before, after, stayed = self.table.sum(axis=1), self.table.sum(axis=0), self.table.diagonal()
        counts = np.column_stack([before, after, after - stayed, before - stayed, self.judged]).tolist()
        return tuple(ClassChange(name, *found) for name, found in zip(self.names, counts, strict=True))


def count_changes(labels: Labels | None, before: Labels, after: Labels, names: tuple[str, ...]) -> Changes:
    """Count the changes between two models' predictions.

    Args:
        labels: True labels, (n,); a value outside the classes means unknown. None: all unknown.
        before: The other model's labels, (n,).
        after: This model's labels, (n,).
        names: Class names, by label.
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
