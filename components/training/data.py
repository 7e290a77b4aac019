"""The training split as tensors: rows to train on, plain or augmented, and rows to choose by."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, one_hot, pad

from components.dataset.manifest import Examples
from components.errors import TrainingError
from components.model.tensors import to_input
from components.training.config import OFTEN, RARE, TrainConfig

SMALLEST, LARGEST = 7, 2  # an erased rectangle's side is at least this part of the image's, and at most that


@dataclass(frozen=True)
class TrainingData:
    """What one training learns from, on its device."""

    images: "TrainingImages"
    labels: Tensor  # int64 (n,)
    targets: Tensor  # the labels, or float32 (n, classes) one-hot
    validation_x: Tensor  # float32 (m, numbers of an image)
    validation_labels: Tensor  # int64 (m,)
    shares: Tensor | None = None  # float64 (n,), of the images drawn in an epoch; None: each once

    def draw_order(self) -> Tensor:
        """The rows of one epoch in the order they are learned from, int64 (n,), by torch's global generator.

        Each row comes once, or as often as its share says: the next whole number below or above it, by chance.
        """
        order = torch.randperm(len(self.labels))
        if self.shares is not None:
            order = order[self.labels.cpu()[order].sort(stable=True).indices]  # each class has its share to the row
            ends = self.shares[order].cumsum(0) * len(order)
            drawn = torch.searchsorted(ends, torch.arange(len(order)) + torch.rand((), dtype=torch.float64), right=True)
            order = order[drawn.clamp_(max=len(order) - 1)][torch.randperm(len(order))]
        return order.to(self.labels.device)


@dataclass(frozen=True)
class RowsBefore:
    """How an earlier training divided its rows, by their ids."""

    held_out: frozenset[str]
    trained_on: frozenset[str]


def divide(
    examples: Examples, config: TrainConfig, device: torch.device, before: RowsBefore | None = None
) -> TrainingData:
    """Hold the validation rows out, by torch's global generator, or as the model did that a training goes on from.

    Raises:
        TrainingError: there are too few images for the configuration.
    """
    labels = torch.tensor(examples.labels, dtype=torch.int64)
    classes = len(examples.contract.classes)
    held_out, rest = hold_out(examples, config, before)
    if len(held_out) < classes or len(rest) < config.batch_size:
        raise TrainingError(
            f"{len(labels)} training images are too few for validation_share {config.validation_share} "
            f"and batch_size {config.batch_size}"
        )
    kept = labels[rest].to(device)
    return TrainingData(
        TrainingImages(torch.tensor(examples.images[rest.numpy()]).to(device), config),
        kept,
        one_hot(kept, classes).to(torch.float32) if config.labels == "one-hot" else kept,
        to_input(examples.images[held_out.numpy()]).to(device),
        labels[held_out].to(device),
        _share_out(labels[rest], balance) if (balance := balance_of(labels[rest], config)) else None,
    )


def divide_ids(examples: Examples, config: TrainConfig, before: RowsBefore | None = None) -> RowsBefore:
    """How a training of this recipe divides these rows; torch's global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        divided = hold_out(examples, config, before)
    held_out, rest = (frozenset(examples.ids[row] for row in rows.tolist()) for rows in divided)
    return RowsBefore(held_out, rest)


def hold_out(examples: Examples, config: TrainConfig, before: RowsBefore | None = None) -> tuple[Tensor, Tensor]:
    """The validation rows, and the others in order, int64.

    Rows that an earlier training knew stay on the side that they were on; of others a share of each class is held out.
    """
    labels = torch.tensor(examples.labels, dtype=torch.int64)
    if before is None:
        return _hold_out_of_each(labels, config) if config.stratify else _hold_out(labels, config)
    held_out = torch.tensor([row_id in before.held_out for row_id in examples.ids])
    known = held_out | torch.tensor([row_id in before.trained_on for row_id in examples.ids])
    new = (~known).nonzero().flatten()
    if len(new):
        held_out[new[_hold_out_of_each(labels[new], config)[0]]] = True
    return held_out.nonzero().flatten(), (~held_out).nonzero().flatten()


def _hold_out(labels: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """The validation rows, and the others in order: a share of all rows, whatever their classes."""
    held_out_rows = round(len(labels) * config.validation_share)
    order = torch.randperm(len(labels))
    return order[:held_out_rows], order[held_out_rows:].sort().values


def _hold_out_of_each(labels: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Likewise, a share of the rows of each class: one at least, unless that is all the class has."""
    order = torch.randperm(len(labels))
    order = order[labels[order].sort(stable=True).indices]  # class by class, each in random order
    counts = torch.bincount(labels)
    rows = (counts * config.validation_share).round().long().clamp(min=1).minimum(counts - 1)
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]  # within its class
    held_out = place < rows[labels[order]]
    return order[held_out], order[~held_out].sort().values


def balance_of(labels: Tensor, config: TrainConfig) -> float:
    """How far the classes are balanced: as the recipe says, or else by how uneven they are."""
    if config.balance is not None:
        return config.balance
    counts = torch.bincount(labels)
    counts = counts[counts > 0]
    return OFTEN if counts.max() > RARE * counts.min() else 0.0


def _share_out(labels: Tensor, balance: float) -> Tensor:
    """float64 (n,), sums to 1: the rows of a class of m images get m to the power of 1 - balance together."""
    weights = torch.bincount(labels).double().pow(-balance)[labels]
    return weights / weights.sum()


class TrainingImages:
    """uint8 (n, height, width[, 3]) -> batches of float32 (b, numbers of an image), 0 to 1.

    They are augmented by torch's global generator. The images are padded once. A shift is then a window into them and a
    flip a second copy, so that one indexing operation makes a batch of shifted, flipped images: about what it costs to
    take them as they are. To be turned, scaled and moved by less than a pixel, images are sampled anew.
    """

    def __init__(self, images: Tensor, config: TrainConfig) -> None:
        self.config, self.erase = config, config.erase
        self.flips, self.shifts = 1 + config.flip, 1 + 2 * config.shift
        self.are_sampled = bool(config.rotate or config.scale or config.translate)
        self.are_lit = bool(config.brightness or config.colour)
        self.plain: Tensor | None = None
        if self.flips == self.shifts == 1 and not (self.erase or self.are_sampled or self.are_lit):
            self.plain = to_input(images)
        else:
            mirrored, self.sides = [images, images.flip(2)][: self.flips], images.shape[1:3]
            are_rgb = images.dim() == 4
            padded = pad(torch.stack(mirrored), (0, 0) * are_rgb + (config.shift,) * 4)
            windows = padded.unfold(2, self.sides[0], 1).unfold(3, self.sides[1], 1)  # no copy
            self.windows = windows.movedim(4, -1) if are_rgb else windows  # (flip, n, down, right, height, width[, 3])

    def __call__(self, rows: Tensor) -> Tensor:
        """The images of these rows, int64 (b,); augmented ones differ from call to call."""
        if self.plain is not None:
            return self.plain.index_select(0, rows)
        flip = self._draw(self.flips, rows)
        down, right = self._draw(self.shifts, rows), self._draw(self.shifts, rows)
        images = self.windows[flip, rows, down, right]
        if self.are_sampled:
            images = vary_place(images, self.config)
        if self.are_lit:
            images = vary_light(images, self.config)
        if self.erase:
            erased = self._rectangles(rows)
            images.masked_fill_(erased if images.dim() == 3 else erased[..., None], 0)
        return to_input(images)

    def _draw(self, choices: int, rows: Tensor) -> Tensor:
        return torch.randint(choices, rows.shape, device=rows.device)

    def _rectangles(self, rows: Tensor) -> Tensor:
        """bool (b, height, width): true inside one random rectangle an image, or nowhere."""
        chosen = torch.rand(rows.shape, device=rows.device) < self.erase
        down, right = (self._run(rows, side) for side in self.sides)
        return (down & chosen[:, None])[:, :, None] & right[:, None, :]

    def _run(self, rows: Tensor, side: int) -> Tensor:
        """bool (b, side): true in a random run of a seventh to half of the places."""
        least = side // SMALLEST
        length = least + self._draw(side // LARGEST - least + 1, rows)
        start = (torch.rand(rows.shape, device=rows.device) * (side - length + 1)).long()
        place = torch.arange(side, device=rows.device)
        return (place >= start[:, None]) & (place < (start + length)[:, None])


def vary_place(images: Tensor, config: TrainConfig) -> Tensor:
    """Turn, scale and move each image about its middle by as much as chance and the configuration have it.

    Args:
        images: uint8 (b, height, width[, 3]).
        config: of `rotate`, `scale` and `translate`.

    Returns:
        float32 of the same shape, 0 to 255, interpolated; what comes from outside an image has the level of its border.
    """
    count, height, width = images.shape[:3]
    channels_first = images.view(count, height, width, -1).permute(0, 3, 1, 2).float()
    angle, down, right, tall, wide = _draw_evenly((5, count), images.device)
    angle = angle * math.radians(config.rotate)
    tall, wide = 1 / (1 + config.scale * tall), 1 / (1 + config.scale * wide)
    cosine, sine, longer = angle.cos(), angle.sin(), height / width
    matrix = torch.stack(  # from a place in the result to one in the image, both from -1 to 1 each way
        [
            torch.stack([wide * cosine, wide * sine * longer, 2 * config.translate * right], 1),
            torch.stack([-tall * sine / longer, tall * cosine, 2 * config.translate * down], 1),
        ],
        1,
    )
    places = affine_grid(matrix, list(channels_first.shape), align_corners=False)
    ground = _border_levels(channels_first)
    varied = grid_sample(channels_first - ground, places, align_corners=False) + ground
    return varied.clamp_(0, 255).permute(0, 2, 3, 1).reshape(images.shape)


def vary_light(images: Tensor, config: TrainConfig) -> Tensor:
    """Multiply the levels of each image, and of each channel of RGB, as chance and the configuration have it.

    Args:
        images: uint8 or float32 (b, height, width[, 3]), 0 to 255.
        config: of `brightness` and `colour`.

    Returns:
        float32 of the same shape, 0 to 255.
    """
    factors = 1 + config.brightness * _draw_evenly((len(images), *(1,) * (images.dim() - 1)), images.device)
    if images.dim() == 4 and config.colour:
        factors = factors * (1 + config.colour * _draw_evenly((len(images), 1, 1, 3), images.device))
    return (images * factors).clamp_(max=255)


def _border_levels(images: Tensor) -> Tensor:
    """float (b, channels, height, width) -> (b, channels, 1, 1): the median of each channel's outermost pixels."""
    edges = [images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1]]
    return torch.cat(edges, 2).median(2).values[:, :, None, None]


def _draw_evenly(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """float32 from -1 to 1."""
    return torch.rand(shape, device=device) * 2 - 1
