"""Figures about a model, for the report and for notebooks.

Every function returns SVG to embed in a page. Text takes the page's colour and font, and the other colours work on
light and dark backgrounds. Does not use pyplot: no window system, no global state.
"""

import functools
import io
import os
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from components.contract import DataContract, Epoch, Metrics
from components.evaluation.metrics import BINS, bin_of, expected_calibration_error
from components.model.mlp import ModelConfig
from components.settings import load_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
INK = "#123456"  # placeholder for the page's text colour
BLUE, ORANGE, GREEN = "#3b7dd8", "#e07b39", "#3a9d6e"  # distinguishable on white and black, and when colour-blind
STYLE: Any = {  # matplotlib rcParams
    "svg.fonttype": "none",  # text instead of outlines, so the page can be searched
    "text.parse_math": False,  # a dollar sign in a class name is literal
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "font.size": 10,
}
MAX_NAME = 30  # characters; longer names would leave no space for the plot
DEFAULT_CLASSES = 12  # number of classes that fit into a confusion matrix of the default size
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # matplotlib's metadata contains a URL


def _as_svg(label: str) -> "Callable[[Callable[P, Figure]], Callable[P, str]]":
    """Decorate a drawing function to use our style and return SVG with `label` for screen readers."""

    def decorate(draw: "Callable[P, Figure]") -> Callable[P, str]:
        @functools.wraps(draw)
        def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
            fonts = load_settings().data_dir / "cache" / "matplotlib"
            os.environ.setdefault("MPLCONFIGDIR", str(fonts))
            import matplotlib

            content = io.StringIO()
            style = STYLE | {"svg.hashsalt": label}  # deterministic output with ids unique to the figure
            with matplotlib.rc_context(style):
                draw(*args, **kwargs).savefig(content, format="svg", transparent=True, metadata=NO_METADATA)
            text = content.getvalue()
            text = re.sub('<g id="[^"]*"', "<g", text[text.index("<svg") :])  # these ids are not referenced
            return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).replace(INK, "currentColor")

        return drawn

    return decorate


def draw_curves(history: tuple[Epoch, ...], best_epoch: int | None = None) -> str:
    """Draw training and validation curves of loss and accuracy: two figures.

    Args:
        history: At least one epoch.
        best_epoch: Epoch to mark, whose weights are used.
    """
    loss = [(epoch.number, epoch.loss, epoch.validation_loss) for epoch in history]
    accuracy = [(epoch.number, 100 * epoch.accuracy, 100 * epoch.validation_accuracy) for epoch in history]
    return _draw_loss(np.array(loss), best_epoch) + _draw_accuracy(np.array(accuracy), best_epoch)


@_as_svg("training and validation loss by epoch")
def _draw_loss(points: NDArray[np.floating], best_epoch: int | None) -> "Figure":
    return _draw_curve(points, best_epoch, "loss, nats")


@_as_svg("training and validation accuracy by epoch")
def _draw_accuracy(points: NDArray[np.floating], best_epoch: int | None) -> "Figure":
    return _draw_curve(points, best_epoch, "accuracy, %")


def _draw_curve(points: NDArray[np.floating], best_epoch: int | None, quantity: str) -> "Figure":
    """Draw one curve pair; the columns of `points` are epoch, training, validation."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(4.6, 3)
    axes.plot(points[:, 0], points[:, 1], ".-", color=BLUE, label="training")
    axes.plot(points[:, 0], points[:, 2], ".-", color=ORANGE, label="validation")
    if best_epoch is not None:
        axes.axvline(best_epoch, linestyle=":", color=INK, linewidth=1, label="selected epoch")
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend()
    return figure


@_as_svg("confusion matrix: rows are true classes, columns are predicted classes")
def draw_confusion(metrics: Metrics) -> "Figure":
    """Draw the confusion matrix: counts, shaded by their share of the true class; blue if correct, orange if not."""
    from matplotlib.patches import Rectangle

    counts, names = np.array(metrics.confusion), [_shorten(one.name) for one in metrics.classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    scale = max(1, len(names) / DEFAULT_CLASSES)
    figure, axes = _figure(5.3 * scale, 4.7 * scale)
    for (true, predicted), count in np.ndenumerate(counts):
        if not count:
            continue
        strength = 0.08 + 0.5 * np.sqrt(shares[true, predicted])  # square root makes rare mistakes visible
        color = BLUE if true == predicted else ORANGE
        axes.add_patch(Rectangle((predicted - 0.48, true - 0.48), 0.96, 0.96, color=color, alpha=strength, linewidth=0))
        axes.text(predicted, true, f"{count:,}", ha="center", va="center_baseline")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@_as_svg("reliability diagram before and after temperature scaling, with a histogram of confidence")
def draw_reliability(
    uncalibrated: NDArray[np.floating], calibrated: NDArray[np.floating], right: NDArray[np.bool_]
) -> "Figure":
    """Draw a reliability diagram: accuracy by confidence, before and after temperature scaling.

    Args:
        uncalibrated: Confidences before temperature scaling, (n,), 0 to 1.
        calibrated: Confidences after temperature scaling, (n,), 0 to 1.
        right: Whether each prediction is correct, (n,).
    """
    figure = _empty_figure(4.6, 4.4)
    accuracy, number = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    accuracy.plot([0, 100], [0, 100], ":", color=INK, linewidth=1)
    for confidences, color, name in ((uncalibrated, ORANGE, "uncalibrated"), (calibrated, BLUE, "calibrated")):
        bins = bin_of(confidences)
        count = np.bincount(bins, minlength=BINS)
        some = count > 0
        mean = np.bincount(bins, weights=confidences, minlength=BINS)[some] / count[some]
        share = np.bincount(bins, weights=right, minlength=BINS)[some] / count[some]
        error = expected_calibration_error(confidences, right)
        accuracy.plot(100 * mean, 100 * share, ".-", color=color, label=f"{name}, ECE {100 * error:.2f} %")
        number.stairs(100 * count / len(right), np.linspace(0, 100, BINS + 1), color=color)
    accuracy.set(ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 103))
    number.set(xlabel="confidence, %", ylabel="images, %", ylim=(0, None))
    accuracy.legend(loc="lower right")
    return figure


@_as_svg("accuracy against coverage")
def draw_coverage(
    confidences: NDArray[np.floating], right: NDArray[np.bool_], metrics: Metrics, target: float
) -> "Figure":
    """Draw accuracy against coverage: the accuracy of the most confident predictions, by their share of the images.

    Args:
        confidences: Calibrated confidences, (n,), 0 to 1.
        right: Whether each prediction is correct, (n,).
        metrics: Metrics whose coverage and accuracy above the threshold are marked.
        target: Target accuracy above the threshold, 0 to 1.
    """
    order = np.argsort(-confidences, kind="stable")
    covered = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(right[order]) / covered
    shown = np.unique(np.linspace(len(order) // 50, len(order) - 1, 400).astype(int))  # skip the noisy first 2 %
    figure, axes = _figure(4.6, 4.4)
    axes.plot(
        100 * covered[shown] / len(order), 100 * accuracy[shown], color=BLUE, label="one threshold for all classes"
    )
    axes.axhline(100 * target, linestyle=":", color=INK, linewidth=1, label=f"target: {100 * target:.0f} %")
    if metrics.coverage:
        x, y = 100 * metrics.coverage, 100 * metrics.sure_accuracy
        axes.scatter([x], [y], color=GREEN, zorder=3, label=f"threshold per class: {y:.1f} % at {x:.1f} %")
    axes.set(xlabel="coverage, % of the test images", ylabel="accuracy, %", xlim=(0, 102))
    axes.legend(loc="lower left")
    return figure


@_as_svg("network architecture, from input to output")
def draw_architecture(config: ModelConfig, contract: DataContract) -> "Figure":
    """Draw the layers, with heights proportional to the square root of their units, and the parameters between them."""
    widths = config.widths(contract)
    names = ("input", *(f"dense {number}" for number in range(1, len(widths) - 1)), "logits")
    taken = "vector" if contract.embedding else " x ".join(map(str, contract.image.shape))
    below = (taken, *(config.activation for _ in config.hidden), "softmax")
    heights = np.maximum(np.sqrt(widths) / np.sqrt(max(widths)), 0.05)
    figure, axes = _figure(1.3 * len(widths), 2.7)
    axes.bar(range(len(widths)), heights, width=0.16, bottom=-heights / 2, color=[BLUE] * (len(widths) - 1) + [GREEN])
    for place, (name, units, under) in enumerate(zip(names, widths, below, strict=True)):
        axes.text(place, 0.6, f"{name}\n{units:,}", ha="center", va="bottom", fontsize=11)
        axes.text(place, -0.6, under, ha="center", va="top", fontsize=11)
    for place, ((before, after), (left, right)) in enumerate(zip(pairwise(widths), pairwise(heights), strict=True)):
        ends = [place + 0.1, place + 0.9]
        axes.fill_between(ends, [-left / 2, -right / 2], [left / 2, right / 2], color=BLUE, alpha=0.15, linewidth=0)
        axes.text(place + 0.5, 0, f"{before * after + after:,}", ha="center", va="center_baseline")
    axes.set(xlim=(-0.5, len(widths) - 0.5), ylim=(-0.8, 1))
    axes.axis("off")
    return figure


def draw_shares(name: str, labels: Sequence[str], expected: Sequence[float], found: Sequence[float]) -> str:
    """Draw an expected and an observed distribution side by side.

    Args:
        name: Name of the variable.
        labels: Labels of the k bins, or of the first and the last.
        expected: Expected shares of the images, (k,), 0 to 1.
        found: Observed shares of the images, (k,), 0 to 1.
    """

    @_as_svg(f"{name}: expected and observed distribution")
    def draw() -> "Figure":
        figure, axes = _figure(4.6, 2.9)
        places = np.arange(len(expected))
        for shares, shift, color, label in ((expected, -0.2, BLUE, "expected"), (found, 0.2, ORANGE, "observed")):
            axes.bar(places + shift, 100 * np.array(shares), width=0.4, color=color, label=label)
        shown = places if len(labels) == len(places) else places[[0, -1]]
        rotation, side = (60, "right") if len(labels) > 2 else (0, "center")
        axes.set_xticks(shown, [_shorten(one) for one in labels], rotation=rotation, ha=side)
        axes.set(ylabel="images, %")
        axes.legend()
        return figure

    return draw()


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """Create a figure with one pair of axes. Sizes are in inches."""
    figure = _empty_figure(width, height)
    return figure, figure.subplots()


def _empty_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
