"""Evaluate a preset on a small, imbalanced catalogue of real photos, with or without a frozen network.

    .venv/bin/python -m benchmarks.catalogue FOLDER [--preset photos] [--seeds 0 1 2] [--folds 3] [--to FILE]
    .venv/bin/python -m benchmarks.catalogue FOLDER --network efficientnet-lite0 --unknown hat shorts skirt

FOLDER contains `train` and `validation`, each with one folder of photos per class. With --folds, `validation` is not
read: the models are cross-validated on stratified folds of `train`. Use it to choose a preset. Without --folds, the
models are trained on all of `train` and evaluated once on `validation`. With --unknown, models are also trained without
some classes, and asked whether they know the photos of `validation`.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.train import describe_machine
from components.catalogues.preparation import EMBEDDING
from components.contract import DataContract, Images, ImageSpec, Labels
from components.dataset.manifest import Examples
from components.dataset.own.contract import SMALL_PICTURE
from components.evaluation.calibrate import calibrate_known
from components.model.tensors import to_input
from components.networks.sources import keep_network, read_network
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
    distances: NDArray[np.float32]  # (n,), to the training images; empty if cross-validated
    known: NDArray[np.bool_]  # (n,), whether each photo counts as known

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
    parser.add_argument("--preset", choices=PRESETS, metavar="PRESET", help="default: photos, with a network vectors")
    parser.add_argument("--network", default="", help="frozen network, as for fashion ingest")
    parser.add_argument("--unknown", nargs="+", default=[], metavar="CLASS", help="classes to leave out of a training")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as for fashion train")
    parser.add_argument("--preparation", default="garment")
    parser.add_argument("--side", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=0, help="number of folds for cross-validation")
    parser.add_argument("--prepared", type=Path, help=".npz file that caches the prepared images")
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    image = ImageSpec(options.side, options.side, options.channels)
    contract = describe(options.folder, image, options.preparation, options.network)
    preset = options.preset or ("vectors" if options.network else "photos")
    config = configure(preset, read_fields(options.set), contract.input)
    train = prepare(options.folder, "train", contract, options.prepared)
    if options.folds:
        found = [cross_validate(train, config, seed, options.folds) for seed in options.seeds]
        where = f"cross-validated in {options.folds} folds"
    else:
        unseen = prepare(options.folder, "validation", contract, options.prepared)
        found = [measure(train, unseen, config, seed) for seed in options.seeds]
        where = f"evaluated on {len(unseen.ids):,} others"
    about = f"{preset}, trained on {len(train.ids):,} photos and {where}"
    layers = PRESETS[preset].layers(contract)
    size = 4 * count_parameters(config, contract) / 1e6
    how = f"{contract.preparation} {contract.embedding or contract.image}"
    summary = f"{about}; {how}, {layers}, {size:.0f} MB. {time_photos(options.folder, contract)}"
    lines = [
        "# `python -m benchmarks.catalogue`",
        "",
        *describe_machine(),
        "",
        summary,
        "",
        *describe_results(found, contract),
    ]
    if options.unknown:
        known = without(train, options.unknown)
        others = [measure(known, unseen, config, seed) for seed in options.seeds]
        is_unknown = np.isin(unseen.labels, [contract.classes.index(name) for name in options.unknown])
        lines += ["", *describe_unknown(others, is_unknown, options.unknown)]
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


def describe(folder: Path, image: ImageSpec, preparation: str, network: str) -> DataContract:
    """The data contract of a catalogue whose classes are the folders in `train`."""
    classes = tuple(sorted(path.name for path in (folder / "train").iterdir() if path.is_dir()))
    if not network:
        return DataContract("own-photos", classes, image, preparation)
    found = read_network(network)
    keep_network(found, Path(tempfile.mkdtemp()))
    return DataContract("own-photos", classes, SMALL_PICTURE, EMBEDDING, embedding=found.embedding)


def time_photos(folder: Path, contract: DataContract) -> str:
    """How long it takes to read photos and prepare them, on one core."""
    contents = [path.read_bytes() for path in sorted((folder / "train").rglob("*.jpg"))[::40]]
    read_photo(contents[0], contract)
    began = time.process_time()
    for content in contents:
        read_photo(content, contract)
    each = 1000 * (time.process_time() - began) / len(contents)
    return f"Reading and preparing a photo takes {each:.1f} ms of one core, the mean of {len(contents)}."


def without(examples: Examples, names: list[str]) -> Examples:
    """The examples of the other classes, with a contract of these."""
    contract = examples.contract
    kept = [label for label, name in enumerate(contract.classes) if name not in names]
    rows = np.flatnonzero(np.isin(examples.labels, kept))
    classes = tuple(contract.classes[label] for label in kept)
    labels = np.searchsorted(kept, examples.labels[rows]).astype(np.uint16)
    ids = [examples.ids[row] for row in rows]
    return Examples(ids, examples.images[rows], labels, replace(contract, classes=classes))


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
    return Measured(seed, examples.labels, predicted, seconds, np.empty(0, np.float32), np.empty(0, bool))


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
        trained = run.finish()
    finally:
        torch.set_flush_denormal(False)
        use_threads(threads)
    seconds = time.perf_counter() - began
    network, found = trained.network, trained.validation_distances
    if network.known is None or found is None:
        raise SystemExit("too few photos to tell unknown ones")
    with torch.inference_mode():
        inputs = to_input(unseen.images)
        predicted = network(inputs).argmax(1).numpy()
        distances = network.known.measure(train.contract)(inputs.numpy(), network.hidden(inputs).numpy())
    known = calibrate_known(found, network.known).is_known(distances)
    return Measured(seed, unseen.labels, predicted, seconds, distances, known)


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


def describe_unknown(found: list[Measured], is_unknown: NDArray[np.bool_], names: list[str]) -> list[str]:
    """A row per seed: how well photos of the left-out classes are detected."""
    counts = f"{is_unknown.sum()} photos of {', '.join(names)}, {(~is_unknown).sum()} of the other classes"
    rows = []
    for one in found:
        areas = [area_of(one, is_unknown)]
        random = np.random.default_rng(0)
        for _ in range(1000):
            drawn = random.integers(len(is_unknown), size=len(is_unknown))
            if 0 < is_unknown[drawn].sum() < len(drawn):
                areas.append(float(roc_auc_score(is_unknown[drawn], one.distances[drawn])))
        low, high = np.quantile(areas[1:], [0.025, 0.975])
        accepted, refused = one.known[is_unknown].mean(), 1 - one.known[~is_unknown].mean()
        rows.append(f"| {one.seed} | {areas[0]:.3f} ({low:.3f} to {high:.3f}) | {accepted:.2f} | {refused:.3f} |")
    return [
        f"Trained without {', '.join(names)}, and asked whether they know {counts}. Intervals: 95 %, bootstrap.",
        "",
        "| seed | AUROC | unknown accepted | known refused |",
        "| --- | ---: | ---: | ---: |",
        *rows,
        f"| **mean** | **{np.mean([area_of(one, is_unknown) for one in found]):.3f}** | "
        f"**{np.mean([one.known[is_unknown].mean() for one in found]):.2f}** | "
        f"**{np.mean([1 - one.known[~is_unknown].mean() for one in found]):.3f}** |",
    ]


def area_of(one: Measured, is_unknown: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of the distances."""
    return float(roc_auc_score(is_unknown, one.distances))


if __name__ == "__main__":
    main()
