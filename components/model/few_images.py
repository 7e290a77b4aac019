"""The forward pass of a few images, in NumPy.

An operation takes some microseconds in PyTorch and one or two in NumPy, however little it computes, and a prediction
has about thirty: with one image of a small network they are most of the time. The arrays are views of the network's own
weights.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from components.model.known import KnownMeasure
from components.model.mlp import MLP

FEW = 64  # above it, the products take the time

Rows = NDArray[np.float32]


def _relu(x: Rows) -> Rows:
    return np.maximum(x, 0, out=x)


def _gelu(x: Rows) -> Rows:
    found: Rows = nn.functional.gelu(torch.from_numpy(x)).numpy()
    return found


ACTIVATIONS: dict[str, Callable[[Rows], Rows]] = {"relu": _relu, "gelu": _gelu}


class FewImagesPass:
    """A network of dense layers and its measure of unknown inputs."""

    def __init__(self, network: MLP, measure: KnownMeasure | None, temperature: float) -> None:
        """`network`: without batch norm."""
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        *self.hidden, self.last = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers]
        self.activate = ACTIVATIONS[network.config.activation]
        self.measure, self.temperature = measure, np.float32(temperature)

    def __call__(self, inputs: Rows) -> tuple[Rows, Rows | None]:
        """Return probabilities, float32 (n, classes), and the distances to the training images, float32 (n,).

        Args:
            inputs: float32 (n, inputs).
        """
        with np.errstate(all="ignore"):  # such numbers are refused where the model is loaded
            x = inputs
            for weights, bias in self.hidden:
                x = x @ weights
                x += bias
                x = self.activate(x)
            distances = self.measure.of_few(inputs, x) if self.measure else None
            weights, bias = self.last
            x = x @ weights
            x += bias
            return self._softmax(x), distances

    def _softmax(self, logits: Rows) -> Rows:
        logits /= self.temperature
        logits -= logits.max(1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(1, keepdims=True)
        return logits
