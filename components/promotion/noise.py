"""How much of the difference between two models on the same images is chance: standard errors of paired differences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Labels
from components.evaluation.metrics import calibration_gaps

Right = NDArray[np.bool_]  # (n,): whether a model is right


@dataclass(frozen=True)
class Answers:
    """What a model says of n test images, image by image."""

    labels: Labels  # (n,), predicted
    losses: NDArray[np.floating]  # (n,), cross-entropy of the served probabilities, nats
    gaps: NDArray[np.floating]  # (n,), parts of the calibration error, see `calibration_gaps`
    costs: Mapping[str, NDArray[np.int8]]  # disturbance -> 1 where it makes the model wrong, -1 where right, else 0


@dataclass(frozen=True)
class Noise:
    """Standard errors of the differences between two models, from the images that both were measured on."""

    accuracy: float
    f1: tuple[float, ...]  # by label
    macro_f1: float
    loss: float  # nats
    calibration_error: float
    robustness: float  # of the accuracy that a disturbance costs, the largest


def to_answers(
    logits: Tensor, labels: Labels, temperature: float, clean: Right, disturbed: Mapping[str, Right]
) -> Answers:
    """What logits come to, image by image.

    Args:
        logits: float32 (n, classes).
        labels: the true ones, (n,).
        temperature: the model's.
        clean: where it is right on the images that were disturbed, before they were.
        disturbed: disturbance -> where it is right on them then.
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
    """How far two models of equal quality would differ on these images by chance.

    Args:
        labels: the true ones, (n,).
        ours: one model's answers.
        theirs: the other's.
        classes: how many there are.
    """
    found = [label for label in range(classes) if (labels == label).any()]
    f1, macro = np.zeros(classes), np.zeros(len(labels))
    for label in found:
        parts = _parts_of_f1(labels, ours.labels, label) - _parts_of_f1(labels, theirs.labels, label)
        f1[label] = np.sqrt((parts**2).sum())
        macro += parts / len(found)
    right = (ours.labels == labels).astype(np.int8) - (theirs.labels == labels)
    return Noise(
        accuracy=_error_of_mean(right),
        f1=tuple(f1.tolist()),
        macro_f1=float(np.sqrt((macro**2).sum())),
        loss=_error_of_mean(ours.losses - theirs.losses),
        calibration_error=_error_of_mean(ours.gaps - theirs.gaps),
        robustness=max(_error_of_mean(ours.costs[name] - theirs.costs[name]) for name in ours.costs),
    )


def _parts_of_f1(labels: Labels, predicted: Labels, label: int) -> NDArray[np.float64]:
    """Each image's part in what chance does to a class's F1, (n,): their squares add up to its variance.

    F1 is a ratio of two sums over images, twice the hits by the images named so in truth or by the model; this is its
    first derivative by each image (the delta method).
    """
    true, said = labels == label, predicted == label
    named = true.astype(np.float64) + said
    f1 = 2 * (true & said).sum() / named.sum()
    parts: NDArray[np.float64] = (2 * (true & said) - f1 * named) / named.sum()
    return parts


def _error_of_mean(numbers: NDArray[np.number]) -> float:
    return float(numbers.std() / np.sqrt(len(numbers)))
