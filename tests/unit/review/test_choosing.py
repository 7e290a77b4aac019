"""The order in which uncertain images are labelled."""

import numpy as np
import pytest
from reviewing import image_of

from components.catalogues.fashion_mnist import CONTRACT
from components.review.choosing import measure_uncertainty, order, probabilities_of

# Two images between the first two classes, one between the last two, and a sure one.
FOUR = np.array([[0.5, 0.5, 0, 0], [0.52, 0.48, 0, 0], [0, 0, 0.6, 0.4], [0.99, 0.01, 0, 0]], np.float32)


def test_uncertainty_is_the_missing_margin() -> None:
    assert measure_uncertainty(FOUR, None) == pytest.approx([1, 0.96, 0.8, 0.02], abs=1e-5)
    known = np.array([True, True, True, False])
    assert measure_uncertainty(FOUR, known) == pytest.approx([1, 0.96, 0.8, 0.5], abs=1e-5)


def test_the_most_uncertain_comes_first_and_then_one_that_differs() -> None:
    assert order(measure_uncertainty(FOUR, None), FOUR, 4)[:2] == [0, 2]


def test_what_was_chosen_before_counts() -> None:
    assert order(measure_uncertainty(FOUR, None), FOUR, 1, before=FOUR[:1]) == [2]


def test_every_image_is_chosen_once_even_if_all_are_equal() -> None:
    same = np.repeat(FOUR[:1], 5, axis=0)
    assert sorted(order(measure_uncertainty(same, None), same, 9, before=same)) == [0, 1, 2, 3, 4]
    sure = np.eye(3, dtype=np.float32)
    assert sorted(order(measure_uncertainty(sure, None), sure, 3)) == [0, 1, 2]


def test_probabilities_are_those_kept_with_the_images() -> None:
    found = probabilities_of([image_of(label=2, confidence=0.75)], CONTRACT)
    assert found.shape == (1, len(CONTRACT.classes))
    assert found[0, [2, 3]] == pytest.approx([0.75, 0.25])
