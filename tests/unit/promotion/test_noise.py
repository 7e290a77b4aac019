"""Standard errors of paired differences, compared with the bootstrap."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from benchmarks.gate_sizes import SKEWED, Setup, draw_trial, populate
from components.contract import Labels
from components.evaluation.metrics import expected_calibration_error
from components.promotion.noise import Answers, measure_noise, to_answers

CLASSES, ROWS = 4, 600


def answer(labels: Labels, seed: int) -> Answers:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(ROWS, CLASSES))
    logits[np.arange(ROWS), labels] += 1.5
    right = logits.argmax(axis=1) == labels
    return to_answers(
        torch.tensor(logits, dtype=torch.float32), labels, 1.0, right, {"dark": random.random(ROWS) < 0.7}
    )


@pytest.fixture
def labels() -> Labels:
    return np.random.default_rng(0).choice(CLASSES, ROWS, p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint16)


def test_each_standard_error_matches_the_bootstrap(labels: Labels) -> None:
    ours, theirs = answer(labels, 1), answer(labels, 2)
    noise = measure_noise(labels, ours, theirs, CLASSES)
    random = np.random.default_rng(3)
    drawn = [random.integers(0, ROWS, ROWS) for _ in range(400)]

    def f1(one: Answers, rows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = f1_score(labels[rows], one.labels[rows], labels=range(CLASSES), average=None)
        return scores

    f1s = np.array([f1(ours, rows) - f1(theirs, rows) for rows in drawn])
    np.testing.assert_allclose(noise.f1, f1s.std(axis=0), rtol=0.15)
    assert noise.macro_f1 == pytest.approx(f1s.mean(axis=1).std(), rel=0.15)
    pairs = [
        (noise.accuracy, (ours.labels == labels) * 1.0 - (theirs.labels == labels)),
        (noise.loss, ours.losses - theirs.losses),
        (noise.robustness, ours.costs["dark"] - theirs.costs["dark"]),
    ]
    for error, differences in pairs:
        assert error == pytest.approx(np.std([differences[rows].mean() for rows in drawn]), rel=0.15)


def test_identical_answers_have_no_error(labels: Labels) -> None:
    noise = measure_noise(labels, answer(labels, 1), answer(labels, 1), CLASSES)
    assert (noise.accuracy, noise.macro_f1, noise.loss, noise.calibration_error, noise.robustness) == (0, 0, 0, 0, 0)
    assert noise.f1 == (0.0,) * CLASSES


def test_a_class_without_images_has_no_error(labels: Labels) -> None:
    noise = measure_noise(labels, answer(labels, 1), answer(labels, 2), CLASSES + 1)
    assert noise.f1[CLASSES] == 0
    assert noise.macro_f1 == measure_noise(labels, answer(labels, 1), answer(labels, 2), CLASSES).macro_f1


def test_the_means_of_the_contributions_equal_the_metrics(labels: Labels) -> None:
    logits = torch.tensor(np.random.default_rng(1).normal(size=(ROWS, CLASSES)), dtype=torch.float32)
    found = to_answers(logits, labels, 2.0, np.ones(ROWS, bool), {})
    confidences = torch.softmax(logits.double() / 2, dim=1).amax(dim=1).numpy()
    error = expected_calibration_error(confidences, found.labels == labels)
    assert found.gaps.mean() == pytest.approx(error)
    truth = torch.tensor(labels, dtype=torch.int64)
    assert found.losses.mean() == pytest.approx(torch.nn.functional.cross_entropy(logits / 2, truth).item(), rel=1e-5)


def test_the_f1_of_a_class_with_17_photos_has_a_standard_error_of_about_0_1() -> None:
    trial = draw_trial(populate(Setup("372", SKEWED, 0.78, 0.12)), np.random.default_rng(0))
    assert trial.noise
    assert 0.04 < trial.noise.f1[-1] < 0.15
    assert trial.noise.f1[0] < trial.noise.f1[-1]
