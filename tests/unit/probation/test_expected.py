"""What the test images of two models let expect."""

import dataclasses

import pytest

from components.contract import Flips, ModelCard
from components.probation.expected import NOTHING, expect, expect_changes


def test_equal_models_let_expect_nothing(card: ModelCard) -> None:
    assert expect(card, card) == NOTHING


def test_a_model_that_abstains_more_on_its_test_images_may_do_so_on_traffic(card: ModelCard) -> None:
    assert card.profile
    images = sum(map(sum, card.profile.counts["confidence"]))
    more = tuple(count + 2 for count in card.profile.not_sure)
    other = dataclasses.replace(card, profile=dataclasses.replace(card.profile, not_sure=more))
    found, turned = expect(card, other), expect(other, card)
    assert found.more_not_sure == turned.fewer_not_sure == pytest.approx(2 * len(more) / images)
    assert found.fewer_not_sure == turned.more_not_sure == 0


def test_probabilities_that_moved_on_the_test_images_may_move_on_traffic(card: ModelCard) -> None:
    assert card.profile
    limits = {**card.profile.limits, "confidence": tuple(one / 2 for one in card.profile.limits["confidence"])}
    other = dataclasses.replace(card, profile=dataclasses.replace(card.profile, limits=limits))
    assert expect(card, other).confidence > 0.3


def test_without_a_profile_nothing_is_expected(card: ModelCard) -> None:
    assert expect(dataclasses.replace(card, profile=None), card) == NOTHING


def test_uncompared_models_differ_at_most_by_the_sum_of_their_errors(card: ModelCard) -> None:
    expected = expect_changes(card, card)
    for not_sure in (0, 0.3, 1):
        assert expected.overall(not_sure) == pytest.approx(min(1.0, 2 * (1 - card.test.accuracy)))
    one = card.test.classes[0]
    assert expected.of_class(one.name, 0.3) == pytest.approx(min(1.0, 2 - one.precision - one.recall))


def test_what_the_gate_counted_is_expected_with_its_uncertainty(card: ModelCard) -> None:
    expected = expect_changes(card, card, Flips((8_000, 160), (2_000, 600), {"bag": (1_000, 100)}))
    assert expected.test_not_sure == 0.2
    assert 0.02 < expected.sure < 0.024
    assert 0.3 < expected.not_sure < 0.33
    assert expected.overall(0.2) == pytest.approx(0.8 * expected.sure + 0.2 * expected.not_sure)
    assert 0.1 < expected.of_class("bag", 0.2) < 0.13
    few = expect_changes(card, card, Flips((8, 0), (2, 0), {"bag": (0, 0)}))
    assert few.sure > 0.3
    assert few.of_class("bag", 0) == few.of_class("of no test image", 0) == 1


def test_harder_traffic_may_change_more(card: ModelCard) -> None:
    """Photos from a phone: the champion is sure of few of them, so another model names them otherwise."""
    expected = expect_changes(card, card, Flips((8_000, 160), (2_000, 600), {"bag": (1_000, 100)}))
    assert expected.overall(0.7) > 2 * expected.overall(0.2)
    assert expected.of_class("bag", 0.7) > 2 * expected.of_class("bag", 0.2)
    assert expected.of_class("bag", 0.1) == expected.of_class("bag", 0.2), "easier traffic: no less than on the test"
