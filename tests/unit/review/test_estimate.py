"""The accuracy on live traffic, from the random images that people labelled."""

import dataclasses

import pytest

from components.intervals import wilson
from components.review.decisions import Decision
from components.review.estimate import estimate, estimate_days, find_levels

DAY = 86_400.0


def decision(rank: float, is_right: bool | None = True, time: float = 0.0, rate: float = 1.0) -> Decision:
    """A live random image that was labelled at once; None: it was skipped."""
    label = None if is_right is None else "bag" if is_right else "hat"
    return Decision("random", "live", time, time + 1, "m", "bag", label, rate, rank, 0.0, True)


def test_equal_ranks_and_rates_give_the_plain_share() -> None:
    found = estimate([decision(0.1, number % 4 > 0) for number in range(100)])
    assert found.accuracy == pytest.approx(0.75)
    assert found.effective == pytest.approx(100)
    assert (found.low, found.high) == pytest.approx(wilson(75, 100))
    assert (found.low, found.high) == pytest.approx((0.6570, 0.8246), abs=1e-4)  # scipy's binomtest, Wilson


def test_an_image_kept_with_a_lower_rate_stands_for_more() -> None:
    """Half of the answers are right at a rate of 1, all of them at a rate of 0.25, whose images count four times."""
    quiet = [decision(0.9, number % 2 == 0) for number in range(40)]
    busy = [decision(0.2, True, rate=0.25) for number in range(40)]
    found = estimate(quiet + busy)
    assert found.accuracy == pytest.approx((20 + 4 * 40) / (40 + 4 * 40), rel=0.01)
    assert found.effective < 80


def test_the_level_that_people_reached_limits_the_chance_of_being_shown() -> None:
    """An hour of which only the lowest ranks were shown counts like one that was kept at that rate."""
    shown = [decision(0.01 * number) for number in range(1, 11)]
    assert find_levels(shown).tolist() == pytest.approx([0.1] * 10)
    later = dataclasses.replace(decision(0.5, time=10.0), oldest=5.0)
    assert find_levels([*shown, later]).tolist() == pytest.approx([0.1] * 10 + [0.5]), "the first had gone by then"
    still = dataclasses.replace(later, oldest=0.0)
    assert find_levels([*shown, still]).tolist() == pytest.approx([0.5] * 11)


def test_an_equal_image_counts_only_below_the_level() -> None:
    shown = [decision(0.3, time=1.0)]
    same = dataclasses.replace(decision(0.2, time=1.5), shown=False)
    higher = dataclasses.replace(same, rank=0.9)
    assert estimate([*shown, same]).labelled == 2
    assert estimate([*shown, higher]).labelled == 1


def test_skipped_uncertain_and_scored_images_do_not_count() -> None:
    uncertain = dataclasses.replace(decision(0.1, False), kind="uncertain")
    scored = dataclasses.replace(decision(0.1, False), source="scored")
    found = estimate([decision(0.1), decision(0.2, None), uncertain, scored])
    assert (found.labelled, found.skipped, found.accuracy) == (1, 1, 1.0)
    assert estimate([uncertain, scored], "scored").accuracy == 0.0


def test_without_labels_nothing_is_known() -> None:
    for decisions in ([], [decision(0.5, None)]):
        found = estimate(decisions)
        assert (found.accuracy, found.low, found.high) == (None, 0.0, 1.0)


def test_days_are_utc_dates_oldest_first() -> None:
    found = estimate_days([decision(0.1, False, 2 * DAY), decision(0.1, True, DAY - 1), decision(0.2, True, 0.0)])
    assert {day: (one.labelled, one.accuracy) for day, one in found.items()} == {
        "1970-01-01": (2, 1.0),
        "1970-01-03": (1, 0.0),
    }
    assert list(found) == sorted(found)


@pytest.mark.parametrize(("share", "number"), [(0.0, 5), (1.0, 5), (0.5, 1)])
def test_an_interval_lies_within_0_and_1_around_the_share(share: float, number: int) -> None:
    low, high = wilson(share * number, number)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.3
