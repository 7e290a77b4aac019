"""Classifier: a trained network with its tag and card."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from components.contract import DataContract, Images, ModelCard
from components.model.few_images import FEW, FewImagesPass
from components.model.known import KnownMeasure
from components.model.mlp import MLP
from components.model.tensors import to_input


@dataclass(frozen=True)
class Classifier:
    """A stored model, as returned by `load_model` and used by `predict`."""

    tag: str  # exact, "fashion-mlp:<version>"
    card: ModelCard
    network: MLP  # in evaluation mode

    def __post_init__(self) -> None:
        self.network.requires_grad_(False)  # disables autograd without a context manager at each call

    def __repr__(self) -> str:
        classes = f"{len(self.contract.classes)} classes, images of {self.contract.image}"
        return f"Classifier({self.tag}, {self.card.preset}: {classes}, test accuracy {self.card.test.accuracy:.4f})"

    @property
    def contract(self) -> DataContract:
        """Data contract of the training data: image format and classes."""
        return self.card.contract

    def logits(self, images: Images) -> Tensor:
        """Return uncalibrated logits, float32 (n, classes), for images, (n,)."""
        return self._forward(to_input(images))

    def probabilities(self, images: Images) -> Tensor:
        """Return calibrated probabilities, float32 (n, classes), for images, (n,)."""
        return torch.softmax(self._forward(to_input(images)).div_(self.card.calibration.temperature), dim=1)

    def judge(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return calibrated probabilities, float32 (n, classes), and distances to the training images, float32 (n,).

        Of images, (n,). The distances are None for a model that does not detect unknown inputs.
        """
        x = inputs = to_input(images)
        if len(images) <= FEW and self._few:
            return self._few(inputs.numpy())
        for step in self._steps[:-1]:
            x = step(x)
        distances = self._measure(inputs, x) if self._measure else None
        probabilities = torch.softmax(self._steps[-1](x).div_(self.card.calibration.temperature), dim=1)
        return probabilities.numpy(), None if distances is None else distances.numpy()

    def hidden(self, images: Images) -> NDArray[np.float32]:
        """Return the last hidden layer, float32 (n, units), of images, (n,)."""
        found: NDArray[np.float32] = self.network.hidden(to_input(images)).numpy()
        return found

    def _forward(self, x: Tensor) -> Tensor:
        for step in self._steps:
            x = step(x)
        return x

    @cached_property
    def _measure(self) -> KnownMeasure | None:
        return self.network.known.measure(self.contract) if self.network.known else None

    @cached_property
    def _few(self) -> FewImagesPass | None:
        network = self.network
        if network.config.batch_norm:
            return None
        return FewImagesPass(network, self._measure, self.card.calibration.temperature)

    @cached_property
    def _steps(self) -> list[Callable[[Tensor], Tensor]]:
        """The layers as plain functions: calling an `nn.Module` takes longer than computing a small layer."""
        return [
            partial(linear, weight=layer.weight, bias=layer.bias) if type(layer) is nn.Linear else layer.forward
            for layer in self.network
        ]

    @property
    def units(self) -> int:
        """Number of units of the last hidden layer."""
        return self.network.config.widths(self.contract)[-2]

    @cached_property
    def weights(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self.network.parameters())

    @cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """Confidence threshold of each class, float32 (classes,); the model abstains below it."""
        return self.card.calibration.bars(len(self.contract.classes))
