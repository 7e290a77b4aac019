"""Scores with products of 8-bit integers, which AMX and VNNI multiply several times as fast as float32.

Weights and activations become 16-bit integers with a scale for each row, and each is split into a high and a low byte:
x w = 2^16 high high + 2^8 (high low + low high), without the product of the low bytes. Sums of integers are exact, so
the rest is an error of about 1e-4 in a probability. Pixels are bytes already. The last layer and the distance to the
training images stay in float32. Integers are used only where they are faster, and for a part of a job only if its first
rows agree with float32.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.contract import Images
from components.errors import SettingsError
from components.model.classifier import Classifier
from components.model.mlp import ACTIVATIONS, MLP
from components.model.tensors import to_input

Precision = Literal["auto", "float32"]
Arithmetic = Literal["float32", "int8"]

MAX_DIFFERENCE = 1e-3  # of a probability, in the rows that are compared
COMPARED = 32  # first rows of each part
TIMED, TRIALS, MIN_SPEEDUP = 256, 3, 1.3  # rows, repetitions, and how much faster integers must be
SMALL = 1_000_000  # weights; reading takes longer than the products of a smaller network
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

    def __init__(self, network: MLP) -> None:
        """Pack the weights.

        Raises:
            SettingsError: the network has batch norm or takes vectors.
            RuntimeError, AttributeError: PyTorch has no such products on this machine.
        """
        if network.config.batch_norm or network.contract.embedding or not network.config.hidden:
            raise SettingsError("precision: int8 is for dense networks of pixels without batch norm")
        first, *others = [layer for layer in network if type(layer) is nn.Linear][:-1]
        high, low, scales = split(first.weight.detach() / 255)
        self.first = Factor.pack(high, 256 * scales), Factor.pack(low, scales), first.bias.detach()
        self.others = [self._pack(layer) for layer in others]
        self.activate: Callable[[Tensor], Tensor] = ACTIVATIONS[network.config.activation]().forward

    @staticmethod
    def _pack(layer: nn.Linear) -> tuple[Factor, Factor, Tensor, Tensor]:
        """The factors of the high bytes and of pairs of low and high bytes, what the latter's zero lacks, the bias."""
        high, low, scales = split(layer.weight.detach())
        pairs = torch.stack([high, low], 2).flatten(1)  # low activations are multiplied by high weights
        lacking = (ZERO - HIGH_ZERO) * 256 * scales * low.sum(1)
        return Factor.pack(high, 65536 * scales), Factor.pack(pairs, 256 * scales), lacking, layer.bias.detach()

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

    @cached_property
    def _hidden(self) -> Int8Hidden:
        return _pack(self.network)

    def judge(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """See `Classifier.judge`."""
        if not len(images):
            return super().judge(images)
        hidden = self._hidden(images)
        distances = self._measure(to_input(images), hidden) if self._measure else None
        probabilities = torch.softmax(self._steps[-1](hidden).div_(self.card.calibration.temperature), dim=1)
        return probabilities.numpy(), None if distances is None else distances.numpy()

    def is_close(self, images: Images) -> bool:
        """Whether no probability of these images differs from that in float32 by more than `MAX_DIFFERENCE`."""
        differences = self.judge(images)[0] - super().judge(images)[0]
        return not len(images) or bool(np.abs(differences).max() <= MAX_DIFFERENCE)


@lru_cache(maxsize=1)
def _pack(network: MLP) -> Int8Hidden:
    return Int8Hidden(network)


def use(model: Classifier, arithmetic: str) -> Classifier:
    """The model in float32 or int8.

    Raises:
        SettingsError: this machine or this model cannot do it.
    """
    if arithmetic == "float32":
        return model
    try:
        found = Int8Classifier(model.tag, model.card, model.network)
        if found.is_close(_draw(model)):
            return found
    except (RuntimeError, AttributeError):
        pass
    raise SettingsError("precision: the job was started in int8, which this machine cannot multiply; use float32")


def as_exact_as_needed(model: Classifier, images: Images) -> Classifier:
    """The model, or the same in float32 if its probabilities of the first of these images differ."""
    if not isinstance(model, Int8Classifier) or model.is_close(images[:COMPARED]):
        return model
    return Classifier(model.tag, model.card, model.network)


def arithmetic_of(model: Classifier) -> Arithmetic:
    """The arithmetic of a model."""
    return "int8" if isinstance(model, Int8Classifier) else "float32"


def choose(model: Classifier, precision: Precision) -> Arithmetic:
    """The fastest arithmetic within the bound; measures both for `auto`, unless the network is small."""
    if precision == "float32" or model.weights < SMALL:
        return "float32"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a scoring job
    try:
        integers, images = use(model, "int8"), _draw(model)
        seconds = [min(_time(one, images) for _ in range(TRIALS)) for one in (model, integers)]
    except SettingsError:
        return "float32"
    finally:
        torch.set_num_threads(threads)
    return "int8" if seconds[0] > MIN_SPEEDUP * seconds[1] else "float32"


def _draw(model: Classifier) -> Images:
    """Random images."""
    shape = (TIMED, *model.contract.image.shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _time(model: Classifier, images: Images) -> float:
    began = time.perf_counter()
    model.judge(images)
    return time.perf_counter() - began
