"""Preprocessing: the one conversion from pixels to model input, shared by training and serving."""

import math

import numpy as np
import torch
from torch import Tensor

from components.contract import Images


def to_input(images: Images | Tensor) -> Tensor:
    """Flatten images and scale them to [0, 1]. A tensor stays on its device.

    NumPy arrays are divided by NumPy: the result is the same, and a single image takes a quarter of the time.

    Args:
        images: uint8 (n, height, width[, 3]).

    Returns:
        float32 (n, pixels * channels).
    """
    if isinstance(images, Tensor):
        return images.flatten(1).to(torch.float32).div_(255)
    flat = images.reshape(len(images), math.prod(images.shape[1:]))  # n may be 0
    return torch.from_numpy(np.divide(flat, 255, dtype=np.float32))
