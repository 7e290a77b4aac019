"""Quality floors: Fashion-MNIST's own, configured ones, and those derived from the test images."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from components.catalogues.fashion_mnist import CONTRACT, FLOORS
from components.contract import Calibration, Labels, Metrics
from components.evaluation.metrics import measure
from components.promotion.bounds import GateBounds
from components.promotion.floors import fit_floors, large_enough, min_images, min_macro_f1

SHOP = dataclasses.replace(CONTRACT, name="shop", classes=("Hat", "Scarf", "Glove"), aliases=())
LABELS = np.repeat([0, 1, 2], [60, 30, 10]).astype(np.uint16)


def metrics_of(predicted: Labels, confidence: float = 0.8) -> Metrics:
    logits = np.log(np.full((len(LABELS), 3), (1 - confidence) / 2))
    logits[np.arange(len(LABELS)), predicted] = math.log(confidence)
    return measure(torch.tensor(logits, dtype=torch.float32), LABELS, SHOP.classes, "test", "0" * 16, Calibration())


def test_fashion_mnist_uses_the_floors_of_its_catalogue() -> None:
    metrics = metrics_of(LABELS)
    assert fit_floors(GateBounds(), CONTRACT, metrics) == (FLOORS, {})
    floors, _ = fit_floors(GateBounds(min_f1=0.2, max_loss=1), CONTRACT, metrics)
    assert floors == dataclasses.replace(FLOORS, min_f1=0.2, max_loss=1)


def test_floors_of_other_catalogues_are_derived_from_the_test_images() -> None:
    floors, reasons = fit_floors(GateBounds(), SHOP, metrics_of(LABELS))
    assert floors.min_accuracy == pytest.approx(0.6 + 1.96 * math.sqrt(0.24 / 100))
    assert floors.max_loss == pytest.approx(-0.6 * math.log(0.6) - 0.3 * math.log(0.3) - 0.1 * math.log(0.1))
    assert reasons.keys() == {"min_accuracy", "min_f1", "max_loss", "max_calibration_error"}
    floors, reasons = fit_floors(GateBounds(min_accuracy=0.5), SHOP, metrics_of(LABELS))
    assert floors.min_accuracy == 0.5
    assert "min_accuracy" not in reasons


def test_the_accuracy_floor_matches_wilsons_interval_of_the_majority_baseline() -> None:
    for found in range(0, 60, 3):  # images of the other two classes
        predicted = LABELS.copy()
        predicted[60 + found :] = 0
        metrics = metrics_of(predicted)
        floors, _ = fit_floors(GateBounds(), SHOP, metrics)
        assert (metrics.accuracy > floors.min_accuracy) == (metrics.accuracy_interval[0] > 0.6)


def test_the_majority_class_baseline_fails() -> None:
    metrics = metrics_of(np.zeros(100, np.uint16), 0.6)
    floors, _ = fit_floors(GateBounds(), SHOP, metrics)
    assert metrics.accuracy < floors.min_accuracy
    assert metrics.calibrated.loss > floors.max_loss
    assert metrics.classes[1].f1 < floors.min_f1
    assert metrics.macro_f1 == pytest.approx(min_macro_f1(metrics))


def test_one_true_positive_reaches_the_f1_floor() -> None:
    predicted = np.ones(100, np.uint16)
    predicted[0] = 0
    floors, _ = fit_floors(GateBounds(), SHOP, metrics_of(predicted))
    assert 0 < floors.min_f1 <= metrics_of(predicted).classes[0].f1


def test_a_class_with_very_few_images_has_no_f1_floor() -> None:
    assert [one.name for one in large_enough(metrics_of(LABELS))] == ["Hat", "Scarf"]
    for classes in (2, 10, 100, 1_000):
        enough = min_images(classes)
        assert classes * (2 / 3) ** enough <= 0.05 < classes * (2 / 3) ** (enough - 1)


def test_fewer_images_raise_the_calibration_error_bound() -> None:
    metrics = metrics_of(np.roll(LABELS, 10))
    few, _ = fit_floors(GateBounds(), SHOP, metrics)
    many, _ = fit_floors(GateBounds(), SHOP, dataclasses.replace(metrics, rows=10_000))
    assert 0.05 < many.max_calibration_error < 0.07 < few.max_calibration_error
