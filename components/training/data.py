"""The training split as tensors: training rows, optionally augmented, and validation rows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, one_hot, pad

from components.contract import Images
from components.dataset.manifest import Examples
from components.errors import TrainingError
from components.model.tensors import to_input
from components.training.config import DEFAULT_BALANCE, RARE, TrainConfig

MIN_ERASED, MAX_ERASED = 7, 2  # the sides of an erased rectangle are 1/7 to 1/2 of the image's


@dataclass(frozen=True)
class TrainingData:
    """Training and validation rows of one training, on its device."""

    images: "TrainingImages"
    labels: Tensor  # int64 (n,)
    targets: Tensor  # the labels, or one-hot, float32 (n, classes)
    validation_x: Tensor  # float32 (m, `DataContract.input.size`)
    validation_labels: Tensor  # int64 (m,)
    shares: Tensor | None = None  # float64 (n,), sampling weight of each row, sums to 1; None: each row once per epoch

    def draw_order(self) -> Tensor:
        """Draw the rows of one epoch in random order, int64 (n,), with torch's global generator.

        Each row comes once, or with `shares` n * share times, randomly rounded up or down (systematic sampling).
        """
        order = torch.randperm(len(self.labels))
        if self.shares is not None:
            order = order[self.labels.cpu()[order].sort(stable=True).indices]  # gives each class its exact share
            ends = self.shares[order].cumsum(0) * len(order)
            drawn = torch.searchsorted(ends, torch.arange(len(order)) + torch.rand((), dtype=torch.float64), right=True)
            order = order[drawn.clamp_(max=len(order) - 1)][torch.randperm(len(order))]
        return order.to(self.labels.device)


@dataclass(frozen=True)
class RowsBefore:
    """Row ids of an earlier training's validation and training rows."""

    held_out: frozenset[str]
    trained_on: frozenset[str]


def divide(
    examples: Examples, config: TrainConfig, device: torch.device, before: RowsBefore | None = None
) -> TrainingData:
    """Split the rows into training and validation, with torch's global generator.

    Args:
        examples: The training split.
        config: Configuration of the training.
        device: Device of the returned tensors.
        before: Split of the model that the training starts from, which is kept.

    Raises:
        TrainingError: There are too few images for the configuration.
    """
    labels = torch.tensor(examples.labels, dtype=torch.int64)
    classes = len(examples.contract.classes)
    held_out, rest = hold_out(examples, config, before)
    if len(held_out) < classes or len(rest) < config.batch_size:
        raise TrainingError(
            f"{len(labels)} training images are too few for validation_share {config.validation_share} "
            f"and batch_size {config.batch_size}; expected at least one validation image per class and one full batch"
        )
    kept = labels[rest].to(device)
    return TrainingData(
        TrainingImages(examples.images[rest.numpy()], config, device),
        kept,
        one_hot(kept, classes).to(torch.float32) if config.labels == "one-hot" else kept,
        to_input(examples.images[held_out.numpy()]).to(device),
        labels[held_out].to(device),
        _sampling_weights(labels[rest], balance) if (balance := balance_of(labels[rest], config)) else None,
    )


def divide_ids(examples: Examples, config: TrainConfig, before: RowsBefore | None = None) -> RowsBefore:
    """Return how a training with this configuration splits the rows. Leaves torch's global generator unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        divided = hold_out(examples, config, before)
    held_out, rest = (frozenset(examples.ids[row] for row in rows.tolist()) for rows in divided)
    return RowsBefore(held_out, rest)


def hold_out(examples: Examples, config: TrainConfig, before: RowsBefore | None = None) -> tuple[Tensor, Tensor]:
    """Return the validation rows and the training rows, the latter in ascending order, int64.

    Rows of an earlier training keep their side of the split. New rows are split by class.
    """
    labels = torch.tensor(examples.labels, dtype=torch.int64)
    if before is None:
        return _hold_out_stratified(labels, config) if config.stratify else _hold_out(labels, config)
    held_out = torch.tensor([row_id in before.held_out for row_id in examples.ids])
    known = held_out | torch.tensor([row_id in before.trained_on for row_id in examples.ids])
    new = (~known).nonzero().flatten()
    if len(new):
        held_out[new[_hold_out_stratified(labels[new], config)[0]]] = True
    return held_out.nonzero().flatten(), (~held_out).nonzero().flatten()


def _hold_out(labels: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Hold out a share of all rows, regardless of class."""
    held_out_rows = round(len(labels) * config.validation_share)
    order = torch.randperm(len(labels))
    return order[:held_out_rows], order[held_out_rows:].sort().values


def _hold_out_stratified(labels: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Hold out a share of each class: at least one row, unless the class has only one."""
    order = torch.randperm(len(labels))
    order = order[labels[order].sort(stable=True).indices]  # class by class, each in random order
    counts = torch.bincount(labels)
    rows = (counts * config.validation_share).round().long().clamp(min=1).minimum(counts - 1)
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]  # within its class
    held_out = place < rows[labels[order]]
    return order[held_out], order[~held_out].sort().values


def balance_of(labels: Tensor, config: TrainConfig) -> float:
    """Return the configured balance; if None, a default that depends on how imbalanced the classes are."""
    if config.balance is not None:
        return config.balance
    counts = torch.bincount(labels)
    counts = counts[counts > 0]
    return DEFAULT_BALANCE if counts.max() > RARE * counts.min() else 0.0


def _sampling_weights(labels: Tensor, balance: float) -> Tensor:
    """Return float64 (n,) that sums to 1; the total of a class of m images is proportional to m ** (1 - balance)."""
    weights = torch.bincount(labels).double().pow(-balance)[labels]
    return weights / weights.sum()


class TrainingImages:
    """Batches of training images: (n,) -> float32 (b, `DataContract.input.size`).

    Augmentation uses torch's global generator. The images are padded once; a shift is then a window into them and a
    flip a second copy, so one indexing operation makes a batch of shifted, flipped images at about the cost of plain
    indexing. Rotation, scaling and translation resample the images.
    """

    def __init__(self, images: Images | Tensor, config: TrainConfig, device: torch.device | str = "cpu") -> None:
        self.config, self.erase = config, config.erase
        self.flips, self.shifts = 1 + config.flip, 1 + 2 * config.shift
        self.is_resampled = bool(config.rotate or config.scale or config.translate)
        self.is_jittered = bool(config.brightness or config.colour)
        self.plain: Tensor | None = None
        if self.flips == self.shifts == 1 and not (self.erase or self.is_resampled or self.is_jittered):
            self.plain = to_input(images).to(device)
        else:
            pixels = (images if isinstance(images, Tensor) else torch.tensor(images)).to(device)
            mirrored, self.sides = [pixels, pixels.flip(2)][: self.flips], pixels.shape[1:3]
            are_rgb = pixels.dim() == 4
            padded = pad(torch.stack(mirrored), (0, 0) * are_rgb + (config.shift,) * 4)
            windows = padded.unfold(2, self.sides[0], 1).unfold(3, self.sides[1], 1)  # no copy
            self.windows = windows.movedim(4, -1) if are_rgb else windows  # (flip, n, down, right, height, width[, 3])

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the images of these rows, int64 (b,), with new random augmentation at each call."""
        if self.plain is not None:
            return self.plain.index_select(0, rows)
        flip = self._draw(self.flips, rows)
        down, right = self._draw(self.shifts, rows), self._draw(self.shifts, rows)
        images = self.windows[flip, rows, down, right]
        if self.is_resampled:
            images = jitter_geometry(images, self.config)
        if self.is_jittered:
            images = jitter_colour(images, self.config)
        if self.erase:
            erased = self._rectangles(rows)
            images.masked_fill_(erased if images.dim() == 3 else erased[..., None], 0)
        return to_input(images)

    def unchanged(self, rows: Tensor) -> Tensor:
        """Return the images of these rows, int64 (b,), without augmentation."""
        if self.plain is not None:
            return self.plain.index_select(0, rows)
        return to_input(self.windows[0, rows, self.config.shift, self.config.shift])

    def _draw(self, choices: int, rows: Tensor) -> Tensor:
        return torch.randint(choices, rows.shape, device=rows.device)

    def _rectangles(self, rows: Tensor) -> Tensor:
        """Return bool (b, height, width): true inside one random rectangle per image, or nowhere."""
        chosen = torch.rand(rows.shape, device=rows.device) < self.erase
        down, right = (self._run(rows, side) for side in self.sides)
        return (down & chosen[:, None])[:, :, None] & right[:, None, :]

    def _run(self, rows: Tensor, side: int) -> Tensor:
        """Return bool (b, side): true in a random run of 1/7 to 1/2 of the positions."""
        least = side // MIN_ERASED
        length = least + self._draw(side // MAX_ERASED - least + 1, rows)
        start = (torch.rand(rows.shape, device=rows.device) * (side - length + 1)).long()
        place = torch.arange(side, device=rows.device)
        return (place >= start[:, None]) & (place < (start + length)[:, None])


def jitter_geometry(images: Tensor, config: TrainConfig) -> Tensor:
    """Rotate, scale and translate each image at random about its centre.

    Args:
        images: uint8 (b, height, width[, 3]).
        config: Configuration with the ranges `rotate`, `scale` and `translate`.

    Returns:
        float32 of the same shape, 0 to 255, interpolated. Pixels from outside an image take the level of its border.
    """
    count, height, width = images.shape[:3]
    channels_first = images.view(count, height, width, -1).permute(0, 3, 1, 2).float()
    angle, down, right, tall, wide = _draw_uniform((5, count), images.device)
    angle = angle * math.radians(config.rotate)
    tall, wide = 1 / (1 + config.scale * tall), 1 / (1 + config.scale * wide)
    cosine, sine, longer = angle.cos(), angle.sin(), height / width
    matrix = torch.stack(  # maps output to input coordinates, both -1 to 1
        [
            torch.stack([wide * cosine, wide * sine * longer, 2 * config.translate * right], 1),
            torch.stack([-tall * sine / longer, tall * cosine, 2 * config.translate * down], 1),
        ],
        1,
    )
    places = affine_grid(matrix, list(channels_first.shape), align_corners=False)
    background = _border_levels(channels_first)
    moved = grid_sample(channels_first - background, places, align_corners=False) + background
    return moved.clamp_(0, 255).permute(0, 2, 3, 1).reshape(images.shape)


def jitter_colour(images: Tensor, config: TrainConfig) -> Tensor:
    """Multiply each image, and each channel of RGB images, by a random factor.

    Args:
        images: uint8 or float32 (b, height, width[, 3]), 0 to 255.
        config: Configuration with the ranges `brightness` and `colour`.

    Returns:
        float32 of the same shape, 0 to 255.
    """
    factors = 1 + config.brightness * _draw_uniform((len(images), *(1,) * (images.dim() - 1)), images.device)
    if images.dim() == 4 and config.colour:
        factors = factors * (1 + config.colour * _draw_uniform((len(images), 1, 1, 3), images.device))
    return (images * factors).clamp_(max=255)


def _border_levels(images: Tensor) -> Tensor:
    """Return the median of each channel's border pixels: float (b, channels, height, width) -> (b, channels, 1, 1)."""
    edges = [images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1]]
    return torch.cat(edges, 2).median(2).values[:, :, None, None]


def _draw_uniform(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw float32 uniformly from [-1, 1)."""
    return torch.rand(shape, device=device) * 2 - 1
