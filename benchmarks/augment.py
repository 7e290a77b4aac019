"""Compare the time of the flagship's augmentation with torchvision's transforms and with a training step.

    .venv/bin/python -m benchmarks.augment [--runs 30]

Uses noise as images, because the time does not depend on them. Prints medians of alternating runs of one batch each.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from components.catalogues.fashion_mnist import CONTRACT
from components.model.tensors import to_input
from components.training.data import TrainingData, TrainingImages
from components.training.presets import PRESETS
from components.training.train import Phase, build

CONFIG = PRESETS["flagship"].config
ROWS = 54_000


def candidates(images: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Functions that map rows, int64 (b,), to a batch, float32 (b, 784)."""
    shift = v2.RandomCrop(28, padding=CONFIG.shift)
    transforms = v2.Compose([shift, v2.RandomHorizontalFlip()])

    def per_image(rows: Tensor) -> Tensor:
        return to_input(torch.stack([transforms(image) for image in images[rows][:, None]]))

    def per_batch(rows: Tensor) -> Tensor:
        return to_input(transforms(images[rows][:, None]))

    return {
        "ours": TrainingImages(images, CONFIG),
        "ours, without augmentation": lambda rows: to_input(images[rows]),
        "torchvision, image by image": per_image,
        "torchvision, same shift and flip for the whole batch": per_batch,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    torch.set_flush_denormal(True)
    images, labels = torch.randint(256, (ROWS, 28, 28), dtype=torch.uint8), torch.randint(10, (ROWS,))
    augmentations = candidates(images)
    data = TrainingData(augmentations["ours"], labels, labels, to_input(images[:1024]), labels[:1024])  # type: ignore[arg-type]
    phase = Phase(build(CONFIG, CONTRACT), CONFIG, data)
    seconds: dict[str, list[float]] = {name: [] for name in (*augmentations, "training step")}
    batch = to_input(images[: CONFIG.batch_size])
    for _ in range(runs + 1):
        rows = torch.randint(ROWS, (CONFIG.batch_size,))
        for name, augment in augmentations.items():
            began = time.perf_counter()
            augment(rows)
            seconds[name].append(time.perf_counter() - began)
        began = time.perf_counter()
        phase.learn(batch, labels[rows])
        seconds["training step"].append(time.perf_counter() - began)
    machine = f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"
    print(f"batch {CONFIG.batch_size}, {machine}")
    for name, times in seconds.items():
        print(f"{1000 * statistics.median(times[1:]):8.2f} ms  {name}")


if __name__ == "__main__":
    main()
