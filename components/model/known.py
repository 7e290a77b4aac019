"""Detects inputs that are unlike everything a model was trained on, by their distance to its training images.

An input becomes one row: the square roots of its values, scaled to length 1, and the activations of the last hidden
layer, scaled to length 1, both projected on the leading singular directions of such rows of training images. For
pixels, the values are every fourth pixel plus its neighbour. A sample of training images is divided into groups, and
the distance is the sum of those to the nearest image of each group, each as two minus the product of the rows, and
divided by the square root of that image's own mean distance to its neighbours, because some kinds of images are more
spread out than others (local scaling, Zelnik-Manor and Perona, 2004). docs/unknown.md compares it with other measures.

Models of the first version have a sample without groups: they compare all pixels, and sum the five nearest images.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from components.contract import DataContract
from components.model.weights import EVERY

NEAREST = 5  # training images; also the number of groups
DECOMPOSED = 1_000  # rows whose singular directions are computed
TINY = np.float32(1e-12)

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How many training images are kept, and in how many dimensions."""

    kept: int
    rank: int


OF_PIXELS, OF_VECTORS = Sampling(500, 32), Sampling(4_000, 128)


def sampling_of(contract: DataContract) -> Sampling:
    """The sampling for a catalogue."""
    return OF_VECTORS if contract.embedding else OF_PIXELS


@dataclass(frozen=True)
class KnownInputs:
    """A sample of training images, and how to measure the distance to it."""

    basis: NDArray[np.float16]  # (compared inputs + hidden units, rank): the singular directions
    sample: NDArray[np.float16]  # (groups, kept of each, rank), or (kept, rank): the projected rows of training images
    scale: Rows  # (kept,): by which each one's distances are multiplied

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def groups(self) -> int:
        """The number of groups; 0 in the first version."""
        return len(self.sample) if self.sample.ndim == 3 else 0

    def measure(self, contract: DataContract) -> "KnownMeasure":
        """Prepare to measure distances quickly."""
        return KnownMeasure(self, contract)


class KnownMeasure:
    """Measures the distance of inputs to the training images, in float32."""

    def __init__(self, known: KnownInputs, contract: DataContract) -> None:
        self.compared, self.pooled = contract.compared, bool(known.groups) and not contract.embedding
        inputs, basis = self.compared // EVERY if self.pooled else self.compared, known.basis.astype(np.float32)
        self.of_inputs, self.of_hidden = basis[:inputs], basis[inputs:]
        sample = known.sample.reshape(-1, known.sample.shape[-1]).astype(np.float32) * known.scale[:, None]
        self.twice, self.minus = 2 * known.scale, np.ascontiguousarray(-sample.T)
        self.groups, self.each = known.groups, len(sample) // (known.groups or 1)
        self.nearest = min(NEAREST, len(sample))

    def __call__(self, inputs: Rows, hidden: Rows) -> Rows:
        """Return the distances, float32 (n,).

        Args:
            inputs: float32 (n, inputs), as the network takes them.
            hidden: float32 (n, units), its last hidden layer.
        """
        roots = _compared_roots(inputs, self.compared, self.pooled)
        rows = hidden @ self.of_hidden
        rows /= _lengths(hidden)  # as in `fit_known`, but with fewer divisions
        rows += (roots @ self.of_inputs) / _lengths(roots)
        distances = rows @ self.minus
        distances += self.twice
        if self.groups:
            nearest = distances.reshape(len(rows), self.groups, self.each).min(2)
        else:
            nearest = np.partition(distances, self.nearest - 1)[:, : self.nearest]
        found: Rows = nearest.sum(1)
        return found


def _compared_roots(values: Rows, compared: int, pooled: bool) -> Rows:
    """The square roots to compare; negative inputs count as 0."""
    if pooled:
        last = compared // EVERY * EVERY
        values = values[:, :last:EVERY] + values[:, 1:last:EVERY]
    else:
        values = np.maximum(values[:, :compared], 0)
    return np.sqrt(values, out=values)


def _lengths(rows: Rows) -> Rows:
    """The length of each row, float32 (n, 1), above 0."""
    squares: Rows = np.einsum("ij,ij->i", rows, rows)[:, None]
    return np.sqrt(squares) + TINY


def fit_known(inputs: Rows, hidden: Rows, rank: int, contract: DataContract) -> KnownInputs:
    """Fit the measure to training images.

    Args:
        inputs: float32 (kept, inputs): a random sample, not augmented. The last few are left out if groups differ.
        hidden: float32 (kept, units): the last hidden layer.
        rank: dimensions in which they are compared.
        contract: of the images.
    """
    groups = min(NEAREST, len(inputs))
    kept = len(inputs) // groups * groups
    roots, hidden = _compared_roots(inputs[:kept], contract.compared, not contract.embedding), hidden[:kept]
    rows = np.concatenate([roots / _lengths(roots), hidden / _lengths(hidden)], 1)
    basis = _find_directions(rows[:DECOMPOSED], rank).astype(np.float16)
    sample = (rows @ basis.astype(np.float32)).astype(np.float16)
    return KnownInputs(basis, sample.reshape(groups, -1, sample.shape[1]), _scale_of(sample.astype(np.float32)))


def _find_directions(rows: Rows, rank: int) -> Rows:
    """The leading right singular vectors of float32 (n, d): float32 (d, rank), each with its largest value positive."""
    values = rows.astype(np.float64)
    lengths, found = np.linalg.eigh(values @ values.T)  # of the Gram matrix of the rows
    kept = np.argsort(-lengths, kind="stable")[: min(rank, len(values))]
    found = values.T @ found[:, kept]
    found /= np.maximum(np.linalg.norm(found, axis=0), TINY)
    signs: NDArray[np.float64] = np.sign(found[np.abs(found).argmax(axis=0), np.arange(len(kept))])
    directions: Rows = (found * np.where(signs == 0, 1, signs)).astype(np.float32)
    return directions


def _scale_of(sample: Rows) -> Rows:
    """One over the square root of each row's mean distance to its nearest neighbours, float32 (kept,)."""
    distances = 2 - sample @ sample.T
    np.fill_diagonal(distances, np.inf)
    nearest = min(NEAREST, len(sample) - 1)
    near = np.partition(distances, nearest - 1)[:, :nearest].mean(1)
    scale: Rows = 1 / np.sqrt(np.maximum(near, np.float32(1e-4)))
    return scale
