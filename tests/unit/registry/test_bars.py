"""Models that are barred from promotion."""

import dataclasses

import pytest

from components.contract import Calibration, ModelCard
from components.errors import ModelError
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.bars import Bar, find_bar, read_bar, write_bar
from components.registry.retention.states import list_models

pytestmark = pytest.mark.usefixtures("bentoml_home")
WHEN = "2026-11-30T03:40:00.000+00:00"


def test_a_bar_is_stored_with_the_model_which_still_loads(network: MLP, card: ModelCard) -> None:
    tag = store.save_model(network, card)
    assert read_bar(tag) is None
    bar = Bar(tag, 2, WHEN, "probation: not sure")
    write_bar(bar)
    assert read_bar(tag) == bar
    assert store.check_stored(tag).classes == card.classes
    (listed,) = list_models().models
    assert (listed.barred, listed.problem) == ("probation: not sure", "")


@pytest.mark.parametrize(
    "content",
    ["{}", '{"model": "fashion-mlp:aaaaaaaa", "move": 1, "when": "2026-11-30T03:40:00+00:00", "why": ""}', "\x00"],
)
def test_a_damaged_bar_is_an_error_that_names_the_file(network: MLP, card: ModelCard, content: str) -> None:
    tag = store.save_model(network, card)
    (store.stored_folder(tag) / store.BARRED).write_text(content)
    with pytest.raises(ModelError, match=f"{tag}: barred.json"):
        read_bar(tag)
    assert any("barred.json" in one for one in list_models().problems)


def test_the_same_weights_under_another_tag_are_barred_too(network: MLP, card: ModelCard) -> None:
    bad, again = store.save_model(network, card), store.save_model(network, card)
    thresholds = card.calibration.thresholds
    colder = dataclasses.replace(card, calibration=Calibration(temperature=2.0, thresholds=thresholds))
    calibrated = store.save_model(network, colder)
    write_bar(Bar(bad, 1, WHEN, "probation: confidence"))
    found = find_bar(again)
    assert found
    assert found.model == bad
    assert find_bar(calibrated) is None, "other probabilities are another model"


def test_a_rollback_refuses_if_the_live_model_is_another_one(network: MLP, card: ModelCard) -> None:
    from components.errors import LiveModelChanged

    first, second, third = (store.save_model(network, card) for _ in range(3))
    champion.make_live(first, "a test")
    move = champion.make_live(second, "a test")
    champion.make_live(third, "a person")
    with pytest.raises(LiveModelChanged, match=f"{second}: move 2 is no longer the last one; nothing changed"):
        champion.rollback(why="probation", expected=move)
    assert champion.live_move().tag == third
