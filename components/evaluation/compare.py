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
    uneven = len(mended) + len(broken)
    return Flips(
        mended=tuple(mended.tolist()),
        broken=tuple(broken.tolist()),
        moved=tuple(flipped[~right & ~other_right].tolist()),
        chance=float(binomtest(len(mended), uneven).pvalue) if uneven else 1.0,
    )
