"""Near-duplicates found by comparing everything with everything: what the fast search must find too."""

import numpy as np
from numpy.typing import NDArray

from components.contract import Images
from components.dataset.duplicates import COMPARISONS, MIDDLE, SHIFTS, Comparison, describe


def correlate_within(images: Images, comparison: Comparison) -> NDArray[np.float32]:
    """The correlation of every pair, without shifts, (n, n); -1 on and below the diagonal."""
    features = describe(images, comparison, MIDDLE[0])
    values: NDArray[np.float32] = features @ features.T
    values[np.tril_indices(len(images))] = -1
    return values


def nearest_of(images: Images) -> NDArray[np.float32]:
    """Each image's highest plain correlation with any other, (n,)."""
    values = correlate_within(images, COMPARISONS[0])
    nearest: NDArray[np.float32] = np.maximum(values.max(axis=0), values.max(axis=1))
    return nearest


def best_matches(images: Images, others: Images, comparison: Comparison) -> NDArray[np.float32]:
    """Each image's highest correlation with any of `others`, shifted by up to a pixel, (n,)."""
    features = describe(others, comparison, MIDDLE[0])
    shifted = [(describe(images, comparison, shift) @ features.T).max(axis=1) for shift in SHIFTS]
    best: NDArray[np.float32] = np.stack(shifted).max(axis=0)
    return best
