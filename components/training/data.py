"""The training split as tensors: rows to train on, plain or augmented, and rows to choose by."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from components.dataset.manifest import Examples
from components.errors import TrainingError
from components.model.tensors import to_input
from components.training.config import TrainConfig

SMALLEST, LARGEST = 7, 2  # an erased rectangle's side is at least this part of the image's, and at most that


@dataclass(frozen=True)
class TrainingData:
    """What one training learns from, on its device."""

    images: "TrainingImages"
    labels: Tensor  # int64 (n,)
    targets: Tensor  # the labels, or float32 (n, classes) one-hot
    validation_x: Tensor  # float32 (m, numbers of an image)
    validation_labels: Tensor  # int64 (m,)


def divide(examples: Examples, config: TrainConfig, device: torch.device) -> TrainingData:
    """Hold the validation rows out, by torch's global generator.

    Raises:
        TrainingError: there are too few images for the configuration.
    """
    labels = torch.tensor(examples.labels, dtype=torch.int64)
    classes = len(examples.contract.classes)
    held_out_rows = round(len(labels) * config.validation_share)
    if held_out_rows < classes or len(labels) - held_out_rows < config.batch_size:
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
        one_hot(kept, classes).to(torch.float32) if config.labels == "one-hot" else kept,
        to_input(examples.images[held_out.numpy()]).to(device),
        labels[held_out].to(device),
    )


class TrainingImages:
    """uint8 (n, height, width[, 3]) -> batches of float32 (b, numbers of an image), 0 to 1.

    They are augmented by torch's global generator. The images are padded once. A shift is then a window into them and a
    flip a second copy, so that one indexing operation makes a batch of shifted, flipped images: about what it costs to
    take them as they are.
    """

    def __init__(self, images: Tensor, config: TrainConfig) -> None:
        self.flips, self.shifts, self.erase = 1 + config.flip, 1 + 2 * config.shift, config.erase
        self.plain: Tensor | None = None
        if self.flips == self.shifts == 1 and not self.erase:
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
