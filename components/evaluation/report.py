"""A model's report: one HTML file with its pictures inside, readable without a network and without a script."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchinfo
from numpy.typing import NDArray

from components.contract import SPLITS, Dataset, Images, Labels, Metrics, Verdict, require_equal
from components.dataset.manifest import Examples, read_manifest, read_split
from components.errors import DatasetError, ModelError
from components.evaluation import figures
from components.evaluation.compare import count_changes, find_flips
from components.evaluation.datasets import DataChange, compare_versions
from components.evaluation.groups import CommonClasses, GroupedClasses, find_common
from components.evaluation.metrics import measure
from components.evaluation.pages import render_page, to_uri
from components.files import require_writable, write_whole
from components.model.classifier import Classifier
from components.settings import Settings, load_settings

MISTAKES = 50
FLIPS = 16  # pictures of each kind of image that another model answers differently
EXAMPLES = 8  # pictures of each class
ALONE: dict[str, Any] = {"other": None, "left_out": "", "changed_classes": ""}  # of a page without a comparison


@dataclass(frozen=True)
class ReportPicture:
    """A test image and what a model says of it."""

    true: str
    predicted: str
    confidence: float  # calibrated
    other: str  # what another model said, or nothing
    uri: str  # a data URI


@dataclass(frozen=True)
class Judged:
    """What a model makes of n test images."""

    model: Classifier
    metrics: Metrics
    uncalibrated: NDArray[np.float32]  # confidences before temperature scaling, (n,)
    probabilities: NDArray[np.float32]  # as served, (n, classes)
    confidences: NDArray[np.float32]  # of the answers, as served, (n,)
    answers: Labels  # the most probable, (n,)
    right: NDArray[np.bool_]  # whether the answers are, (n,)


@dataclass(frozen=True)
class ShownImages:
    """Test images, and what their labels are called."""

    images: Images  # (n, height, width[, 3])
    labels: Labels  # the true ones, (n,)
    names: tuple[str, ...]  # of the labels, and of all answers


def report_path(tag: str, settings: Settings | None = None) -> Path:
    """Where a model's report is, whether or not it was written yet."""
    return (settings or load_settings()).reports_dir / tag.replace(":", "-") / "index.html"


def write_report(
    model: Classifier,
    dataset: Dataset,
    rival: Classifier | None = None,
    settings: Settings | None = None,
    verdict: Verdict | None = None,
) -> Path:
    """Write a model's report.

    Args:
        model: any stored model.
        dataset: whose test images both models are measured and shown on.
        rival: the model to show it beside, usually the one that was live when it came; one of other classes is
            compared by what both know, and left out where that is nothing.
        settings: where reports go; None: from the environment.
        verdict: what the gate said of it; None: it was not asked.

    Returns:
        The page.

    Raises:
        DatasetError: the dataset is missing or changed.
        ModelError: the model is of another contract than the dataset.
    """
    settings = settings or load_settings()
    path = report_path(model.tag, settings)
    require_writable(path.parent)
    test = read_split(dataset, "test")
    this = _judge(model, test, dataset)
    beside = ALONE | (_judge_beside(this, rival, test, dataset) if rival and rival.tag != model.tag else {})
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
        **_draw_judged(this, test),
        **beside,
        **_describe_network(model),
        **_describe_dataset(dataset, test),
        data_change=_compare_data(this, beside["other"], dataset),
    )
    write_whole(path, page)
    return path


def find_mistakes(model: Classifier, examples: Examples, most: int = MISTAKES) -> list[ReportPicture]:
    """The mistakes that the model is most confident of, the worst first."""
    probabilities = model.probabilities(examples.images).numpy()
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != examples.labels)
    worst = wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")][:most]
    shown = ShownImages(examples.images, examples.labels, examples.contract.classes)
    return list(_to_pictures(worst.tolist(), shown, probabilities))


def _judge(model: Classifier, test: Examples, dataset: Dataset) -> Judged:
    require_equal(dataset.contract, model.contract, model.tag, ModelError)
    logits, calibration = model.logits(test.images), model.card.calibration
    probabilities = torch.softmax(logits / calibration.temperature, dim=1).numpy()
    answers = probabilities.argmax(axis=1).astype(np.uint16)
    version = read_manifest(dataset).split_version("test")
    return Judged(
        model=model,
        metrics=measure(logits, test.labels, test.contract.classes, "test", version, calibration),
        uncalibrated=torch.softmax(logits, dim=1).numpy().max(axis=1),
        probabilities=probabilities,
        confidences=probabilities.max(axis=1),
        answers=answers,
        right=answers == test.labels,
    )


def _draw_judged(this: Judged, test: Examples) -> dict[str, Any]:
    """What the model does on the test images, in pictures and class by class."""
    card = this.model.card
    return {
        "curves": figures.draw_curves(card.history, card.best_epoch),
        "confusion": figures.draw_confusion(this.metrics),
        "reliability": figures.draw_reliability(this.uncalibrated, this.confidences, this.right),
        "coverage": figures.draw_coverage(this.confidences, this.right, this.metrics, card.calibration.target),
        "sureness": _count_sure(this),
        "mistakes": find_mistakes(this.model, test),
    }


def _count_sure(this: Judged) -> list[tuple[str, int, int, int]]:
    """For each class: how many answers name it, how many of these are sure, and how many of these are right."""
    sure = this.confidences > this.model.thresholds[this.answers]
    kinds, classes = (np.ones_like(sure), sure, sure & this.right), this.model.contract.classes
    chosen = [np.bincount(this.answers[rows], minlength=len(classes)) for rows in kinds]
    return [(name, *map(int, counts)) for name, *counts in zip(classes, *chosen, strict=True)]


def _judge_beside(this: Judged, rival: Classifier, test: Examples, dataset: Dataset) -> dict[str, Any]:
    """Both models on the same images; where their classes differ, by those that both know."""
    if this.model.contract == rival.contract:
        shown = ShownImages(test.images, test.labels, test.contract.classes)
        return _compare(this, _judge(rival, test, dataset), shown)
    common = find_common(this.model.card, rival.card)
    groups = common.ours.part_of(test.labels) if common else test.labels
    rows = groups < (len(common.names) if common else 0)
    if common is None or not rows.any():
        difference = this.model.contract.difference(rival.contract)
        return {"left_out": f"{rival.tag}, which is about other data: {difference}"}
    shown = ShownImages(test.images[rows], groups[rows], common.all_names)
    version = read_manifest(dataset).split_version("test")
    ours = _judge_common(this.model, common, common.ours, shown, version)
    theirs = _judge_common(rival, common, common.theirs, shown, version)
    theirs = replace(theirs, answers=common.place_their_parts(theirs.answers))
    return {**_compare(ours, theirs, shown), "changed_classes": common.summary}


def _judge_common(
    model: Classifier, common: CommonClasses, grouped: GroupedClasses, shown: ShownImages, version: str
) -> Judged:
    """By part of its classes; it is sure of what it is sure of as served."""
    logits = model.logits(shown.images)
    served = logits / model.card.calibration.temperature
    joined = grouped.join(served)
    probabilities = torch.softmax(joined, dim=1).numpy()
    answers = probabilities.argmax(axis=1).astype(np.uint16)
    right = answers == shown.labels
    confidences, said = (found.numpy() for found in torch.softmax(served, dim=1).max(dim=1))
    sure = confidences > model.thresholds[said]
    return Judged(
        model=model,
        metrics=replace(
            common.measure(joined, shown.labels, grouped, version),
            coverage=float(sure.mean()),
            sure_accuracy=float(right[sure].mean()) if sure.any() else 0.0,
        ),
        uncalibrated=torch.softmax(grouped.join(logits), dim=1).numpy().max(axis=1),
        probabilities=probabilities,
        confidences=probabilities.max(axis=1),
        answers=answers,
        right=right,
    )


def _compare(this: Judged, other: Judged, test: ShownImages) -> dict[str, Any]:
    flips = find_flips(test.labels, this.answers, this.confidences, other.answers)
    kinds = (
        ("Right here, wrong in the other", flips.mended),
        ("Wrong here, right in the other", flips.broken),
        ("Wrong in both, differently", flips.moved),
    )
    shown = [
        (title, len(rows), list(_to_pictures(rows[:FLIPS], test, this.probabilities, other.answers)))
        for title, rows in kinds
    ]
    return {
        "compared": this,
        "other": other,
        "flips": flips,
        "flips_shown": shown,
        "changes": count_changes(test.labels, other.answers, this.answers, test.names),
        "other_parameters": other.model.weights,
    }


def _describe_network(model: Classifier) -> dict[str, Any]:
    """The layers, as torchinfo lists them."""
    image = torch.zeros(1, model.contract.image.size)
    summary = torchinfo.summary(model.network, input_data=image, device="cpu", verbose=0)
    return {
        "layers": [layer for layer in summary.summary_list if layer.is_leaf_layer],
        "parameters": summary.total_params,
        "architecture": figures.draw_architecture(model.network.config, model.contract),
    }


def _describe_dataset(dataset: Dataset, test: Examples) -> dict[str, Any]:
    """Where the images come from, how many and how bright they are, and what they look like."""
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


def _compare_data(this: Judged, other: Judged | None, dataset: Dataset) -> DataChange | None:
    """What this model's data has that the other's has not; None where they are the same, of other classes, or gone."""
    before = other.model.card.dataset_version if other else ""
    if not before or before == this.model.card.dataset_version or dataset.version != this.model.card.dataset_version:
        return None
    try:
        return compare_versions(before, dataset)
    except DatasetError:
        return None


def _measure_brightness(images: Images) -> tuple[float, float]:
    """Mean and standard deviation of the pixels, 0 to 255."""
    mean = images.mean()
    square = np.square(images, dtype=np.uint16).mean()  # numpy's std would make a float64 copy, 8 times the images
    return float(mean), float(np.sqrt(square - mean**2))


def _find_docs(version: str, folder: Path, settings: Settings) -> str:
    """A link to the newest Data Docs of a dataset version, relative to the report's folder; "" where there are none."""
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
