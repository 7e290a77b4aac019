"""A trained network with its name and what is known of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from components.contract import DataContract, Images, ModelCard
from components.model.mlp import MLP
from components.model.tensors import to_input


@dataclass(frozen=True)
class Classifier:
    """What `load_model` returns and `predict` takes."""

    tag: str  # exact, "fashion-mlp:<version>"
    card: ModelCard
    network: MLP  # in evaluation mode

    def __post_init__(self) -> None:
        self.network.requires_grad_(False)  # nothing is recorded for a training, without a context at each call

    @property
    def contract(self) -> DataContract:
        """What it was trained on, and so what it takes and says."""
        return self.card.contract

    def logits(self, images: Images) -> Tensor:
        """uint8 (n, height, width[, 3]) -> float32 (n, classes), before calibration."""
        return self._forward(to_input(images))

    def probabilities(self, images: Images) -> Tensor:
        """uint8 (n, height, width[, 3]) -> float32 (n, classes), calibrated, each row sums to 1."""
        return torch.softmax(self._forward(to_input(images)).div_(self.card.calibration.temperature), dim=1)

    def _forward(self, x: Tensor) -> Tensor:
        for step in self._steps:
            x = step(x)
        return x

    @cached_property
    def _steps(self) -> list[Callable[[Tensor], Tensor]]:
        """The network's layers as functions of their weights; calling a module takes longer than a small layer does."""
        return [
            partial(linear, weight=layer.weight, bias=layer.bias) if type(layer) is nn.Linear else layer.forward
            for layer in self.network
        ]

    @cached_property
    def weights(self) -> int:
        """How many numbers an image is multiplied with."""
        return sum(weight.numel() for weight in self.network.parameters())

    @cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 (classes,): the model is sure of a class whose probability exceeds its own."""
        return self.card.calibration.bars(len(self.contract.classes))
