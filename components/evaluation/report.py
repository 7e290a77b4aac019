"""Writes a model's report: one self-contained HTML file with embedded images and no scripts."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchinfo
from numpy.typing import NDArray

from components.contract import SPLITS, Dataset, Images, Labels, Metrics, Verdict, pictures_of, require_equal
from components.dataset.manifest import Examples, read_manifest, read_split
from components.errors import DatasetError, ModelError
from components.evaluation import figures
from components.evaluation.compare import count_changes, find_flips
from components.evaluation.datasets import DataChange, compare_versions
from components.evaluation.groups import CommonClasses, GroupedClasses, find_common
from components.evaluation.metrics import AT_ONCE, measure
from components.evaluation.model_slices import slice_model
from components.evaluation.slices import CHANCE
from components.evaluation.slices_page import FILE, write_slices
from components.files import require_writable, write_whole
from components.model.classifier import Classifier
from components.model.mlp import to_mlp
from components.model.numpy_mlp import softmax
from components.pages.render import render_page, to_uri
from components.settings import Settings, load_settings

MISTAKES = 50
LEAST_FAMILIAR = 24  # images
FLIPS = 16  # images per kind of label change
EXAMPLES = 8  # images per class
NO_COMPARISON: dict[str, Any] = {"other": None, "left_out": "", "changed_classes": ""}


@dataclass(frozen=True)
class ReportPicture:
    """A test image with a model's prediction."""

    true: str
    predicted: str
    confidence: float  # calibrated
    other: str  # the other model's prediction, or ""
    uri: str  # data URI


@dataclass(frozen=True)
class Unfamiliar:
    """The test images that are least like the training images."""

    refused: float  # share of all test images that count as unknown
    pictures: list[ReportPicture]  # the least familiar first


@dataclass(frozen=True)
class Evaluated:
    """A model's predictions and metrics on n test images."""

    model: Classifier
    metrics: Metrics
    uncalibrated: NDArray[np.float32]  # confidences before temperature scaling, (n,)
    probabilities: NDArray[np.float32]  # calibrated, (n, classes)
    confidences: NDArray[np.float32]  # of the predictions, calibrated, (n,)
    predictions: Labels  # (n,)
    right: NDArray[np.bool_]  # whether each prediction is correct, (n,)


@dataclass(frozen=True)
class ShownImages:
    """Test images with their labels and label names."""

    images: Images  # (n,)
    labels: Labels  # true labels, (n,)
    names: tuple[str, ...]  # of the labels and of all predictions


def report_path(tag: str, settings: Settings | None = None) -> Path:
    """Return the path of a model's report, whether or not it exists."""
    return (settings or load_settings()).reports_dir / tag.replace(":", "-") / "index.html"


def write_report(
    model: Classifier,
    dataset: Dataset,
    other: Classifier | None = None,
    settings: Settings | None = None,
    verdict: Verdict | None = None,
) -> Path:
    """Write a model's report, and its slices as JSON next to it.

    Args:
        model: Any stored model.
        dataset: Dataset whose test images the models are evaluated on.
        other: Model to compare it with, usually the live model at the time. If its classes differ, the two are compared
            by their common classes; if there are none, the report says so.
        settings: Settings with the reports folder; None: from the environment.
        verdict: Verdict of the evaluation gate, if any.

    Returns:
        Path of the page.

    Raises:
        DatasetError: The dataset is missing or changed.
        ModelError: The model and the dataset have different data contracts.
    """
    settings = settings or load_settings()
    path = report_path(model.tag, settings)
    require_writable(path.parent)
    test = read_split(dataset, "test")
    this = _evaluate(model, test, dataset)
    slices = slice_model(model, dataset, test)
    comparison = NO_COMPARISON | (
        _evaluate_other(this, other, test, dataset) if other and other.tag != model.tag else {}
    )
    page = render_page(
        Path(__file__).with_name("report.html.j2"),
        this=this,
        card=model.card,
        dataset=dataset,
        image=dataset.contract.image,
        verdict=verdict,
        failed=[check for check in verdict.checks if not check.passed] if verdict else [],
        docs=_find_docs(model.card.dataset_version, path.parent, settings),
        impact=[name for name in ("impact.html", "impact.csv") if (path.parent / name).is_file()],
        **_draw_evaluated(this, test),
        **comparison,
        **_describe_network(model),
        **_describe_dataset(dataset, test),
        data_change=_compare_data(this, comparison["other"], dataset),
        slices=slices,
        chance=CHANCE,
    )
    write_slices(path.with_name(FILE), slices)
    write_whole(path, page)
    return path


def find_mistakes(model: Classifier, examples: Examples, most: int = MISTAKES) -> list[ReportPicture]:
    """Return the model's misclassified images, most confident first."""
    probabilities = model.probabilities(examples.images)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != examples.labels)
    worst = wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")][:most]
    shown = ShownImages(examples.images, examples.labels, examples.contract.classes)
    return list(_to_pictures(worst.tolist(), shown, probabilities))


def find_unfamiliar(model: Classifier, examples: Examples, most: int = LEAST_FAMILIAR) -> Unfamiliar | None:
    """Return the images that are least like the training images; None if the model cannot tell."""
    known, images = model.card.known, examples.images
    judged = [model.judge(images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    measured = [distances for _, distances in judged if distances is not None]
    if known is None or not measured:
        return None
    distances, probabilities = np.concatenate(measured), np.concatenate([one for one, _ in judged])
    least = np.argsort(-distances, kind="stable")[:most]
    shown = ShownImages(images, examples.labels, examples.contract.classes)
    refused = float((~known.is_known(distances)).mean())
    return Unfamiliar(refused, list(_to_pictures(least.tolist(), shown, probabilities)))


def _evaluate(model: Classifier, test: Examples, dataset: Dataset) -> Evaluated:
    require_equal(dataset.contract, model.contract, model.tag, ModelError)
    logits, calibration = torch.from_numpy(model.logits(test.images)), model.card.calibration
    probabilities = softmax((logits / calibration.temperature).numpy())  # as served
    predictions = probabilities.argmax(axis=1).astype(np.uint16)
    version = read_manifest(dataset).split_version("test")
    return Evaluated(
        model=model,
        metrics=measure(logits, test.labels, test.contract.classes, "test", version, calibration),
        uncalibrated=torch.softmax(logits, dim=1).numpy().max(axis=1),
        probabilities=probabilities,
        confidences=probabilities.max(axis=1),
        predictions=predictions,
        right=predictions == test.labels,
    )


def _draw_evaluated(this: Evaluated, test: Examples) -> dict[str, Any]:
    """Return the figures, mistakes and coverage by class of a model."""
    card = this.model.card
    return {
        "curves": figures.draw_curves(card.history, card.best_epoch),
        "confusion": figures.draw_confusion(this.metrics),
        "reliability": figures.draw_reliability(this.uncalibrated, this.confidences, this.right),
        "coverage": figures.draw_coverage(this.confidences, this.right, this.metrics, card.calibration.target),
        "class_coverage": _count_sure(this),
        "mistakes": find_mistakes(this.model, test),
        "unfamiliar": find_unfamiliar(this.model, test),
    }


def _count_sure(this: Evaluated) -> list[tuple[str, int, int, int]]:
    """Count, for each predicted class: all predictions, those above the threshold, and the correct ones of these."""
    sure = this.confidences > this.model.thresholds[this.predictions]
    kinds, classes = (np.ones_like(sure), sure, sure & this.right), this.model.contract.classes
    chosen = [np.bincount(this.predictions[rows], minlength=len(classes)) for rows in kinds]
    return [(name, *map(int, counts)) for name, *counts in zip(classes, *chosen, strict=True)]


def _evaluate_other(this: Evaluated, other: Classifier, test: Examples, dataset: Dataset) -> dict[str, Any]:
    """Compare two models on the same images, by their common classes if their classes differ."""
    if not this.model.contract.difference(other.contract):
        shown = ShownImages(test.images, test.labels, test.contract.classes)
        return _compare(this, _evaluate(other, test, dataset), shown)
    common = find_common(this.model.card, other.card)
    groups = common.ours.part_of(test.labels) if common else test.labels
    rows = groups < (len(common.names) if common else 0)
    if common is None or not rows.any():
        difference = this.model.contract.difference(other.contract)
        return {"left_out": f"{other.tag}, because the data contracts differ: {difference}"}
    shown = ShownImages(test.images[rows], groups[rows], common.all_names)
    version = read_manifest(dataset).split_version("test")
    ours = _evaluate_common(this.model, common, common.ours, shown, version)
    theirs = _evaluate_common(other, common, common.theirs, shown, version)
    theirs = replace(theirs, predictions=common.place_their_parts(theirs.predictions))
    return {**_compare(ours, theirs, shown), "changed_classes": common.summary}


def _evaluate_common(
    model: Classifier, common: CommonClasses, grouped: GroupedClasses, shown: ShownImages, version: str
) -> Evaluated:
    """Evaluate a model by parts of its classes. It abstains on the same images as when served."""
    logits = torch.from_numpy(model.logits(shown.images))
    served = logits / model.card.calibration.temperature
    joined = grouped.join(served)
    probabilities = torch.softmax(joined, dim=1).numpy()
    predictions = probabilities.argmax(axis=1).astype(np.uint16)
    right = predictions == shown.labels
    of_classes = softmax(served.numpy().copy())
    confidences, labels = of_classes.max(axis=1), of_classes.argmax(axis=1)
    sure = confidences > model.thresholds[labels]
    return Evaluated(
        model=model,
        metrics=replace(
            common.measure(joined, shown.labels, grouped, version),
            coverage=float(sure.mean()),
            sure_accuracy=float(right[sure].mean()) if sure.any() else 0.0,
        ),
        uncalibrated=torch.softmax(grouped.join(logits), dim=1).numpy().max(axis=1),
        probabilities=probabilities,
        confidences=probabilities.max(axis=1),
        predictions=predictions,
        right=right,
    )


def _compare(this: Evaluated, other: Evaluated, test: ShownImages) -> dict[str, Any]:
    flips = find_flips(test.labels, this.predictions, this.confidences, other.predictions)
    kinds = (
        ("Fixed: wrong before, right now", flips.fixed),
        ("Regressed: right before, wrong now", flips.regressed),
        ("Moved: wrong before and now, with different labels", flips.moved),
    )
    shown = [
        (title, len(rows), list(_to_pictures(rows[:FLIPS], test, this.probabilities, other.predictions)))
        for title, rows in kinds
    ]
    return {
        "compared": this,
        "other": other,
        "flips": flips,
        "flips_shown": shown,
        "changes": count_changes(test.labels, other.predictions, this.predictions, test.names),
        "other_parameters": other.model.weights,
    }


def _describe_network(model: Classifier) -> dict[str, Any]:
    """Return the layers as torchinfo lists them, the number of parameters and the figure of the architecture."""
    values = torch.zeros(1, model.contract.input.size)
    summary = torchinfo.summary(to_mlp(model.network), input_data=values, device="cpu", verbose=0)
    return {
        "layers": [layer for layer in summary.summary_list if layer.is_leaf_layer],
        "parameters": summary.total_params,
        "architecture": figures.draw_architecture(model.network.config, model.contract),
    }


def _describe_dataset(dataset: Dataset, test: Examples) -> dict[str, Any]:
    """Return the manifest, class counts, brightness and example images of a dataset."""
    train, classes = read_split(dataset, "train"), len(dataset.contract.classes)
    first = [np.flatnonzero(train.labels == label)[:EXAMPLES] for label in range(classes)]
    return {
        "manifest": read_manifest(dataset),
        "counts": list(
            zip(*(np.bincount(split.labels, minlength=classes).tolist() for split in (train, test)), strict=True)
        ),
        "brightness": [
            (name, *_measure_brightness(split.images)) for name, split in zip(SPLITS, (train, test), strict=True)
        ],
        "examples": [[to_uri(train.images[row]) for row in rows] for rows in first],
    }


def _compare_data(this: Evaluated, other: Evaluated | None, dataset: Dataset) -> DataChange | None:
    """Compare the datasets of two models; None if they are the same, have other classes, or no longer exist."""
    before = other.model.card.dataset_version if other else ""
    if not before or before == this.model.card.dataset_version or dataset.version != this.model.card.dataset_version:
        return None
    try:
        return compare_versions(before, dataset)
    except DatasetError:
        return None


def _measure_brightness(images: Images) -> tuple[float, float]:
    """Return mean and standard deviation of the pixels, 0 to 255."""
    pictures = pictures_of(images)
    mean = pictures.mean()
    square = np.square(pictures, dtype=np.uint16).mean()  # np.std would make a float64 copy, 8 times the size
    return float(mean), float(np.sqrt(square - mean**2))


def _find_docs(version: str, folder: Path, settings: Settings) -> str:
    """Return a link to the newest validation page of a version, relative to the report's folder; "" if none exist."""
    pages = sorted(settings.validation_dir.glob(f"{version}-*/index.html"), key=lambda page: page.stat().st_mtime)
    return Path(os.path.relpath(pages[-1], folder)).as_posix() if pages else ""


def _to_pictures(
    rows: Iterable[int], shown: ShownImages, probabilities: NDArray[np.float32], others: Labels | None = None
) -> Iterable[ReportPicture]:
    names = shown.names
    for row in rows:
        predicted = probabilities[row].argmax()
        yield ReportPicture(
            true=names[shown.labels[row]],
            predicted=names[predicted],
            confidence=float(probabilities[row, predicted]),
            other="" if others is None else names[others[row]],
            uri=to_uri(shown.images[row]),
        )
