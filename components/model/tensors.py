"""Preprocessing: the one conversion from images to model input, shared by training and serving."""

import math

import numpy as np
import torch
from torch import Tensor

from components.contract import Images


def to_input(images: Images | Tensor) -> Tensor:
    """Flatten pixels and scale them to [0, 1], or take the vectors. A tensor stays on its device.

    NumPy arrays are divided by NumPy: the result is the same, and a single image takes a quarter of the time.

    Args:
        images: (n,); a tensor is uint8 (n, height, width[, 3]).

    Returns:
        float32 (n, `DataContract.input.size`).
    """
    if isinstance(images, Tensor):
        return images.flatten(1).to(torch.float32).div_(255)
    if images.dtype.names:
        return torch.from_numpy(np.array(images["vector"], np.float32, order="C"))  # aligned and writable
    flat = images.reshape(len(images), math.prod(images.shape[1:]))  # n may be 0
    return torch.from_numpy(np.divide(flat, 255, dtype=np.float32))
