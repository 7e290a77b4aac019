"""Scores with products of 8-bit integers, which AMX and VNNI multiply several times as fast as float32.

Weights and activations become 16-bit integers with a scale for each row, and each is split into a high and a low byte:
x w = 2^16 high high + 2^8 (high low + low high), without the product of the low bytes. Sums of integers are exact, so
the rest is an error of about 1e-4 in a probability. Pixels are bytes already. The last layer and the distance to the
training images stay in float32. Integers are used only where they are faster, and for a part of a job only if its first
rows agree with float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Images
from components.model.classifier import Arithmetic, Classifier
from components.model.mlp import ACTIVATIONS
from components.model.numpy_mlp import NumpyMLP

MAX_DIFFERENCE = 1e-3  # of a probability, in the rows that are compared
COMPARED = 32  # first rows of each part
STEP = 128  # rows whose activations fit the cache
LARGEST = 127 * 256 + 127  # of weights
ZERO, HIGH_ZERO = 128, 16  # the low and the high byte of an activation of 0: few are negative, and none below -0.17
TOP, LEAST_TOP = 256 * (255 - HIGH_ZERO) + 127, 2.6  # of activations; 2.6 / TOP * 256 * HIGH_ZERO > 0.17


@dataclass(frozen=True)
class Factor:
    """Packed bytes of weights, (outputs, inputs), and what each output is multiplied by, float32 (outputs,)."""

    packed: Tensor
    scales: Tensor
    zeros: Tensor

    @classmethod
    def pack(cls, weights: Tensor, scales: Tensor) -> "Factor":
        """Pack int8 (outputs, inputs)."""
        packed = torch.ops.onednn.qlinear_prepack(weights.contiguous(), None)
        return cls(packed, scales, torch.zeros(len(scales), dtype=torch.int64))

    def multiply(self, x: Tensor, zero: int, bias: Tensor | None = None, sums: Tensor | None = None) -> Tensor:
        """Return the products with uint8 (n, inputs), float32 (n, outputs), plus `bias`, or plus `sums`."""
        operands = x, 1.0, zero, self.packed, self.scales, self.zeros
        linear = torch.ops.onednn.qlinear_pointwise
        if sums is None:
            return linear(*operands, bias, 1.0, 0, torch.float32, "none", [], "")  # type: ignore[no-any-return]
        added: tuple[Any, ...] = (sums, None, 1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "none", [], "")
        return linear.binary(*operands, *added)  # type: ignore[no-any-return]


def split(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split float32 (outputs, inputs) into high and low bytes, int8, and the scale of each output."""
    scales = weights.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny * LARGEST) / LARGEST
    whole = (weights / scales[:, None]).round().to(torch.int32)
    high = (whole + ZERO) >> 8
    return high.to(torch.int8), (whole - 256 * high).to(torch.int8), scales


class Int8Hidden:
    """The hidden layers of a network of pixels."""

    def __init__(self, network: NumpyMLP) -> None:
        """Pack the weights.

        Raises:
            RuntimeError, AttributeError: PyTorch has no such products on this machine.
        """
        (weights, bias), *others = [tuple(map(torch.from_numpy, layer)) for layer in network.layers]
        high, low, scales = split(weights.T / 255)
        self.first = Factor.pack(high, 256 * scales), Factor.pack(low, scales), bias
        self.others = [self._pack(*layer) for layer in others]
        self.activate: Callable[[Tensor], Tensor] = ACTIVATIONS[network.config.activation]().forward

    @staticmethod
    def _pack(weights: Tensor, bias: Tensor) -> tuple[Factor, Factor, Tensor, Tensor]:
        """The factors of the high bytes and of pairs of low and high bytes, what the latter's zero lacks, the bias."""
        high, low, scales = split(weights.T)
        pairs = torch.stack([high, low], 2).flatten(1)  # low activations are multiplied by high weights
        lacking = (ZERO - HIGH_ZERO) * 256 * scales * low.sum(1)
        return Factor.pack(high, 65536 * scales), Factor.pack(pairs, 256 * scales), lacking, bias

    def __call__(self, images: Images) -> Tensor:
        """The last hidden layer, float32 (n, units), of uint8 images, n at least 1."""
        pixels = torch.from_numpy(np.array(images).reshape(len(images), -1))
        high, low, bias = self.first
        sums, scales = low.multiply(pixels, 0, sums=high.multiply(pixels, 0)), torch.ones(len(pixels), 1)
        for factor, pairs, lacking, next_bias in self.others:
            highs, both, next_scales = self._to_bytes(sums, scales, bias)
            sums = pairs.multiply(both, ZERO, sums=factor.multiply(highs, HIGH_ZERO, lacking))
            scales, bias = next_scales, next_bias
        return self.activate(torch.addcmul(bias, sums, scales))

    def _to_bytes(self, sums: Tensor, scales: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Activate, and return the high bytes, pairs of low and high bytes, and the scale of each row."""
        both, highs = torch.empty(sums.shape, dtype=torch.uint16), torch.empty(sums.shape, dtype=torch.uint8)
        found = torch.empty(len(sums), 1)
        rows = zip(*(one.split(STEP) for one in (sums, scales, both, highs, found)), strict=True)
        for part, scale, pairs, high, largest in rows:  # each part stays in the cache
            hidden = self.activate(part.mul_(scale).add_(bias))
            torch.div(hidden.amax(1, keepdim=True).clamp_min_(LEAST_TOP), TOP, out=largest)
            hidden.mul_(largest.reciprocal()).add_(256 * HIGH_ZERO + ZERO + 0.5)
            pairs.copy_(hidden)  # rounds down
            high.copy_(pairs.view(torch.uint8)[:, 1::2])
        return highs, both.view(torch.uint8), found


class Int8Classifier(Classifier):
    """A stored model that computes its hidden layers with integers."""

    arithmetic: ClassVar[Arithmetic] = "int8"

    def _hide(self, images: Images, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(images):
            return super()._hide(images, inputs)
        hidden: NDArray[np.float32] = _pack(self.network)(images).numpy()
        return hidden

    def in_float32(self) -> Classifier:
        """The same model in float32."""
        return Classifier(self.tag, self.card, self.network)

    def is_close(self, images: Images) -> bool:
        """Whether no probability of these images differs from that in float32 by more than `MAX_DIFFERENCE`."""
        differences = self.probabilities(images) - self.in_float32().probabilities(images)
        return bool(np.abs(differences).max(initial=0) <= MAX_DIFFERENCE)

    def checked_with(self, images: Images) -> Classifier:
        """See `Classifier.checked_with`."""
        return self if self.is_close(images[:COMPARED]) else self.in_float32()


@lru_cache(maxsize=1)
def _pack(network: NumpyMLP) -> Int8Hidden:
    return Int8Hidden(network)
