"""Computes the Metrics of a network on a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from components.contract import (
    Calibration,
    ClassMetrics,
    Dataset,
    Labels,
    Metrics,
    ProbabilityMetrics,
    Split,
    require_equal,
)
from components.dataset.manifest import read_manifest, read_split
from components.errors import ModelError
from components.model.inputs import to_rows
from components.model.mlp import MLP
from components.model.numpy_mlp import softmax

BINS = 15  # equal-width bins of the expected calibration error, as in arXiv:1706.04599
AT_ONCE = 8192  # images per forward pass


@np.errstate(all="ignore")  # as in `Classifier`
def evaluate(network: MLP, dataset: Dataset, split: Split, calibration: Calibration) -> Metrics:
    """Evaluate a network on one split.

    Raises:
        DatasetError: The data changed since it was written.
        ModelError: The network and the dataset have different data contracts.
    """
    require_equal(dataset.contract, network.contract, "the network", ModelError)
    examples = read_split(dataset, split)
    served = network.to_numpy()
    parts = (examples.images[start : start + AT_ONCE] for start in range(0, len(examples.images), AT_ONCE))
    logits = torch.from_numpy(np.concatenate([served.output(served.hidden(to_rows(part))) for part in parts]))
    version = read_manifest(dataset).split_version(split)
    return measure(logits, examples.labels, dataset.contract.classes, split, version, calibration)


def measure(
    logits: Tensor, labels: Labels, classes: Sequence[str], split: Split, split_version: str, calibration: Calibration
) -> Metrics:
    """Compute metrics from logits and labels.

    Args:
        logits: float32 (n, classes).
        labels: True labels, (n,), n at least 1.
        classes: Class names, by label.
        split: Split of the images.
        split_version: See `Metrics`.
        calibration: Calibration of the served probabilities.
    """
    predicted = logits.argmax(1).numpy()
    right = predicted == labels
    probabilities = softmax((logits / calibration.temperature).numpy())  # as served
    sure = probabilities.max(axis=1) > calibration.bars(len(classes))[predicted]
    confusion = confusion_matrix(labels, predicted, labels=range(len(classes))).tolist()
    counted = measure_confusion(confusion, classes)
    uncalibrated = measure_probabilities(logits, labels)
    return Metrics(
        split=split,
        split_version=split_version,
        rows=len(labels),
        accuracy=counted.accuracy,
        accuracy_interval=counted.accuracy_interval,
        loss=uncalibrated.loss,
        uncalibrated=uncalibrated,
        calibrated=measure_probabilities(logits / calibration.temperature, labels),
        coverage=float(sure.mean()),
        sure_accuracy=float(right[sure].mean()) if sure.any() else 0.0,
        classes=counted.classes,
        confusion=tuple(map(tuple, confusion)),
    )


@dataclass(frozen=True)
class Measured:
    """Metrics that follow from a confusion matrix."""

    accuracy: float
    accuracy_interval: tuple[float, float]  # Wilson's, 95 %
    classes: tuple[ClassMetrics, ...]
    confused: tuple[tuple[str, str, int], ...]  # true class, predicted class, count; most frequent first


def measure_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Measured:
    """Compute the metrics that follow from a confusion matrix.

    Args:
        confusion: Counts [true][predicted], (classes, classes), with at least one image.
        classes: Class names, by label.
    """
    counts = np.array(confusion)
    labels, predicted = np.indices(counts.shape).reshape(2, -1)
    table = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), sample_weight=counts.ravel(), zero_division=0.0
    )
    right, rows = int(np.trace(counts)), int(counts.sum())
    interval = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    wrong = [
        (int(counts[true, other]), classes[true], classes[other])
        for true, other in np.argwhere(counts)
        if true != other
    ]
    return Measured(
        accuracy=right / rows,
        accuracy_interval=(float(interval.low), float(interval.high)),
        classes=tuple(
            ClassMetrics(name, float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(classes, *table, strict=True)
        ),
        confused=tuple((true, other, count) for count, true, other in sorted(wrong, key=lambda one: -one[0])),
    )


def measure_probabilities(logits: Tensor, labels: Labels) -> ProbabilityMetrics:
    """Compute log loss, Brier score and calibration error of softmax(logits).

    Args:
        logits: float32 (n, classes).
        labels: True labels, (n,), n at least 1.
    """
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels, dtype=torch.int64))
    brier = brier_score_loss(labels, probabilities, labels=list(range(logits.shape[1])), scale_by_half=False)
    right = probabilities.argmax(axis=1) == labels
    return ProbabilityMetrics(loss.item(), float(brier), expected_calibration_error(probabilities.max(axis=1), right))


def expected_calibration_error(confidences: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error, 0 to 1 (arXiv:1706.04599, equation 3).

    Args:
        confidences: (n,), 0 to 1.
        right: Whether each prediction is correct, (n,).
    """
    return float(calibration_gaps(confidences, right).mean())


def calibration_gaps(confidences: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each image's contribution to the expected calibration error, which is their mean; (n,), -1 to 1.

    Args:
        confidences: (n,), 0 to 1.
        right: Whether each prediction is correct, (n,).
    """
    bins, excess = bin_of(confidences), confidences - right
    sums = np.bincount(bins, weights=excess, minlength=BINS)
    gaps: NDArray[np.float64] = np.sign(sums)[bins] * excess
    return gaps


def bin_of(confidences: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the bin of each confidence, (n,), 0 to 14."""
    return np.minimum((confidences * BINS).astype(np.intp), BINS - 1)
