"""A model's report: one HTML file with its pictures inside, readable without a network."""

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from components.contract import CLASSES, Dataset, Epoch, Images, Metrics
from components.files import write_whole
from components.manifest import Examples, read_split
from components.model.classifier import Classifier
from components.settings import Settings, load_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISTAKES = 50


@dataclass(frozen=True)
class Mistake:
    """A test image that the model is most sure of and wrong about."""

    true: str
    predicted: str
    confidence: float
    picture: str  # a data URI


def report_path(tag: str, settings: Settings | None = None) -> Path:
    """Where a model's report is, whether or not it was written yet."""
    return (settings or load_settings()).reports_dir / tag.replace(":", "-") / "index.html"


def write_report(model: Classifier, dataset: Dataset, settings: Settings | None = None) -> Path:
    """Write a model's report.

    Args:
        model: any stored model.
        dataset: with the test images that the mistakes are shown of.
        settings: where reports go; None: from the environment.

    Returns:
        The page.

    Raises:
        DatasetError: the dataset is missing or changed.
    """
    settings = settings or load_settings()
    os.environ.setdefault("MPLCONFIGDIR", str(settings.data_dir / "cache" / "matplotlib"))  # its font cache
    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=folder, autoescape=True, undefined=StrictUndefined).get_template("report.html.j2")
    page = template.render(
        tag=model.tag,
        card=model.card,
        parameters=sum(weight.numel() for weight in model.network.parameters()),
        curves=_draw_curves(model.card.history),
        confusion=_draw_confusion(model.card.test),
        mistakes=find_mistakes(model, read_split(dataset, "test")),
    )
    path = report_path(model.tag, settings)
    write_whole(path, page.encode())
    return path


def find_mistakes(model: Classifier, examples: Examples, most: int = MISTAKES) -> list[Mistake]:
    """The mistakes that the model is most confident of, the worst first."""
    probabilities = torch.softmax(model.logits(examples.images), dim=1).numpy()
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != examples.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        Mistake(
            CLASSES[examples.labels[row]],
            CLASSES[predicted[row]],
            float(confidence[row]),
            _data_uri(examples.images[row]),
        )
        for row in worst
    ]


def _data_uri(image: Images) -> str:
    """One image, uint8 (28, 28), as a PNG data URI."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _draw_curves(history: tuple[Epoch, ...]) -> str:
    figure = _figure(9, 3)
    epochs = [epoch.number for epoch in history]
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [epoch.loss for epoch in history], ".-", label="training")
    left.plot(epochs, [epoch.validation_loss for epoch in history], ".-", label="validation")
    left.set(xlabel="epoch", ylabel="loss, nats")
    left.legend(frameon=False)
    right.plot(epochs, [100 * epoch.validation_accuracy for epoch in history], ".-", color="C1")
    right.set(xlabel="epoch", ylabel="validation accuracy, %")
    return _svg(figure)


def _draw_confusion(metrics: Metrics) -> str:
    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(9, 6.5)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=35, ha="right")
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="predicted", ylabel="true")
    for (true, predicted), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[true, predicted] > 0.5 else "#1c2330"
            axes.text(predicted, true, str(count), ha="center", va="center", fontsize=8, color=color)
    return _svg(figure)


def _figure(width: float, height: float) -> "Figure":
    """In inches; without pyplot, so that no window system and no global state is touched."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: "Figure") -> str:
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()[content.getvalue().index("<svg") :]
