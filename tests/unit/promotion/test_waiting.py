"""Models that wait for their shadow."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from promotions import LENIENT, SERVED
from shadows import record

from components.contract import GateCheck, ModelCard
from components.files import DAY
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.promote import Promotion, promote
from components.promotion.waiting import SHARE, WHY, follow_waiting
from components.registry import champion, store
from components.settings import Settings
from components.shadow.control import current_shadow, start_shadow
from components.shadow.counts import FAILED

pytestmark = pytest.mark.usefixtures("bentoml_home", "validated")
BOUNDS = LENIENT.model_copy(update={"shadow_requests": 10, "max_shadow_flips": 0.5})
Promote = Callable[[str, str], Promotion]


def serve_well(model: Classifier, bounds: GateBounds, settings: Settings) -> tuple[GateCheck, ...]:
    """A canary that passes."""
    return (SERVED,)


@pytest.fixture
def try_to_promote(network: MLP, card: ModelCard, shared_settings: Settings, bentoml_home: Path) -> Promote:
    champion.make_live(store.save_model(network, card), "a test")
    return partial(promote, bounds=BOUNDS, settings=shared_settings, canary=serve_well)


@pytest.fixture
def waiting(network: MLP, card: ModelCard, try_to_promote: Promote) -> str:
    """A model that the gate rejected because it was not in shadow."""
    tag = store.save_model(network, card)
    assert try_to_promote(tag, "a test").waits
    return tag


def test_its_shadow_is_started_and_it_is_promoted_when_it_has_seen_enough(
    waiting: str, try_to_promote: Promote
) -> None:
    assert follow_waiting(BOUNDS, try_to_promote) is None
    shadow = current_shadow()
    assert shadow
    assert (shadow.tag, shadow.why, shadow.share) == (waiting, WHY, SHARE)
    record(shadow, ("Bag", "Bag", 9))
    assert follow_waiting(BOUNDS, try_to_promote) is None
    record(shadow, ("Bag", "Bag", 9), name="1-b")
    promotion = follow_waiting(BOUNDS, try_to_promote)
    assert promotion
    assert promotion.promoted
    assert champion.live_move().tag == waiting
    assert champion.live_move().why.startswith("18 images in shadow")
    assert current_shadow() is None
    assert follow_waiting(BOUNDS, try_to_promote) is None


def test_a_model_that_changes_too_many_answers_is_rejected_once(waiting: str, try_to_promote: Promote) -> None:
    follow_waiting(BOUNDS, try_to_promote)
    shadow = current_shadow()
    assert shadow
    record(shadow, ("Bag", "Coat", 10))
    promotion = follow_waiting(BOUNDS, try_to_promote)
    assert promotion
    assert not promotion.promoted
    assert not promotion.waits
    assert current_shadow() is None
    assert follow_waiting(BOUNDS, try_to_promote) is None
    assert current_shadow() is None


def test_a_candidate_that_fails_in_shadow_is_rejected_at_once(waiting: str, try_to_promote: Promote) -> None:
    follow_waiting(BOUNDS, try_to_promote)
    shadow = current_shadow()
    assert shadow
    record(shadow, ("Bag", "Bag", 1), skipped={FAILED: 1})
    promotion = follow_waiting(BOUNDS, try_to_promote)
    assert promotion
    assert not promotion.promoted
    assert follow_waiting(BOUNDS, try_to_promote) is None
    assert current_shadow() is None


def test_the_newest_comes_first_but_the_one_in_shadow_has_a_day(
    network: MLP, card: ModelCard, try_to_promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = []
    for day in (1, 2, 3):
        created = dataclasses.replace(card, created_at=f"2026-01-0{day}T00:00:00+00:00")
        tags.append(store.save_model(network, created))
        if day < 3:
            assert try_to_promote(tags[-1], "a test").waits
    follow_waiting(BOUNDS, try_to_promote)
    shadow = current_shadow()
    assert shadow
    assert shadow.tag == tags[1]
    assert try_to_promote(tags[2], "a test").waits
    follow_waiting(BOUNDS, try_to_promote)
    assert current_shadow() == shadow
    tomorrow = time.time() + DAY
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    follow_waiting(BOUNDS, try_to_promote)
    shadow = current_shadow()
    assert shadow
    assert shadow.tag == tags[2]


@pytest.mark.parametrize("of_the_waiting", [False, True])
def test_the_shadow_of_a_person_is_left_alone_until_it_is_over(
    of_the_waiting: bool, waiting: str, network: MLP, card: ModelCard, try_to_promote: Promote
) -> None:
    tag = waiting if of_the_waiting else store.save_model(network, card)
    other = start_shadow(tag, share=0.1, who="anna", why="a test", images=20)
    record(other, ("Bag", "Bag", 19))
    assert follow_waiting(BOUNDS, try_to_promote) is None
    assert current_shadow() == other
    record(other, ("Bag", "Bag", 20), name="1-b")
    assert follow_waiting(BOUNDS, try_to_promote) is None
    shadow = current_shadow()
    assert shadow
    assert (shadow.tag, shadow.why) == (waiting, WHY)


def test_a_shadow_that_a_person_starts_during_the_promotion_stays(
    waiting: str, network: MLP, card: ModelCard, try_to_promote: Promote
) -> None:
    follow_waiting(BOUNDS, try_to_promote)
    shadow, other = current_shadow(), store.save_model(network, card)
    assert shadow
    record(shadow, ("Bag", "Bag", 10))

    def promote_slowly(tag: str, why: str) -> Promotion:
        start_shadow(other, share=0.1, who="anna", why="a test")
        return try_to_promote(tag, why)

    assert follow_waiting(BOUNDS, promote_slowly)
    shadow = current_shadow()
    assert shadow
    assert shadow.tag == other


@pytest.mark.parametrize("forced", [False, True])
def test_a_rollback_by_a_person_ends_the_wait(forced: bool, waiting: str, try_to_promote: Promote) -> None:
    """Otherwise the model would go live again."""
    if forced:
        assert promote(waiting, "urgent", force=True, bounds=BOUNDS, canary=serve_well).promoted
    else:
        champion.make_live(waiting, "a test")
    champion.rollback(None, "it was worse")
    assert follow_waiting(BOUNDS, try_to_promote) is None
    assert current_shadow() is None


def test_the_wait_ends_when_another_model_goes_live(
    waiting: str, network: MLP, card: ModelCard, try_to_promote: Promote
) -> None:
    follow_waiting(BOUNDS, try_to_promote)
    champion.make_live(store.save_model(network, card), "a test")
    assert follow_waiting(BOUNDS, try_to_promote) is None
    assert current_shadow() is None


@pytest.mark.usefixtures("waiting")
def test_nothing_waits_where_no_shadow_is_required(try_to_promote: Promote) -> None:
    assert follow_waiting(GateBounds(), try_to_promote) is None
    assert current_shadow() is None


def test_without_a_live_model_nothing_waits() -> None:
    assert follow_waiting(BOUNDS) is None
