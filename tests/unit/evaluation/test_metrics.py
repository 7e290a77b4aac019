"""Metrics, recomputed by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from trainings import logits_of, one_thread  # noqa: F401, one_thread: for every test here

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Calibration, Dataset, Labels, ModelCard, Predictions, Split
from components.dataset.manifest import Examples, read_manifest, read_split
from components.evaluation.metrics import evaluate, expected_calibration_error, measure, measure_probabilities
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.scoring.predict import predict

UNCALIBRATED = Calibration()
ROWS = 500


@pytest.fixture(scope="module")
def logits() -> Tensor:
    return torch.randn(ROWS, 10, generator=torch.Generator().manual_seed(0)) * 2


@pytest.fixture(scope="module")
def labels(logits: Tensor) -> Labels:
    """Correct for about half of the rows; the last class does not occur."""
    noise = torch.randn(ROWS, 10, generator=torch.Generator().manual_seed(1)) * 2
    return (logits + noise)[:, :9].argmax(1).numpy().astype(np.uint8)


def softmax_of(row: list[float]) -> list[float]:
    shares = [math.exp(value) for value in row]
    return [share / sum(shares) for share in shares]


def test_a_small_example_computed_by_hand() -> None:
    logits = torch.full((4, 10), -9.0)
    for row, predicted in enumerate((0, 0, 1, 9)):
        logits[row, predicted] = 9.0
    metrics = measure(logits, np.array([0, 1, 1, 9], np.uint8), CLASSES, "test", "v", UNCALIBRATED)
    first, second = metrics.classes[:2]
    assert (metrics.split, metrics.split_version, metrics.rows, metrics.accuracy) == ("test", "v", 4, 0.75)
    assert (first.name, first.precision, first.recall, first.support) == ("T-shirt/top", 0.5, 1.0, 1)
    assert (second.name, second.precision, second.recall, second.support) == ("Trouser", 1.0, 0.5, 2)
    assert second.f1 == pytest.approx(2 / 3)
    assert (metrics.classes[2].precision, metrics.classes[2].f1, metrics.classes[2].support) == (0, 0, 0)
    assert metrics.confusion[1][:2] == (1, 1)
    assert sum(map(sum, metrics.confusion)) == 4
    right = -math.log(math.exp(9) / (math.exp(9) + 9 * math.exp(-9)))
    assert metrics.loss == pytest.approx((3 * right + 18) / 4, abs=1e-5)


def test_a_large_example_computed_with_plain_loops(logits: Tensor, labels: Labels) -> None:
    metrics = measure(logits, labels, CLASSES, "train", "v", UNCALIBRATED)
    predicted = [row.index(max(row)) for row in logits.tolist()]
    pairs = list(zip(labels.tolist(), predicted, strict=True))
    assert metrics.accuracy == pytest.approx(sum(true == found for true, found in pairs) / ROWS)
    for label, one in enumerate(metrics.classes):
        right = pairs.count((label, label))
        positives, support = predicted.count(label), labels.tolist().count(label)
        assert (one.name, one.support) == (CLASSES[label], support)
        assert one.precision == pytest.approx(right / positives if positives else 0)
        assert one.recall == pytest.approx(right / support if support else 0)
        assert one.f1 == pytest.approx(2 * right / (positives + support))
        assert metrics.confusion[label] == tuple(pairs.count((label, other)) for other in range(10))
    losses = [-math.log(softmax_of(row)[label]) for row, label in zip(logits.tolist(), labels, strict=True)]
    assert metrics.loss == metrics.uncalibrated.loss == pytest.approx(sum(losses) / ROWS, rel=1e-5)


@pytest.mark.parametrize(("right", "rows"), [(9_300, 10_000), (3, 4), (0, 20), (20, 20), (1, 1)])
def test_the_interval_is_wilson_s(right: int, rows: int) -> None:
    """Wilson 1927: (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964 for 95 %."""
    logits = torch.zeros(rows, 10)
    logits[:right, 0] = 1.0
    logits[right:, 1] = 1.0
    low, high = measure(logits, np.zeros(rows, np.uint8), CLASSES, "test", "v", UNCALIBRATED).accuracy_interval
    z, p = 1.959963984540054, right / rows
    spread = z * math.sqrt(p * (1 - p) / rows + z**2 / (4 * rows**2))
    assert low == pytest.approx((p + z**2 / (2 * rows) - spread) / (1 + z**2 / rows), abs=1e-9)
    assert high == pytest.approx((p + z**2 / (2 * rows) + spread) / (1 + z**2 / rows), abs=1e-9)
    assert low <= p <= high


def test_the_brier_score_with_plain_loops(logits: Tensor, labels: Labels) -> None:
    total = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        for number, probability in enumerate(softmax_of(row)):
            total += (probability - (number == label)) ** 2
    assert measure_probabilities(logits, labels).brier == pytest.approx(total / ROWS, rel=1e-6)


def error_by_loops(confidences: list[float], right: list[bool]) -> float:
    """Fifteen bins: the distance between mean confidence and accuracy, weighted by the size of the bin."""
    error = 0.0
    for number in range(15):
        inside = [
            (confidence, hit)
            for confidence, hit in zip(confidences, right, strict=True)
            if number / 15 <= confidence < (number + 1) / 15 or (number == 14 and confidence == 1)
        ]
        if inside:
            mean = sum(confidence for confidence, _ in inside) / len(inside)
            accuracy = sum(hit for _, hit in inside) / len(inside)
            error += len(inside) / len(confidences) * abs(mean - accuracy)
    return error


def test_the_calibration_error_with_plain_loops(logits: Tensor) -> None:
    """Labels are drawn from the softmax: overconfident in some bins, underconfident in others, so the bins matter."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator)[:, 0].numpy().astype(np.uint8)
    confidences = [max(softmax_of(row)) for row in logits.tolist()]
    right = (logits.argmax(1).numpy() == labels).tolist()
    expected = error_by_loops(confidences, right)
    assert expected > 0.01, "the error is not trivial"
    assert measure_probabilities(logits, labels).calibration_error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("confidences", "right", "error"),
    [
        ([1.0, 1.0], [True, True], 0.0),
        ([1.0, 1.0], [False, True], 0.5),
        ([0.5, 0.5], [True, False], 0.0),
        ([0.9], [False], 0.9),
        ([0.94, 0.92, 0.1], [True, False, False], (abs(0.94 - 1) + abs(0.92 - 0) + 0.1) / 3),  # each in its own bin
        ([0.98, 0.95], [True, False], abs((0.98 + 0.95) / 2 - 0.5)),  # both in the last one
    ],
)
def test_calibration_errors_computed_by_hand(confidences: list[float], right: list[bool], error: float) -> None:
    found = expected_calibration_error(np.array(confidences), np.array(right))
    assert found == pytest.approx(error, abs=1e-12)
    assert error_by_loops(confidences, right) == pytest.approx(error, abs=1e-12)


def test_calibrated_metrics_use_the_logits_divided_by_the_temperature(logits: Tensor, labels: Labels) -> None:
    metrics = measure(logits, labels, CLASSES, "test", "v", dataclasses.replace(UNCALIBRATED, temperature=2.5))
    colder = measure(logits / 2.5, labels, CLASSES, "test", "v", UNCALIBRATED)
    assert dataclasses.astuple(metrics.calibrated) == pytest.approx(dataclasses.astuple(colder.uncalibrated), rel=1e-6)
    assert metrics.uncalibrated == measure(logits, labels, CLASSES, "test", "v", UNCALIBRATED).uncalibrated
    assert metrics.calibrated != metrics.uncalibrated
    assert (metrics.accuracy, metrics.confusion) == (colder.accuracy, colder.confusion), (
        "the temperature changes no label"
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_coverage_and_accuracy_above_the_threshold(logits: Tensor, labels: Labels, temperature: float) -> None:
    thresholds = tuple(0.25 + 0.05 * label for label in range(10))
    metrics = measure(logits, labels, CLASSES, "test", "v", Calibration(temperature, thresholds, 0.97, 60))
    sure = []
    for row, label in zip(logits.tolist(), labels, strict=True):
        probabilities = softmax_of([value / temperature for value in row])
        predicted = probabilities.index(max(probabilities))
        if max(probabilities) > thresholds[predicted]:
            sure.append(predicted == label)
    assert 0 < len(sure) < ROWS
    assert metrics.coverage == pytest.approx(len(sure) / ROWS)
    assert metrics.sure_accuracy == pytest.approx(sum(sure) / len(sure))


@pytest.mark.parametrize(("threshold", "coverage"), [(0.0, 1.0), (1.0, 0.0)])
def test_full_and_zero_coverage(logits: Tensor, labels: Labels, threshold: float, coverage: float) -> None:
    metrics = measure(logits * 100, labels, CLASSES, "test", "v", Calibration(thresholds=(threshold,) * 10))
    assert metrics.coverage == coverage
    assert metrics.sure_accuracy == (metrics.accuracy if coverage else 0.0)


# --- on a stored dataset, and compared with serving ---


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_whole_split_is_evaluated_in_evaluation_mode(dataset: Dataset, split: Split) -> None:
    torch.manual_seed(0)
    network = MLP(ModelConfig(hidden=(32,), dropout=0.5), CONTRACT)
    examples = read_split(dataset, split)
    version = read_manifest(dataset).split_version(split)
    expected = measure(logits_of(network, examples.images), examples.labels, CLASSES, split, version, UNCALIBRATED)
    found = evaluate(network.train(), dataset, split, UNCALIBRATED)
    assert (found.split, found.split_version, found.rows) == (split, version, len(examples.labels))
    assert found.confusion == expected.confusion
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def served(network: MLP, card: ModelCard, calibration: Calibration, images: NDArray[np.uint8]) -> Predictions:
    model = Classifier("fashion-mlp:abcdefgh", dataclasses.replace(card, calibration=calibration), network.to_numpy())
    return predict(model, images)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_metrics_match_served_predictions(
    network: MLP, card: ModelCard, dataset: Dataset, test_split: Examples, temperature: float
) -> None:
    """The thresholds are the median confidence of each class."""
    plain = served(network, card, Calibration(temperature), test_split.images)
    thresholds = tuple(
        float(np.median(plain.confidences[plain.labels == label])) if (plain.labels == label).any() else 0.5
        for label in range(10)
    )
    calibration = Calibration(temperature, thresholds, 0.97, 60)
    predictions = served(network, card, calibration, test_split.images)
    metrics = evaluate(network, dataset, "test", calibration)
    right = predictions.labels == test_split.labels
    assert 0 < predictions.sure.sum() < len(right)
    assert metrics.accuracy == pytest.approx(right.mean())
    assert metrics.coverage == pytest.approx(predictions.sure.mean())
    assert metrics.sure_accuracy == pytest.approx(right[predictions.sure].mean())
    of_the_label = predictions.probabilities[np.arange(len(right)), test_split.labels].astype(np.float64)
    assert metrics.calibrated.loss == pytest.approx(-np.log(of_the_label).mean(), rel=1e-4)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_macro_f1_is_the_mean_over_classes_with_images() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, 1], np.uint16)
    logits = torch.tensor(np.eye(3)[[0, 0, 0, 0, 1, 1, 0]], dtype=torch.float32)
    found = measure(logits, labels, ("Hat", "Scarf", "Glove"), "test", "0" * 16, Calibration())
    assert found.macro_f1 == pytest.approx((0.8 + 0.5) / 2)
    assert found.is_skewed


@pytest.mark.parametrize(("rows", "skewed"), [(4, False), (5, True)])
def test_a_split_is_skewed_if_one_class_has_more_than_twice_the_images_of_another(rows: int, skewed: bool) -> None:
    labels = np.array([0] * rows + [1] * 2, np.uint16)
    found = measure(torch.zeros(len(labels), 2), labels, ("Hat", "Scarf"), "test", "0" * 16, Calibration())
    assert found.is_skewed is skewed
