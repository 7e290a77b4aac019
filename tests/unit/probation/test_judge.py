"""The judge: how often it is wrong about equal models, and what it finds."""

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from served_records import HOUR, NAMES, PROMOTED, make_records

from components.monitoring.serving_record import ServingRecord
from components.probation.agreement import Agreement
from components.probation.check import Traffic, judge_traffic
from components.probation.expected import Expected, ExpectedChanges
from components.probation.judge import MEASURES, Measure

DRAWS = 30
DAYS = 6  # of the champion, shared by the draws


@cache
def champion(day: int) -> tuple[ServingRecord, ...]:
    """Half a day of the champion."""
    return tuple(make_records(np.random.default_rng(1_000 + day), PROMOTED - 12 * HOUR, PROMOTED))


def look(
    seed: int, minutes: int = 60, chance: float = 0.0005, agreement: Agreement | None = None, **changes: Any
) -> dict[str, Measure]:
    """The measures of one look, after half a day of the champion."""
    random, before = np.random.default_rng(seed), champion(seed % DAYS)
    end = PROMOTED + minutes * 60
    after = tuple(make_records(random, PROMOTED, end, **changes))
    traffic = Traffic(before, after, PROMOTED, end, 0)
    return {one.name: one for one in judge_traffic(traffic, NAMES, chance, agreement=agreement)}


def breached(found: dict[str, Measure]) -> set[str]:
    return {one.name for one in found.values() if one.outcome == "breach"}


def test_every_measure_is_judged() -> None:
    agreement = Agreement(1_000, 50, 100, 120, {"bag": (500, 20)}, ExpectedChanges(0.1, 0.1, {"bag": 0.1}))
    found = look(0, agreement=agreement)
    assert tuple(found) == MEASURES
    assert {one.outcome for one in found.values()} == {"ok"}


@pytest.mark.parametrize("together", [1, 3, 20])
def test_equal_models_are_not_rolled_back(together: int) -> None:
    """With a chance a hundred times the default, so that the test could fail: 30 draws, two expected at most."""
    false = sum(bool(breached(look(seed, chance=0.05, together=together))) for seed in range(DRAWS))
    assert false <= 2


def test_the_margins_alone_do_not_protect() -> None:
    """Without the design effect, uploads of 60 alike images would move the share of "not sure" beyond its margin."""
    found = [look(seed, minutes=15, requests=1, together=60, not_sure=0.1) for seed in range(DRAWS)]
    assert any(one["not sure"].found > one["not sure"].before + 0.1 for one in found)
    assert not any("not sure" in breached(one) for one in found)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"errors": 0.08}, "server errors"),
        ({"slower": 12}, "latency"),
        ({"not_sure": 0.5}, "not sure"),
        ({"unknown": 0.4}, "unknown"),
        ({"bins": (3, 5, 8)}, "confidence"),
        ({"bins": (19,)}, "confidence"),
        ({"merged": True}, "classes"),
    ],
)
def test_a_bad_model_is_found_within_an_hour(changes: dict[str, Any], name: str) -> None:
    assert name in breached(look(1, **changes))


@pytest.mark.parametrize(
    "changes", [{"errors": 0.005}, {"slower": 2}, {"not_sure": 0.17}, {"not_sure": 0.0}, {"unknown": 0.08}]
)
def test_a_change_within_the_margin_does_not_matter_however_many_images_there_are(changes: dict[str, Any]) -> None:
    assert not breached(look(2, minutes=600, requests=500, **changes))


def test_a_model_that_is_sure_of_everything_is_found() -> None:
    random = np.random.default_rng(9)
    before = tuple(make_records(random, PROMOTED - 12 * HOUR, PROMOTED, not_sure=0.4))
    after = tuple(make_records(random, PROMOTED, PROMOTED + HOUR, not_sure=0.05))
    traffic = Traffic(before, after, PROMOTED, PROMOTED + HOUR, 0)
    assert not breached({one.name: one for one in judge_traffic(traffic, NAMES, 0.0005, Expected(fewer_not_sure=0.3))})
    (found,) = [one for one in judge_traffic(traffic, NAMES, 0.0005) if one.outcome == "breach"]
    assert re.fullmatch(r"not sure: found \d.\d%, allowed [23]\d.\d%, before [34]\d.\d%", str(found))


def test_a_faster_request_is_never_slow() -> None:
    """Below ten milliseconds no one notices."""
    assert "latency" not in breached(look(3, slower=2))


def test_little_traffic_proves_nothing() -> None:
    found = look(4, minutes=3, requests=1, not_sure=1.0)
    assert not breached(found)


def test_an_incident_of_minutes_is_not_the_models_fault() -> None:
    random = np.random.default_rng(5)
    before = champion(5)
    after = make_records(random, PROMOTED, PROMOTED + HOUR)
    after[30:34] = make_records(random, PROMOTED + 1800, PROMOTED + 2040, errors=0.9)
    measures = judge_traffic(Traffic(before, tuple(after), PROMOTED, PROMOTED + HOUR, 0), NAMES, 0.0005)
    errors = measures[0]
    assert errors.found > 0.04
    assert errors.outcome == "ok"


def test_a_champion_without_traffic_leaves_nothing_to_compare_with() -> None:
    random = np.random.default_rng(6)
    before = tuple(make_records(random, PROMOTED - 240, PROMOTED))
    after = tuple(make_records(random, PROMOTED, PROMOTED + HOUR, errors=0.5))
    measures = judge_traffic(Traffic(before, after, PROMOTED, PROMOTED + HOUR, 0), NAMES, 0.0005)
    assert {one.outcome for one in measures} == {"not judged"}


def test_what_the_test_images_let_expect_is_not_held_against_a_model() -> None:
    random = np.random.default_rng(7)
    before = champion(1)
    after = tuple(make_records(random, PROMOTED, PROMOTED + HOUR, not_sure=0.4))
    traffic = Traffic(before, after, PROMOTED, PROMOTED + HOUR, 0)
    outcomes = [
        judge_traffic(traffic, NAMES, 0.0005, Expected(more_not_sure=expected))[2].outcome for expected in (0.0, 0.25)
    ]
    assert outcomes == ["breach", "ok"]


@pytest.mark.parametrize(
    ("changed", "in_bags", "about"),
    [(900, 50, ""), (320, 280, "bag")],
    ids=["most answers", "most of a class"],
)
def test_disagreement_with_the_champion_before_is_a_breach(changed: int, in_bags: int, about: str) -> None:
    by_class = {"bag": (300, in_bags), "coat": (1_700, changed - in_bags)}
    agreement = Agreement(2_000, changed, 200, 200, by_class, ExpectedChanges(0.1, 0.1, {"bag": 0.1, "coat": 0.9}))
    found = look(8, agreement=agreement)["agreement"]
    assert (found.outcome, found.about) == ("breach", about)


@pytest.mark.parametrize(
    ("before", "after", "expected", "outcome"),
    [
        (0.15, 0.05, 0.0, "breach"),
        (0.15, 0.25, 0.0, "breach"),
        (0.15, 0.05, 0.06, "ok"),  # the test images showed it
        (0.15, 0.12, 0.0, "ok"),
        (0.60, 0.48, 0.0, "ok"),  # four times as hard as the test images
        (0.60, 0.10, 0.0, "breach"),
    ],
)
def test_a_model_that_is_surer_of_the_same_images_is_found(
    before: float, after: float, expected: float, outcome: str
) -> None:
    changes = ExpectedChanges(0.1, 0.1, {"bag": 0.1}, test_not_sure=0.15)
    agreement = Agreement(20_000, 0, round(20_000 * before), round(20_000 * after), {"bag": (20_000, 0)}, changes)
    alone = tuple(make_records(np.random.default_rng(10), PROMOTED, PROMOTED + HOUR))  # shows nothing
    traffic = Traffic(champion(3), alone, PROMOTED, PROMOTED + HOUR, 0)
    measures = judge_traffic(traffic, NAMES, 0.0005, Expected(fewer_not_sure=expected), agreement)
    (found,) = [one for one in measures if one.name == "not sure"]
    assert found.outcome == outcome
    assert found.about == "on the same images" or outcome == "ok"


def test_without_the_share_of_the_test_images_the_same_images_are_not_compared() -> None:
    changes = ExpectedChanges(0.1, 0.1, {"bag": 0.1})
    agreement = Agreement(20_000, 0, 8_000, 4_000, {"bag": (20_000, 0)}, changes)
    assert look(10, agreement=agreement)["not sure"].about == ""


def test_a_breach_names_the_measure_what_was_found_and_what_is_allowed() -> None:
    found = look(1, merged=True)["classes"]
    assert str(found).startswith("classes (ankle): found 0.0%, allowed ")
