"""Detects inputs that are unlike everything a model was trained on, by their distance to its training images.

An input becomes one row: the square roots of its values, scaled to length 1, and the activations of the last hidden
layer, scaled to length 1, both projected on the leading singular directions of such rows of training images. Its
distance is the sum of those to the nearest training images of a sample, each as two minus the product of the rows, and
divided by the square root of that image's own mean distance to its neighbours, because some kinds of images are more
spread out than others (local scaling, Zelnik-Manor and Perona, 2004). docs/unknown.md compares it with other measures.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import DataContract

NEAREST = 5  # training images
DECOMPOSED = 1_000  # rows whose singular directions are computed
TINY = 1e-12


@dataclass(frozen=True)
class Sampling:
    """How many training images are kept, and in how many dimensions."""

    kept: int
    rank: int


OF_PIXELS, OF_VECTORS = Sampling(1_000, 32), Sampling(4_000, 128)


def sampling_of(contract: DataContract) -> Sampling:
    """The sampling for a catalogue."""
    return OF_VECTORS if contract.embedding else OF_PIXELS


@dataclass(frozen=True)
class KnownInputs:
    """A sample of training images, and how to measure the distance to it."""

    basis: Tensor  # float16 (compared inputs + hidden units, rank): the singular directions
    sample: Tensor  # float16 (kept, rank): the projected rows of the training images
    scale: Tensor  # float32 (kept,): by which each one's distances are multiplied

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def measure(self, compared: int) -> "KnownMeasure":
        """Prepare to measure distances quickly. `compared` is that of the data contract."""
        return KnownMeasure(self, compared)


class KnownMeasure:
    """Measures the distance of inputs to the training images, in float32."""

    def __init__(self, known: KnownInputs, compared: int) -> None:
        self.compared = compared
        self.of_inputs, self.of_hidden = known.basis[:compared].float(), known.basis[compared:].float()
        self.twice, self.scaled = 2 * known.scale, (known.sample.float() * known.scale[:, None]).T.contiguous()
        self.nearest = min(NEAREST, len(known.scale))

    def __call__(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """Return the distances, float32 (n,).

        Args:
            inputs: float32 (n, inputs), as the network takes them.
            hidden: float32 (n, units), its last hidden layer.
        """
        roots = inputs[:, : self.compared].clamp_min(0).sqrt_()
        rows = (roots @ self.of_inputs).div_(_lengths(roots))  # as `join(...) @ basis`, but with fewer divisions
        rows += (hidden @ self.of_hidden).div_(_lengths(hidden))
        distances = torch.addmm(self.twice, rows, self.scaled, alpha=-1)
        nearest: Tensor = distances.topk(self.nearest, 1, largest=False, sorted=False).values.sum(1)
        return nearest


def join(inputs: Tensor, hidden: Tensor) -> Tensor:
    """The rows to compare, float32 (n, inputs + units); negative inputs count as 0."""
    roots = inputs.clamp_min(0).sqrt_()
    return torch.cat([roots / _lengths(roots), hidden / _lengths(hidden)], 1)


def _lengths(rows: Tensor) -> Tensor:
    """The length of each row, float32 (n, 1), above 0."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True).add_(TINY)
    return lengths


@torch.no_grad()
def fit_known(inputs: Tensor, hidden: Tensor, rank: int) -> KnownInputs:
    """Fit the measure to training images.

    Args:
        inputs: float32 (kept, compared inputs): a random sample, not augmented.
        hidden: float32 (kept, units): the last hidden layer.
        rank: dimensions in which they are compared.
    """
    rows = join(inputs, hidden)
    basis = _find_directions(rows[:DECOMPOSED], rank).half()
    sample = (rows @ basis.float()).half()
    return KnownInputs(basis, sample, _scale_of(sample.float()))


def _find_directions(rows: Tensor, rank: int) -> Tensor:
    """The leading right singular vectors of float32 (n, d): float32 (d, rank), each with its largest value positive."""
    values = rows.double().numpy()
    lengths, found = np.linalg.eigh(values @ values.T)  # of the Gram matrix of the rows
    kept = np.argsort(-lengths, kind="stable")[: min(rank, len(values))]
    found = values.T @ found[:, kept]
    found /= np.maximum(np.linalg.norm(found, axis=0), TINY)
    signs: NDArray[np.float64] = np.sign(found[np.abs(found).argmax(axis=0), np.arange(len(kept))])
    return torch.from_numpy((found * np.where(signs == 0, 1, signs)).astype(np.float32))


def _scale_of(sample: Tensor) -> Tensor:
    """One over the square root of each row's mean distance to its nearest neighbours, float32 (kept,)."""
    distances = (2 - sample @ sample.T).fill_diagonal_(torch.inf)
    near: Tensor = distances.topk(min(NEAREST, len(sample) - 1), dim=1, largest=False).values.mean(1)
    scale: Tensor = near.clamp_min(1e-4).rsqrt()
    return scale
