"""Evaluate a preset on a small, imbalanced catalogue of real photos.

    .venv/bin/python -m benchmarks.own_photos FOLDER [--preset photos] [--seeds 0 1 2] [--folds 3] [--to FILE]

FOLDER contains `train` and `validation`, each with one folder of photos per class. With --folds, `validation` is not
read: the models are cross-validated on stratified folds of `train`. Use it to choose a preset. Without --folds, the
models are trained on all of `train` and evaluated once on `validation`.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.train import describe_machine
from components.contract import DataContract, Images, ImageSpec, Labels
from components.dataset.manifest import Examples
from components.model.tensors import to_input
from components.readers.images.photos import read_photo
from components.training.config import TrainConfig
from components.training.hardware import use_threads
from components.training.presets import PRESETS, configure, count_parameters
from components.training.train import Run

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
HEAD = ["| seed | accuracy | macro-F1 | seconds |", "| --- | ---: | ---: | ---: |"]


@dataclass(frozen=True)
class Measured:
    """Predictions of one seed's models on unseen photos."""

    seed: int
    labels: Labels  # (n,)
    predicted: NDArray[np.intp]  # (n,)
    seconds: float  # training time

    @property
    def accuracy(self) -> float:
        """Accuracy, 0 to 1."""
        return float((self.labels == self.predicted).mean())

    def f1(self, classes: int) -> NDArray[np.float64]:
        """F1 of each class, (classes,), 0 to 1."""
        true, predicted = (np.bincount(found, minlength=classes) for found in (self.labels, self.predicted))
        right = np.bincount(self.labels[self.labels == self.predicted], minlength=classes)
        return np.asarray(2 * right / np.maximum(true + predicted, 1), np.float64)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="photos", metavar="PRESET")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as for fashion train")
    parser.add_argument("--preparation", default="garment")
    parser.add_argument("--side", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=0, help="number of folds for cross-validation")
    parser.add_argument("--prepared", type=Path, help=".npz file that caches the prepared images")
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    contract = describe(options.folder, ImageSpec(options.side, options.side, options.channels), options.preparation)
    config = configure(options.preset, read_fields(options.set), contract.image)
    train = prepare(options.folder, "train", contract, options.prepared)
    if options.folds:
        found = [cross_validate(train, config, seed, options.folds) for seed in options.seeds]
        where = f"cross-validated in {options.folds} folds"
    else:
        unseen = prepare(options.folder, "validation", contract, options.prepared)
        found = [measure(train, unseen, config, seed) for seed in options.seeds]
        where = f"evaluated on {len(unseen.ids):,} others"
    about = f"{options.preset}, trained on {len(train.ids):,} photos and {where}"
    layers = PRESETS[options.preset].layers(contract)
    size = 4 * count_parameters(config, contract) / 1e6
    summary = f"{about}; {options.preparation} {contract.image}, {layers}, {size:.0f} MB."
    lines = [
        "# `python -m benchmarks.own_photos`",
        "",
        *describe_machine(),
        "",
        summary,
        "",
        *describe_results(found, contract),
    ]
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


def describe(folder: Path, image: ImageSpec, preparation: str) -> DataContract:
    """The data contract of a catalogue whose classes are the folders in `train`."""
    classes = tuple(sorted(path.name for path in (folder / "train").iterdir() if path.is_dir()))
    return DataContract("own-photos", classes, image, preparation)


def read_fields(given: list[str]) -> dict[str, Any]:
    """Parse FIELD=VALUE arguments, with values in JSON."""
    return {name: json.loads(value) for name, _, value in (one.partition("=") for one in given)}


def prepare(folder: Path, split: str, contract: DataContract, kept: Path | None) -> Examples:
    """Read and prepare the photos of a split, or load them from the cache `kept`."""
    path = kept.with_name(f"{kept.stem}-{split}-{contract.fingerprint[:8]}.npz") if kept else None
    if path and path.is_file():
        with np.load(path) as file:
            return Examples(file["ids"].tolist(), file["images"], file["labels"], contract)
    files = [
        (label, path)
        for label, name in enumerate(contract.classes)
        for path in sorted((folder / split / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    images: Images = np.concatenate([read_photo(path.read_bytes(), contract) for _, path in files])
    labels = np.array([label for label, _ in files], np.uint16)
    ids = [f"{path.parent.name}/{path.name}" for _, path in files]
    if path:
        np.savez(path, ids=ids, images=images, labels=labels)
    return Examples(ids, images, labels, contract)


def cross_validate(examples: Examples, config: TrainConfig, seed: int, folds: int) -> Measured:
    """Predict each fold with a model trained on the other folds."""
    part_of = deal_out(examples.labels, folds, seed)
    predicted, seconds = np.zeros(len(part_of), np.intp), 0.0
    for part in range(folds):
        train, unseen = (rows_of(examples, np.flatnonzero((part_of == part) == held)) for held in (False, True))
        measured = measure(train, unseen, config, seed)
        predicted[part_of == part] = measured.predicted
        seconds += measured.seconds
    return Measured(seed, examples.labels, predicted, seconds)


def deal_out(labels: Labels, folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each image, (n,): random within each class, with fold sizes that differ by at most one per class."""
    random, part_of = np.random.default_rng(seed), np.zeros(len(labels), np.intp)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        part_of[rows] = (np.arange(len(rows)) + label) % folds
    return part_of


def rows_of(examples: Examples, rows: NDArray[np.intp]) -> Examples:
    """Select rows of the examples."""
    ids = [examples.ids[row] for row in rows]
    return Examples(ids, examples.images[rows], examples.labels[rows], examples.contract)


def measure(train: Examples, unseen: Examples, config: TrainConfig, seed: int) -> Measured:
    """Train on `train` and predict `unseen`."""
    began, threads = time.perf_counter(), use_threads(config.threads)
    torch.set_flush_denormal(True)
    try:
        run = Run(train, config.with_overrides({"seed": seed}))
        while not run.is_finished:
            run.advance()
        network = run.finish().network
    finally:
        torch.set_flush_denormal(False)
        use_threads(threads)
    seconds = time.perf_counter() - began
    with torch.inference_mode():
        predicted = network(to_input(unseen.images)).argmax(1).numpy()
    return Measured(seed, unseen.labels, predicted, seconds)


def describe_results(found: list[Measured], contract: DataContract) -> list[str]:
    """A row per seed and one for the mean, then the F1 of each class."""
    f1s = np.array([one.f1(len(contract.classes)) for one in found])
    rows = [
        f"| {one.seed} | {one.accuracy:.4f} | {f1.mean():.4f} | {one.seconds:.0f} |"
        for one, f1 in zip(found, f1s, strict=True)
    ]
    accuracy, seconds = (statistics.mean(getattr(one, name) for one in found) for name in ("accuracy", "seconds"))
    mean = f"| **mean** | **{accuracy:.4f}** | **{f1s.mean():.4f}** | {seconds:.0f} |"
    classes = [f"| {name} | {f1:.2f} |" for name, f1 in zip(contract.classes, f1s.mean(axis=0), strict=True)]
    return [*HEAD, *rows, mean, "", "| class | F1, mean of the seeds |", "| --- | ---: |", *classes]


if __name__ == "__main__":
    main()
