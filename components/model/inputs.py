"""Preprocessing: the one conversion from images to model input, shared by training and serving."""

import math

import numpy as np
from numpy.typing import NDArray

from components.contract import Images


def to_rows(images: Images) -> NDArray[np.float32]:
    """Flatten pixels and scale them to [0, 1], or take the vectors.

    Args:
        images: (n,).

    Returns:
        float32 (n, `DataContract.input.size`).
    """
    if images.dtype.names:
        return np.array(images["vector"], np.float32, order="C")  # aligned and writable
    flat = images.reshape(len(images), math.prod(images.shape[1:]))  # n may be 0
    return np.divide(flat, 255, dtype=np.float32)
