"""The only way from pixels to a model's input, in training and in serving."""

import math

import numpy as np
import torch
from torch import Tensor

from components.contract import Images


def to_input(images: Images | Tensor) -> Tensor:
    """uint8 (n, height, width[, 3]) -> float32 (n, numbers of an image), from 0 to 1, on the device of a tensor.

    An array is divided by NumPy: the same numbers, in a quarter of the time for one image.
    """
    if isinstance(images, Tensor):
        return images.flatten(1).to(torch.float32).div_(255)
    flat = images.reshape(len(images), math.prod(images.shape[1:]))  # n may be 0
    return torch.from_numpy(np.divide(flat, 255, dtype=np.float32))
