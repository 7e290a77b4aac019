"""What can be said of an image in a few numbers, the same at the training and in the prediction log.

mean   of the pixels, 0 to 255
ink    share of the pixels that are not background, 0 to 1
edge   mean of the outermost pixels, 0 to 255: what the garment stands on
hash   BLAKE2b of the 784 bytes, 8 bytes: the same image again has the same
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from components.catalogues.fashion_mnist import IMAGE_SHAPE, PIXELS
from components.contract import Images

OF_IMAGES = ("mean", "ink", "edge")
MEASURES = (*OF_IMAGES, "confidence")
BORDER = np.flatnonzero(np.pad(np.zeros([side - 2 for side in IMAGE_SHAPE], bool), 1, constant_values=True))


def measure_images(images: Images) -> dict[str, NDArray[np.float64]]:
    """uint8 (n, 28, 28) -> `OF_IMAGES`, float64 (n,) each, rounded as they are logged."""
    flat = images.reshape(-1, PIXELS)
    return {
        "mean": flat.mean(axis=1).round(3),
        "ink": (np.count_nonzero(flat, axis=1) / PIXELS).round(4),
        "edge": flat[:, BORDER].mean(axis=1).round(3),
    }


def hash_images(images: Images) -> NDArray[np.uint64]:
    """uint8 (n, 28, 28) -> uint64 (n,)."""
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in images.reshape(-1, PIXELS))
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
