"""The training split as tensors: rows to train on, plain or augmented, and rows to choose by."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from components.catalogues.fashion_mnist import CLASSES, IMAGE_SHAPE
from components.dataset.manifest import Examples
from components.errors import TrainingError
from components.model.tensors import to_input
from components.training.config import TrainConfig

SMALLEST, LARGEST = 4, 14  # pixels, of an erased rectangle's sides


@dataclass(frozen=True)
class TrainingData:
    """What one training learns from, on its device."""

    images: "TrainingImages"
    labels: Tensor  # int64 (n,)
    targets: Tensor  # the labels, or float32 (n, 10) one-hot
    validation_x: Tensor  # float32 (m, 784)
    validation_labels: Tensor  # int64 (m,)


def divide(examples: Examples, config: TrainConfig, device: torch.device) -> TrainingData:
    """Hold the validation rows out, by torch's global generator.

    Raises:
        TrainingError: there are too few images for the configuration.
    """
    labels = torch.tensor(examples.labels, dtype=torch.int64)
    held_out_rows = round(len(labels) * config.validation_share)
    if held_out_rows < len(CLASSES) or len(labels) - held_out_rows < config.batch_size:
        raise TrainingError(
            f"{len(labels)} training images are too few for validation_share {config.validation_share} "
            f"and batch_size {config.batch_size}"
        )
    order = torch.randperm(len(labels))
    held_out, rest = order[:held_out_rows], order[held_out_rows:].sort().values
    kept = labels[rest].to(device)
    return TrainingData(
        TrainingImages(torch.tensor(examples.images[rest.numpy()]).to(device), config),
        kept,
        one_hot(kept, len(CLASSES)).to(torch.float32) if config.labels == "one-hot" else kept,
        to_input(examples.images[held_out.numpy()]).to(device),
        labels[held_out].to(device),
    )


class TrainingImages:
    """uint8 (n, 28, 28) -> batches of float32 (b, 784), 0 to 1, augmented by torch's global generator.

    The images are padded once. A shift is then a window into them and a flip a second copy, so that one indexing
    operation makes a batch of shifted, flipped images: about what it costs to take them as they are.
    """

    def __init__(self, images: Tensor, config: TrainConfig) -> None:
        self.flips, self.shifts, self.erase = 1 + config.flip, 1 + 2 * config.shift, config.erase
        self.plain: Tensor | None = None
        if self.flips == self.shifts == 1 and not self.erase:
            self.plain = to_input(images)
        else:
            mirrored = [images, images.flip(2)][: self.flips]
            padded = pad(torch.stack(mirrored), (config.shift,) * 4)
            height, width = IMAGE_SHAPE
            self.windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (flip, n, down, right, 28, 28), no copy

    def __call__(self, rows: Tensor) -> Tensor:
        """The images of these rows, int64 (b,); augmented ones differ from call to call."""
        if self.plain is not None:
            return self.plain.index_select(0, rows)
        flip = self._draw(self.flips, rows)
        down, right = self._draw(self.shifts, rows), self._draw(self.shifts, rows)
        images = self.windows[flip, rows, down, right]
        return to_input(images.masked_fill_(self._rectangles(rows), 0) if self.erase else images)

    def _draw(self, choices: int, rows: Tensor) -> Tensor:
        return torch.randint(choices, rows.shape, device=rows.device)

    def _rectangles(self, rows: Tensor) -> Tensor:
        """bool (b, 28, 28): true inside one random rectangle an image, or nowhere."""
        chosen = torch.rand(rows.shape, device=rows.device) < self.erase
        down, right = (self._run(rows, side) for side in IMAGE_SHAPE)
        return (down & chosen[:, None])[:, :, None] & right[:, None, :]

    def _run(self, rows: Tensor, side: int) -> Tensor:
        """bool (b, side): true in a random run of 4 to 14 places."""
        length = SMALLEST + self._draw(LARGEST - SMALLEST + 1, rows)
        start = (torch.rand(rows.shape, device=rows.device) * (side - length + 1)).long()
        place = torch.arange(side, device=rows.device)
        return (place >= start[:, None]) & (place < (start + length)[:, None])
