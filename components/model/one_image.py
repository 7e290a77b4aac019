"""The forward pass of a single image, in NumPy.

With one image, an operation takes some microseconds in PyTorch and one or two in NumPy, however little it computes, and
a prediction has about thirty. The arrays are views of the network's own weights.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from components.model.known import KnownMeasure
from components.model.mlp import MLP

Row = NDArray[np.float32]


def _relu(x: Row) -> Row:
    return np.maximum(x, 0, out=x)


def _gelu(x: Row) -> Row:
    found: Row = nn.functional.gelu(torch.from_numpy(x)).numpy()
    return found


ACTIVATIONS: dict[str, Callable[[Row], Row]] = {"relu": _relu, "gelu": _gelu}


class OneImagePass:
    """A network of dense layers and its measure of unknown inputs, for one image at a time."""

    def __init__(self, network: MLP, measure: KnownMeasure | None, temperature: float) -> None:
        """`network`: without batch norm."""
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        *self.hidden, self.last = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers]
        self.activate = ACTIVATIONS[network.config.activation]
        self.measure, self.temperature = measure, np.float32(temperature)

    def __call__(self, inputs: Row) -> tuple[Row, Row | None]:
        """Return probabilities, float32 (1, classes), and the distance to the training images, float32 (1,).

        Args:
            inputs: float32 (inputs,).
        """
        with np.errstate(all="ignore"):  # such numbers are refused where the model is loaded
            return self._compute(inputs)

    def _compute(self, inputs: Row) -> tuple[Row, Row | None]:
        x = inputs
        for weights, bias in self.hidden:
            x = x @ weights
            x += bias
            x = self.activate(x)
        weights, bias = self.last
        logits = x @ weights
        logits += bias
        logits /= self.temperature
        logits -= logits.max()
        probabilities = np.exp(logits, out=logits)
        probabilities /= probabilities.sum()
        distances = self.measure.of_one(inputs, x) if self.measure else None
        return probabilities[None], distances
