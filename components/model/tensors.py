"""Model input as PyTorch tensors, for training and evaluation."""

import torch
from torch import Tensor

from components.contract import Images
from components.model.inputs import to_rows


def to_input(images: Images | Tensor) -> Tensor:
    """Convert images to model input, see `to_rows`. A tensor stays on its device.

    Args:
        images: (n,); a tensor is uint8 (n, height, width[, 3]).

    Returns:
        float32 (n, `DataContract.input.size`).
    """
    if isinstance(images, Tensor):
        return images.flatten(1).to(torch.float32).div_(255)
    return torch.from_numpy(to_rows(images))
