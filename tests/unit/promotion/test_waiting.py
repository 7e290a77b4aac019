"""Models that wait for their shadow."""

from collections.abc import Callable
from functools import partial

import pytest
from promotions import LENIENT, SERVED
from shadows import record

from components.contract import GateCheck, ModelCard
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.promote import Promotion, promote
from components.promotion.waiting import SHARE, WHY, follow_waiting
from components.registry import champion, store
from components.settings import Settings
from components.shadow.control import current_shadow, start_shadow

pytestmark = pytest.mark.usefixtures("bentoml_home", "validated")
BOUNDS = LENIENT.model_copy(update={"shadow_requests": 10, "max_shadow_flips": 0.5})
Promote = Callable[[str, str], Promotion]


def serve_well(model: Classifier, bounds: GateBounds, settings: Settings) -> tuple[GateCheck, ...]:
    """A canary that passes."""
    return (SERVED,)


@pytest.fixture
def try_to_promote(network: MLP, card: ModelCard, shared_settings: Settings) -> Promote:
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


def test_the_newest_comes_first_and_the_one_in_shadow_stays_there(
    network: MLP, card: ModelCard, waiting: str, try_to_promote: Promote
) -> None:
    newer = store.save_model(network, card)
    try_to_promote(newer, "a test")
    follow_waiting(BOUNDS, try_to_promote)
    shadow = current_shadow()
    assert shadow
    assert shadow.tag in {waiting, newer}
    try_to_promote(store.save_model(network, card), "a test")
    follow_waiting(BOUNDS, try_to_promote)
    assert current_shadow() == shadow


def test_the_shadow_of_someone_else_is_left_alone(
    waiting: str, network: MLP, card: ModelCard, try_to_promote: Promote
) -> None:
    other = start_shadow(store.save_model(network, card), share=0.1, who="anna", why="a test")
    assert follow_waiting(BOUNDS, try_to_promote) is None
    assert current_shadow() == other


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
