"""Tells inputs that are unlike everything a model was trained on, by their distance to its training images.

The distance is the sum of two, each to the nearest of a sample of training images, as one minus the cosine:

- of the input: the square root of its values, scaled to length 1, in its leading singular directions;
- of the last hidden layer: the activations, scaled to length 1.

Each is divided by the square root of the nearest image's own mean distance to its neighbours, because classes differ in
how spread out they are (local scaling, Zelnik-Manor and Perona, 2004), and put on the scale of the validation images.
docs/unknown.md compares the method with others.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KEPT, KEPT_VECTORS = 1_000, 4_000  # training images kept: of pixels, and of vectors
RANK = 64  # singular directions
NEIGHBOURS = 5
SAMPLED = 10_000  # training images of which the singular directions are computed
TINY = 1e-9


@dataclass(frozen=True)
class KnownInputs:
    """A sample of training images, and how to measure the distance to it."""

    basis: Tensor  # float16 (inputs, rank): the singular directions
    inputs: Tensor  # float16 (kept, rank): the sampled inputs
    hidden: Tensor  # float16 (kept, units): their last hidden layer
    inputs_scale: Tensor  # float32 (kept,): by which each one's distances are multiplied
    hidden_scale: Tensor  # float32 (kept,)
    middle: Tensor  # float32 (2,): medians of the two distances of the validation images
    spread: Tensor  # float32 (2,): their interquartile ranges

    @property
    def kept(self) -> int:
        """Number of training images."""
        return len(self.inputs)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def as_measure(self) -> "KnownMeasure":
        """Prepare to measure distances quickly."""
        return KnownMeasure(self)


class KnownMeasure:
    """Measures the distance of inputs to the training images, in float32."""

    def __init__(self, known: KnownInputs) -> None:
        self.basis = known.basis.float()
        self.pairs = [
            (known.inputs.float().T.contiguous(), known.inputs_scale),
            (known.hidden.float().T.contiguous(), known.hidden_scale),
        ]
        self.middle, self.spread = known.middle, known.spread

    def __call__(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """Return the distances, float32 (n,).

        Args:
            inputs: float32 (n, inputs), as the network takes them.
            hidden: float32 (n, units), its last hidden layer.
        """
        return ((self.both(inputs, hidden) - self.middle) / self.spread).sum(1)

    def both(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """Return the two distances before they are put on one scale, float32 (n, 2)."""
        rows = (to_sphere(inputs) @ self.basis, to_unit(hidden))
        found = [((1 - row @ kept) * scale).amin(1) for row, (kept, scale) in zip(rows, self.pairs, strict=True)]
        return torch.stack(found, 1)


def to_unit(values: Tensor) -> Tensor:
    """Scale each row to length 1, (n, d); a row of zeros stays."""
    lengths: Tensor = values.norm(dim=1, keepdim=True).clamp_min(TINY)
    return values / lengths


def to_sphere(inputs: Tensor) -> Tensor:
    """The square roots of inputs, float32 (n, d), scaled to length 1; what is negative counts as 0."""
    return to_unit(inputs.clamp_min(0).sqrt())


@torch.no_grad()
def fit_known(inputs: Tensor, hidden: Tensor, validation_inputs: Tensor, validation_hidden: Tensor) -> KnownInputs:
    """Fit the measure.

    Args:
        inputs: float32 (n, inputs): training images in random order, not augmented.
        hidden: float32 (kept, units): the last hidden layer of the first of them, which are kept.
        validation_inputs: float32 (m, inputs): images that the network was not trained on.
        validation_hidden: float32 (m, units).
    """
    basis = _find_directions(to_sphere(inputs), RANK).half()
    kept = (to_sphere(inputs[: len(hidden)]) @ basis.float()).half()
    kept_hidden = to_unit(hidden).half()
    known = KnownInputs(
        basis, kept, kept_hidden, _scale_of(kept), _scale_of(kept_hidden), torch.zeros(2), torch.ones(2)
    )
    found = known.as_measure().both(validation_inputs, validation_hidden)
    low, middle, high = (found.quantile(share, dim=0) for share in (0.25, 0.5, 0.75))
    return replace(known, middle=middle, spread=(high - low).clamp_min(1e-6))


def _find_directions(rows: Tensor, rank: int) -> Tensor:
    """The leading right singular vectors of float32 (n, d): float32 (d, rank), each with its largest value positive."""
    from scipy.linalg import eigh

    values = rows.double().numpy()
    count, width = values.shape
    rank = min(rank, count, width)
    if width <= count:
        found = eigh(values.T @ values, subset_by_index=(width - rank, width - 1))[1]
    else:  # the same directions from the smaller product
        found = values.T @ eigh(values @ values.T, subset_by_index=(count - rank, count - 1))[1]
        found /= np.maximum(np.linalg.norm(found, axis=0), TINY)
    found = found[:, ::-1]
    signs: NDArray[np.float64] = np.sign(found[np.abs(found).argmax(axis=0), np.arange(rank)])
    return torch.from_numpy((found * np.where(signs == 0, 1, signs)).astype(np.float32))


def _scale_of(kept: Tensor) -> Tensor:
    """One over the square root of each row's mean distance to its nearest neighbours, float32 (kept,)."""
    rows = kept.float()
    distances = (1 - rows @ rows.T).fill_diagonal_(torch.inf)
    near: Tensor = distances.topk(min(NEIGHBOURS, len(rows) - 1), dim=1, largest=False).values.mean(1)
    scale: Tensor = near.clamp_min(1e-4).rsqrt()
    return scale
