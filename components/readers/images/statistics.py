"""What can be said of an image in a few numbers, the same at the training and in the prediction log.

mean   of the pixels, 0 to 255
ink    share of the pixels that are not background, 0 to 1
edge   mean of the outermost pixels, 0 to 255: what the product stands on
hash   BLAKE2b of its bytes, 8 bytes: the same image again has the same
"""

import hashlib
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

OF_IMAGES = ("mean", "ink", "edge")
MEASURES = (*OF_IMAGES, "confidence")


def measure_images(images: Images) -> dict[str, NDArray[np.float64]]:
    """uint8 (n, height, width[, 3]) -> `OF_IMAGES`, float64 (n,) each, rounded as they are logged."""
    flat = flatten(images)
    return {
        "mean": flat.mean(axis=1).round(3),
        "ink": (np.count_nonzero(flat, axis=1) / flat.shape[1]).round(4),
        "edge": flat[:, border_of(images.shape[1:])].mean(axis=1).round(3),
    }


def hash_images(images: Images) -> NDArray[np.uint64]:
    """uint8 (n, height, width[, 3]) -> uint64 (n,)."""
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def flatten(images: Images) -> Images:
    """uint8 (n, height, width[, 3]) -> (n, numbers of an image); n may be 0."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


@cache
def border_of(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The places of the outermost pixels' numbers in an image of that shape, row by row."""
    mask = np.ones(shape, bool)
    mask[1:-1, 1:-1] = False
    return np.flatnonzero(mask)
