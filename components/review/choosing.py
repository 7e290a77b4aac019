"""Choosing the uncertain image that is labelled next: one that teaches much, and differs from the last ones.

Uncertainty comes first, because it is what makes a label worth more (margin sampling: Scheffer, Decomain and Wrobel,
2001). Among images that are about as uncertain, the one farthest from its nearest image before is chosen, as in greedy
k-center selection (Sener and Savarese, arXiv:1708.00489). The distance is Hellinger's, between the probabilities of two
images: images that are torn between the same classes are close.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.contract import DataContract
from components.review.images import ReviewImage

STEP = 50  # thousandths of uncertainty, within which the distance decides


def choose(images: Sequence[ReviewImage], before: Sequence[ReviewImage], contract: DataContract) -> int:
    """The position of the image to label next, after those in `before`."""
    roots = np.sqrt(probabilities_of(images, contract))
    nearest = np.ones(len(roots), np.float32)  # the largest distance
    for other in np.sqrt(probabilities_of(before, contract)):
        np.minimum(nearest, np.sqrt(np.maximum(0, 1 - roots @ other)), out=nearest)
    uncertainty = np.array([image.uncertainty for image in images])
    return int(np.lexsort((uncertainty, nearest, uncertainty // STEP))[-1])


def probabilities_of(images: Sequence[ReviewImage], contract: DataContract) -> NDArray[np.float32]:
    """The probabilities kept with n images, float32 (n, classes); 0 for classes that were not among the most likely."""
    found = np.zeros((len(images), len(contract.classes)), np.float32)
    labels = {name: contract.label_of(name) for name in {one.name for image in images for one in image.top}}
    for row, image in zip(found, images, strict=True):
        for one in image.top:
            if (label := labels[one.name]) is not None:
                row[label] = one.probability
    return found
