"""A trained network with its name and what is known of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Images, ModelCard
from components.model.mlp import MLP
from components.model.tensors import to_input


@dataclass(frozen=True)
class Classifier:
    """What `load_model` returns and `predict` takes."""

    tag: str  # exact, "fashion-mlp:<version>"
    card: ModelCard
    network: MLP  # in evaluation mode

    def logits(self, images: Images) -> Tensor:
        """uint8 (n, 28, 28) -> float32 (n, 10), before calibration."""
        with torch.inference_mode():
            return self.network(to_input(images))  # type: ignore[no-any-return]

    def probabilities(self, images: Images) -> Tensor:
        """uint8 (n, 28, 28) -> float32 (n, 10), calibrated, each row sums to 1."""
        return torch.softmax(self.logits(images) / self.card.calibration.temperature, dim=1)

    @cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 (10,): the model is sure of a class whose probability exceeds its own."""
        return np.array(self.card.calibration.thresholds, np.float32)
