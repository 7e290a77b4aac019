"""The only way from pixels to a model's input, in training and in serving."""

import torch
from torch import Tensor

from components.contract import PIXELS, Images


def to_input(images: Images | Tensor) -> Tensor:
    """uint8 (n, 28, 28) -> float32 (n, 784), from 0 to 1, on the device of a tensor."""
    pixels = images if isinstance(images, Tensor) else torch.tensor(images)  # a copy: an array may be read-only
    return pixels.reshape(-1, PIXELS).to(torch.float32).div_(255)
