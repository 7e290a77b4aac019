"""Choosing the uncertain images that are labelled next: those that teach most, and differ from those before.

The value of an image is its uncertainty times its distance from the nearest image that was already chosen. The
uncertainty is 1 minus the margin between the two most likely classes. The distance is Hellinger's, between the
probabilities of two images: images that are torn between the same classes are close. This is greedy k-center selection
(Sener and Savarese, arXiv:1708.00489) weighted by margin sampling (Scheffer et al., 2001).
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from components.contract import DataContract
from components.review.images import ReviewImage

UNKNOWN = 0.5  # least uncertainty of an unknown image; most of them are of no class, so they do not come first


def measure_uncertainty(probabilities: NDArray[np.float32], known: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Uncertainty of predictions, float32 (n,), 0 to 1.

    Args:
        probabilities: float32 (n, classes).
        known: (n,), or None if the model cannot tell.
    """
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    uncertainty = 1 - (top[:, 1] - top[:, 0])
    return uncertainty if known is None else np.where(known, uncertainty, np.maximum(uncertainty, UNKNOWN))


def order(
    uncertainty: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    number: int,
    before: NDArray[np.float32] | None = None,
) -> list[int]:
    """Choose images to label, in order.

    Args:
        uncertainty: of n images, float32 (n,).
        probabilities: theirs, float32 (n, classes).
        number: how many to choose, at most n.
        before: probabilities of the m images that were chosen earlier, float32 (m, classes).

    Returns:
        Their positions.
    """
    roots = np.sqrt(probabilities)
    nearest = np.ones(len(roots), np.float32)  # the largest distance
    for other in np.sqrt(before) if before is not None else ():
        np.minimum(nearest, _distance(roots, other), out=nearest)
    left, chosen = uncertainty.copy(), list[int]()
    for _ in range(min(number, len(roots))):
        place = int(np.argmax(left * nearest)) if (left * nearest).any() else int(np.argmax(left))
        chosen.append(place)
        left[place] = -1
        np.minimum(nearest, np.maximum(_distance(roots, roots[place]), 1e-6), out=nearest)
    return chosen


def _distance(roots: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Hellinger distance of (n, classes) from (classes,), 0 to 1."""
    distance: NDArray[np.float32] = np.sqrt(np.maximum(0, 1 - roots @ other))
    return distance


def probabilities_of(images: Collection[ReviewImage], contract: DataContract) -> NDArray[np.float32]:
    """The probabilities kept with n images, float32 (n, classes); 0 for classes that were not among the most likely."""
    found = np.zeros((len(images), len(contract.classes)), np.float32)
    labels = {name: contract.label_of(name) for name in {one.name for image in images for one in image.top}}
    for row, image in zip(found, images, strict=True):
        for one in image.top:
            if (label := labels[one.name]) is not None:
                row[label] = one.probability
    return found
