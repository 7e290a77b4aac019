"""Temperature scaling and the confidence threshold of each class."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor
from trainings import HELD_OUT

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Calibration, Labels, ModelCard
from components.evaluation.calibrate import (
    COLDEST,
    HOTTEST,
    REFUSED,
    TARGET,
    calibrate,
    calibrate_known,
    find_threshold,
    fit_temperature,
)
from components.evaluation.metrics import measure
from components.model.known import KnownInputs
from components.training.train import Trained


def draw(rows: int, seed: int = 0, spread: float = 2.5) -> tuple[Tensor, Labels]:
    """Draw perfectly calibrated logits: each label is drawn from the softmax of its row."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 10, generator=generator) * spread
    labels = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator)[:, 0]
    return logits, labels.numpy().astype(np.uint8)


def test_classes_that_are_predicted_rarely_share_a_threshold() -> None:
    """With 20 predictions each, no class could ever be sure; together they can, and are right as often as promised."""
    logits, labels = draw(200, spread=6.0)
    calibration = calibrate(logits, labels)
    (shared,) = set(calibration.thresholds)
    assert 0 < shared < 1
    fresh, truth = draw(20_000, seed=1, spread=6.0)
    probabilities = torch.softmax(fresh / calibration.temperature, dim=1).numpy()
    sure = probabilities.max(axis=1) > shared
    assert sure.mean() > 0.5
    assert (probabilities.argmax(axis=1) == truth)[sure].mean() > TARGET - 0.02


# --- the temperature ---


@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0, 3.0, 10.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    logits, labels = draw(20_000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_has_a_lower_loss() -> None:
    """Compared with a grid search in plain numpy."""
    logits, labels = draw(300)
    found = fit_temperature(logits * 3, labels)

    def loss(temperature: float) -> float:
        cooled = logits.double().numpy() * 3 / temperature
        return float(np.mean(np.log(np.exp(cooled).sum(axis=1)) - cooled[np.arange(300), labels]))

    lowest = min(loss(temperature) for temperature in np.geomspace(0.05, 20, 5_000))
    assert loss(found) == pytest.approx(lowest, abs=1e-6)
    assert loss(found) < loss(1.0) - 0.1


def test_calibration_lowers_the_calibration_error() -> None:
    validation, test = draw(5_000), draw(5_000, seed=1)
    calibration = calibrate(validation[0] * 3, validation[1])
    metrics = measure(test[0] * 3, test[1], CLASSES, "test", "v", calibration)
    assert metrics.uncalibrated.calibration_error > 0.1
    assert metrics.calibrated.calibration_error < 0.02
    assert metrics.calibrated.loss < metrics.uncalibrated.loss
    assert metrics.calibrated.brier < metrics.uncalibrated.brier


@pytest.mark.parametrize("right", [True, False])
def test_the_temperature_stays_in_its_bounds_if_all_predictions_are_right_or_wrong(right: bool) -> None:
    labels = np.arange(10, dtype=np.uint8)
    found = fit_temperature(torch.eye(10) * 5, labels if right else (labels + 1) % 10)
    assert COLDEST <= found < 1 if right else 19 < found <= HOTTEST


# --- the thresholds ---


def lowest_by_exhaustive_search(confidences: list[float], right: list[bool], target: Fraction) -> Fraction:
    """Return the lowest threshold above which (wrong + 1) / (n + 1) <= 1 - target."""
    for threshold in sorted({0.0, *confidences}):
        above = [hit for confidence, hit in zip(confidences, right, strict=True) if confidence > threshold]
        if above and Fraction(above.count(False) + 1, len(above) + 1) <= 1 - target:
            return Fraction(threshold)
    return Fraction(1)


@given(
    seen=st.lists(st.tuples(st.integers(10, 40), st.integers(0, 20)), max_size=150),
    target=st.sampled_from(["0.5", "0.75", "0.9", "0.97"]),
)
@example(seen=[], target="0.97")
@example(seen=[(40, 1)] * 33, target="0.97")
@example(seen=[(40, 1)] * 32, target="0.97")
@example(seen=[(40, 1)] * 9, target="0.9")  # (0 + 1) / (9 + 1) equals 1 - 0.9, except in floating point
@examples(deadline=None, max_examples=300)
def test_the_threshold_is_the_lowest_that_reaches_the_target(seen: list[tuple[int, int]], target: str) -> None:
    """With few distinct confidences, so many are equal; one in twenty predictions is wrong."""
    confidences, right = [confidence / 40 for confidence, _ in seen], [luck != 0 for _, luck in seen]
    found = find_threshold(np.array(confidences, np.float32), np.array(right, bool), float(target))
    expected = lowest_by_exhaustive_search([float(np.float32(one)) for one in confidences], right, Fraction(target))
    assert found == float(expected)


@pytest.mark.parametrize(("images", "threshold"), [(32, 1.0), (33, 0.0)])
def test_a_class_needs_thirty_three_correct_predictions(images: int, threshold: float) -> None:
    """At 97 %: 1 / 34 is less than 0.03, and 1 / 33 is more."""
    confidences = np.linspace(0.3, 0.9, images, dtype=np.float32)
    assert find_threshold(confidences, np.ones(images, bool), 0.97) == threshold


def test_wrong_predictions_of_low_confidence_are_below_the_threshold() -> None:
    confidences = np.linspace(1, 0.2, 200, dtype=np.float32)
    right = np.arange(200) < 150
    threshold = find_threshold(confidences, right, 0.97)
    above = confidences > threshold
    assert 150 <= above.sum() <= 155
    assert right[above].mean() >= 0.97


def test_every_class_has_its_own_threshold() -> None:
    """Class 0 is always right, class 1 never, class 2 at high confidence only, and 3 is never predicted."""
    rows = 120
    logits = torch.full((3 * rows, 10), -20.0)
    predicted = np.repeat([0, 1, 2], rows)
    confidence = np.tile(np.linspace(0.5, 0.99, rows), 3)
    for row in range(3 * rows):
        logits[row, int(predicted[row])] = math.log(confidence[row])
        logits[row, 9] = math.log(1 - confidence[row])
    right = (predicted == 0) | ((predicted == 2) & (confidence > 0.7))
    labels = np.where(right, predicted, 5).astype(np.uint8)
    calibration = calibrate(logits, labels)
    always, never, sometimes, unknown = calibration.thresholds[:4]
    assert (always, never, unknown) == (0.0, 1.0, 1.0)
    assert 0 < sometimes < 1
    assert (calibration.target, calibration.rows) == (TARGET, 3 * rows) == (0.97, 360)
    metrics = measure(logits, labels, CLASSES, "test", "v", calibration)
    assert metrics.sure_accuracy >= 0.97
    assert 0.5 < metrics.coverage < 0.6, "all of class 0, and seven tenths of class 2 at most"


@pytest.mark.parametrize("target", [0.8, 0.97])
def test_every_class_reaches_the_target_above_its_threshold(target: float) -> None:
    """By definition on the images it was fitted on; on other images approximately."""
    logits, labels = draw(20_000, spread=4)
    calibration = calibrate(logits, labels, target)
    predicted = logits.argmax(1).numpy()
    confidences = torch.softmax(logits / calibration.temperature, dim=1).amax(1).numpy()
    for label in range(10):
        sure = (predicted == label) & (confidences > np.float32(calibration.thresholds[label]))
        assert sure.sum() >= 33
        assert (labels[sure] == label).mean() >= target
    later = measure(*draw(20_000, seed=1, spread=4), CLASSES, "test", "v", calibration)
    assert later.sure_accuracy > target - 0.01


def test_the_stored_calibration_is_fitted_on_the_validation_rows(card: ModelCard, trained: Trained) -> None:
    assert card.calibration == calibrate(trained.validation_logits, trained.validation_labels)
    assert card.calibration.rows == HELD_OUT
    assert card.calibration.temperature != Calibration().temperature


# --- the threshold for unknown inputs ---


@pytest.fixture
def measured_with() -> KnownInputs:
    return KnownInputs(np.ones((9, 3), np.float16), np.ones((2, 4, 3), np.float16), np.ones(8, np.float32))


@pytest.mark.parametrize(
    ("images", "rank"),
    [(20, 20), (38, 38), (39, 38), (40, 39), (59, 57), (60, 58), (99, 95), (100, 96), (999, 950), (1000, 951)],
)
def test_the_threshold_has_the_conformal_rank(measured_with: KnownInputs, images: int, rank: int) -> None:
    """The ceil((n + 1) * 0.95)-th smallest distance."""
    assert rank == -(-(images + 1) * 95 // 100)
    distances = np.random.default_rng(0).permutation(np.arange(1, images + 1)).astype(np.float32)
    found = calibrate_known(distances, measured_with)
    assert (found.threshold, found.refused, found.rows) == (rank, REFUSED, images)
    assert (found.kept, found.rank, found.groups) == (8, 3, 2)
    assert found.is_known(distances).sum() == rank


@pytest.mark.parametrize("images", [20, 60, 341])
def test_at_most_five_percent_of_new_data_is_unknown_on_average(measured_with: KnownInputs, images: int) -> None:
    """Over 2,000 draws. The expected share is 1 - rank / (n + 1), for any continuous distribution."""
    generator = np.random.default_rng(images)
    shares = []
    for _ in range(2_000):
        spread = generator.lognormal(0, 2, images + 200).astype(np.float32)
        found = calibrate_known(spread[:images], measured_with)
        shares.append((~found.is_known(spread[images:])).mean())
    rank, error = -(-(images + 1) * 95 // 100), float(np.std(shares)) / len(shares) ** 0.5
    assert np.mean(shares) == pytest.approx(1 - rank / (images + 1), abs=4 * error)
    assert np.mean(shares) <= REFUSED + 4 * error


def test_familiarity_is_monotone_and_the_share_of_validation_images_that_are_farther(
    measured_with: KnownInputs,
) -> None:
    generator = np.random.default_rng(0)
    seen = generator.lognormal(0, 1, 5_000).astype(np.float32)
    found = calibrate_known(seen, measured_with)
    distances = np.sort(generator.lognormal(0, 2, 2_000)).astype(np.float32)
    familiarity = found.familiarity(distances)
    assert (np.diff(familiarity) <= 0).all()
    assert (familiarity[0], familiarity[-1]) == (1, 0)
    exact = (seen[None] > distances[:, None]).mean(axis=1)
    assert np.abs(familiarity - exact).max() < 0.005
    known = found.is_known(distances)
    assert familiarity[known].min() >= 0.045
    assert familiarity[~known].max() <= 0.055


def test_equal_distances_are_known(measured_with: KnownInputs) -> None:
    found = calibrate_known(np.ones(30, np.float32), measured_with)
    assert found.is_known(np.array([0.5, 1, 1.5], np.float32)).tolist() == [True, True, False]
    assert np.isfinite(found.familiarity(np.array([0.5, 1, 1.5], np.float32))).all()


def test_the_stored_threshold_is_fitted_on_the_validation_rows(card: ModelCard, trained: Trained) -> None:
    assert card.known
    assert trained.network.known
    assert trained.validation_distances is not None
    fitted = calibrate_known(trained.validation_distances, trained.network.known)
    assert card.known == dataclasses.replace(fitted, test_refused=card.known.test_refused)
    assert card.known.rows == HELD_OUT
    assert 0 <= card.known.test_refused < 0.3
