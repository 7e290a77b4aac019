"""Fits a Calibration to validation logits: a temperature, and a confidence threshold for each class."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.contract import Calibration, KnownRange, Labels
from components.model.known import KnownInputs

REFUSED = 0.05  # share of known images that count as unknown
QUANTILES = 201  # of the distances of the validation images that a card keeps
TARGET = 0.97  # accuracy of the predictions above the threshold
TINY = 1e-9  # tolerance: in floating point, 1 - 0.9 is less than 0.1
COLDEST, HOTTEST = 0.05, 20.0  # bounds of the temperature


def calibrate(logits: Tensor, labels: Labels, target: float = TARGET) -> Calibration:
    """Fit a calibration to images that the network was not trained on.

    Each class has a threshold of its own, except those that are predicted too rarely for one: they share a threshold
    that is fitted to all of their predictions together.

    Args:
        logits: float32 (n, classes).
        labels: True labels, (n,), n at least 1.
        target: Accuracy to reach above the threshold, for each predicted class, 0 to 1.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = torch.softmax(logits / temperature, dim=1).numpy()
    predicted, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    thresholds = [0.0] * logits.shape[1]
    for classes in _group_classes(predicted, len(thresholds), target):
        rows = np.isin(predicted, classes)
        shared = find_threshold(confidences[rows], predicted[rows] == labels[rows], target)
        for label in classes:
            thresholds[label] = shared
    return Calibration(temperature, tuple(thresholds), target, len(labels))


def _group_classes(predicted: NDArray[np.intp], classes: int, target: float) -> list[list[int]]:
    """Each class by itself, except those with so few predictions that no threshold reaches the target."""
    is_rare = np.bincount(predicted, minlength=classes) < np.ceil(target / (1 - target) - TINY)
    rare = np.flatnonzero(is_rare).tolist()
    return [*([label] for label in np.flatnonzero(~is_rare).tolist()), *([rare] if rare else [])]


def calibrate_known(distances: NDArray[np.float32], known: KnownInputs, refused: float = REFUSED) -> KnownRange:
    """Fit the threshold above which inputs are unknown.

    Of new images like the validation images, at most the share `refused` is above it in expectation: it is the
    ceil((n + 1) * (1 - refused))-th smallest distance, as in split conformal prediction (arXiv:2107.07511).

    Args:
        distances: of images that the network was not trained on, float32 (n,), n at least 20.
        known: what they were measured with.
        refused: share of known images that may count as unknown, 0.05 or more.
    """
    ordered = np.sort(distances)
    rank = int(np.ceil((len(ordered) + 1) * (1 - refused) - TINY))
    quantiles = np.quantile(ordered, np.linspace(0, 1, QUANTILES))
    return KnownRange(
        refused=refused,
        threshold=float(ordered[min(rank, len(ordered)) - 1]),
        quantiles=tuple(quantiles.astype(np.float64).round(6).tolist()),
        rows=len(ordered),
        kept=len(known.scale),
        rank=known.basis.shape[1],
        groups=known.groups,
    )


def fit_temperature(logits: Tensor, labels: Labels) -> float:
    """Return the temperature with the lowest cross-entropy (arXiv:1706.04599, section 4.2)."""
    target = torch.tensor(labels, dtype=torch.int64)

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits.double() / np.exp(log_temperature), target).item()

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def find_threshold(confidences: NDArray[np.float32], right: NDArray[np.bool_], target: float) -> float:
    """Return the lowest threshold above which the predictions of a class, or of several rare ones, reach the target.

    The condition is (wrong + 1) / (n + 1) <= 1 - target, with the finite-sample correction of conformal risk control
    (arXiv:2208.02814): at a target of 97 %, a class needs at least 33 predictions above the threshold.

    Args:
        confidences: Confidences of the images predicted as these classes, float32 (n,).
        right: Whether each prediction is correct, (n,).
        target: Accuracy, 0 to 1.

    Returns:
        The threshold; 0 to accept every prediction, 1 to accept none.
    """
    order = np.argsort(-confidences, kind="stable")
    ranked = confidences[order]
    wrong = np.cumsum(~right[order])
    answered = np.arange(1, len(ranked) + 1)
    enough = (wrong + 1) / (answered + 1) <= 1 - target + TINY
    ends = np.append(ranked[1:] < ranked[:-1], True)  # a threshold cannot separate equal confidences
    last = np.flatnonzero(enough & ends)
    if not len(last):
        return 1.0
    if last[-1] == len(ranked) - 1:
        return 0.0
    return float(ranked[last[-1] + 1])
