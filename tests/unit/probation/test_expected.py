"""What the test images of two models let expect."""

import dataclasses

import pytest

from components.contract import ModelCard
from components.probation.agreement import expect_changes
from components.probation.expected import NOTHING, expect


def test_equal_models_let_expect_nothing(card: ModelCard) -> None:
    assert expect(card, card) == NOTHING


def test_a_model_that_abstains_more_on_its_test_images_may_do_so_on_traffic(card: ModelCard) -> None:
    assert card.profile
    images = sum(map(sum, card.profile.counts["confidence"]))
    more = tuple(count + 2 for count in card.profile.not_sure)
    other = dataclasses.replace(card, profile=dataclasses.replace(card.profile, not_sure=more))
    assert expect(card, other).not_sure == pytest.approx(2 * len(more) / images)
    assert expect(other, card).not_sure == 0


def test_probabilities_that_moved_on_the_test_images_may_move_on_traffic(card: ModelCard) -> None:
    assert card.profile
    limits = {**card.profile.limits, "confidence": tuple(one / 2 for one in card.profile.limits["confidence"])}
    other = dataclasses.replace(card, profile=dataclasses.replace(card.profile, limits=limits))
    assert expect(card, other).confidence > 0.3


def test_without_a_profile_or_with_other_test_images_nothing_is_expected(card: ModelCard) -> None:
    assert expect(dataclasses.replace(card, profile=None), card) == NOTHING
    test = dataclasses.replace(card.test, split_version="f" * 16)
    assert expect(card, dataclasses.replace(card, test=test)) == NOTHING


def test_two_models_differ_at_most_by_the_sum_of_their_errors(card: ModelCard) -> None:
    overall, by_class = expect_changes(card, card)
    assert overall == pytest.approx(min(1.0, 2 * (1 - card.test.accuracy)))
    one = card.test.classes[0]
    assert by_class[one.name] == pytest.approx(min(1.0, 2 - one.precision - one.recall))
