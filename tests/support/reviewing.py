"""Images and answers for the tests of the review queue."""

import time

import numpy as np
from numpy.typing import NDArray

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Images, Predictions
from components.monitoring.prediction_log import LoggedAnswer
from components.review.images import Kind, ReviewImage, make_review_image

TAG = "fashion-mlp:abc"
FIRST, SECOND = "firstperson1", "secondperson2"


def draw_noise(number: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (number, 28, 28)).astype(np.uint8)


def predictions_of(
    labels: list[int], confidence: float = 0.9, sure: bool = True, known: NDArray[np.bool_] | None = None
) -> Predictions:
    """Predictions whose second most likely class is the next one."""
    probabilities = np.full((len(labels), len(CLASSES)), 0.0, np.float32)
    probabilities[np.arange(len(labels)), labels] = confidence
    probabilities[np.arange(len(labels)), [(label + 1) % len(CLASSES) for label in labels]] = 1 - confidence
    familiarity = None if known is None else known.astype(np.float32)
    found = np.array(labels, np.uint16), probabilities, np.full(len(labels), sure)
    return Predictions(TAG, CLASSES, *found, known, familiarity)


def answer_of(images: Images, sure: bool = True, when: float | None = None) -> LoggedAnswer:
    labels = [number % len(CLASSES) for number in range(len(images))]
    return LoggedAnswer(time.time() if when is None else when, predictions_of(labels, 0.9, sure), images)


def image_of(
    kind: Kind = "random",
    label: int = 0,
    confidence: float = 0.9,
    rank: float = 0.25,
    seed: int = 0,
    when: float | None = None,
) -> ReviewImage:
    predictions = predictions_of([label], confidence)
    at = time.time() if when is None else when
    return make_review_image(kind, "live", at, predictions, 0, draw_noise(1, seed)[0], (0.5, rank), None)
