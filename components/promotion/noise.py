"""Standard errors of the paired differences between two models on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Labels
from components.evaluation.metrics import calibration_gaps

Right = NDArray[np.bool_]  # (n,): whether a prediction is correct


@dataclass(frozen=True)
class Answers:
    """A model's answers for n test images."""

    labels: Labels  # predicted, (n,)
    losses: NDArray[np.floating]  # cross-entropy of the served probabilities, nats, (n,)
    gaps: NDArray[np.floating]  # contributions to the calibration error, (n,), see `calibration_gaps`
    costs: Mapping[str, NDArray[np.int8]]  # disturbance -> 1: it makes the prediction wrong, -1: right, 0: no change


@dataclass(frozen=True)
class Noise:
    """Standard errors of the differences between two models."""

    accuracy: float
    f1: tuple[float, ...]  # by label
    macro_f1: float
    loss: float  # nats
    calibration_error: float
    robustness: float  # accuracy lost under a disturbance, largest over all


def to_answers(
    logits: Tensor, labels: Labels, temperature: float, clean: Right, disturbed: Mapping[str, Right]
) -> Answers:
    """Convert logits into per-image answers.

    Args:
        logits: float32 (n, classes).
        labels: true labels, (n,).
        temperature: the model's calibration temperature.
        clean: whether the model is right on the undisturbed images.
        disturbed: disturbance -> whether it is right on the disturbed images.
    """
    served = logits / temperature
    confidences = torch.softmax(served.double(), dim=1).amax(dim=1).numpy()
    predicted = logits.argmax(1).numpy().astype(np.uint16)
    truth = torch.tensor(labels, dtype=torch.int64)
    return Answers(
        labels=predicted,
        losses=torch.nn.functional.cross_entropy(served, truth, reduction="none").numpy(),
        gaps=calibration_gaps(confidences, predicted == labels),
        costs={name: clean.astype(np.int8) - right for name, right in disturbed.items()},
    )


def measure_noise(labels: Labels, ours: Answers, theirs: Answers, classes: int) -> Noise:
    """Estimate how far two equally good models differ on these images by chance.

    Args:
        labels: true labels, (n,).
        ours: answers of one model.
        theirs: answers of the other.
        classes: number of classes.
    """
    found = [label for label in range(classes) if (labels == label).any()]
    f1, macro = np.zeros(classes), np.zeros(len(labels))
    for label in found:
        parts = _parts_of_f1(labels, ours.labels, label) - _parts_of_f1(labels, theirs.labels, label)
        f1[label] = np.sqrt((parts**2).sum())
        macro += parts / len(found)
    right = (ours.labels == labels).astype(np.int8) - (theirs.labels == labels)
    return Noise(
        accuracy=_standard_error(right),
        f1=tuple(f1.tolist()),
        macro_f1=float(np.sqrt((macro**2).sum())),
        loss=_standard_error(ours.losses - theirs.losses),
        calibration_error=_standard_error(ours.gaps - theirs.gaps),
        robustness=max((_standard_error(ours.costs[name] - theirs.costs[name]) for name in ours.costs), default=0.0),
    )


def _parts_of_f1(labels: Labels, predicted: Labels, label: int) -> NDArray[np.float64]:
    """Return each image's contribution to the error of a class's F1, (n,). Their squares sum to its variance.

    F1 = 2 TP / (true + predicted) is a ratio of two sums over images; this is its first derivative by image (the delta
    method).
    """
    true, positive = labels == label, predicted == label
    named = true.astype(np.float64) + positive
    f1 = 2 * (true & positive).sum() / named.sum()
    parts: NDArray[np.float64] = (2 * (true & positive) - f1 * named) / named.sum()
    return parts


def _standard_error(numbers: NDArray[np.number]) -> float:
    return float(numbers.std() / np.sqrt(len(numbers)))
