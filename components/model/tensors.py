"""The only way from pixels to a model's input, in training and in serving."""

import torch
from torch import Tensor

from components.contract import PIXELS, Images


def to_input(images: Images) -> Tensor:
    """uint8 (n, 28, 28) -> float32 (n, 784), from 0 to 1."""
    pixels = torch.tensor(images).reshape(-1, PIXELS)  # a copy: the images may be read-only
    return pixels.to(torch.float32).div_(255)
