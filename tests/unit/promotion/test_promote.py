"""A promotion: what the gate and the canary say, and what the pointer does then."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from promotions import LENIENT, SERVED, change_bias, failed

from components.contract import GateCheck, Metrics, ModelCard
from components.errors import DatasetError, ModelError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.promote import promote
from components.registry import champion, store, verdicts
from components.settings import Settings

pytestmark = pytest.mark.usefixtures("bentoml_home", "validated")


def serve_well(model: Classifier, bounds: GateBounds, settings: Settings) -> tuple[GateCheck, ...]:
    """A canary that passes."""
    return (SERVED,)


def test_what_the_gate_refuses_is_not_served(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    live = store.save_model(network, card)
    champion.make_live(live, "a test")
    permuted = store.save_model(change_bias(network, torch.arange(10.0)), card)
    promotion = promote(permuted, "a test", bounds=LENIENT, settings=shared_settings)
    assert not promotion.promoted
    assert "change of its answers since its training" in failed(promotion.verdict)
    assert champion.live_move().tag == live
    verdict = verdicts.read_verdict(permuted)
    assert verdict
    assert (verdict.outcome, verdict.champion) == ("refused", live)
    assert not (bentoml_home / "fashion" / "canary").exists()


def test_force_goes_past_the_gate_and_says_past_what(network: MLP, card: ModelCard, shared_settings: Settings) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    other = store.save_model(network, dataclasses.replace(card, expectations=0))
    assert not promote(other, "a test", bounds=LENIENT, settings=shared_settings).promoted
    promotion = promote(other, "Friday's sale", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well)
    assert promotion.promoted
    assert promotion.verdict
    assert (promotion.verdict.outcome, promotion.verdict.forced) == ("forced", "Friday's sale")
    move = champion.live_move()
    assert (move.tag, move.why) == (other, "Friday's sale")
    assert move.verdict.startswith("forced: Friday's sale; past: ")


def _renamed(split: Metrics) -> Metrics:
    return dataclasses.replace(split, classes=(dataclasses.replace(split.classes[0], name="Tee"), *split.classes[1:]))


def test_a_model_of_another_catalogue_is_refused_whatever_is_asked(
    network: MLP, card: ModelCard, shared_settings: Settings
) -> None:
    shop = store.save_model(
        network, dataclasses.replace(card, contract=dataclasses.replace(card.contract, name="shop"))
    )
    with pytest.raises(ModelError, match="the catalogue in use is 'fashion-mnist'"):
        promote(shop, "new", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well)


def test_a_model_of_another_contract_is_refused_unless_forced(
    network: MLP, card: ModelCard, shared_settings: Settings
) -> None:
    live = store.save_model(network, card)
    champion.make_live(live, "a test")
    renamed = dataclasses.replace(card.contract, classes=("Tee", *card.classes[1:]), aliases=())
    other = store.save_model(
        network, dataclasses.replace(card, contract=renamed, train=_renamed(card.train), test=_renamed(card.test))
    )
    promotion = promote(other, "a test", bounds=LENIENT, settings=shared_settings)
    assert failed(promotion.verdict) == ["data contract"]
    assert str(promotion.verdict) == (
        f"{other} is about other data than {live}, which is live: class 0: found 'Tee', expected 'T-shirt/top'"
    )
    assert champion.live_move().tag == live
    assert promote(other, "new", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well).promoted


def test_force_does_not_go_past_the_canary(network: MLP, card: ModelCard, shared_settings: Settings) -> None:
    live, other = store.save_model(network, card), store.save_model(network, card)
    champion.make_live(live, "a test")
    broken = dataclasses.replace(SERVED, passed=False)
    promotion = promote(
        other, "an experiment", force=True, bounds=LENIENT, settings=shared_settings, canary=lambda *_: (SERVED, broken)
    )
    assert not promotion.promoted
    assert failed(promotion.verdict)[-1] == SERVED.name
    verdict = verdicts.read_verdict(other)
    assert verdict
    assert (verdict.outcome, verdict.forced) == ("refused", "")
    assert champion.live_move().tag == live


def test_without_the_images_nothing_goes_live_unless_forced(network: MLP, card: ModelCard, tmp_path: Path) -> None:
    tag = store.save_model(network, card)
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="no such dataset"):
        promote(tag, "a test", bounds=LENIENT, settings=elsewhere)
    assert champion.history() == ()
    promotion = promote(tag, "the images are lost", force=True, bounds=LENIENT, settings=elsewhere, canary=serve_well)
    assert promotion.promoted
    assert failed(promotion.verdict) == ["measurement"]


def test_where_the_live_model_cannot_be_read_nothing_goes_live_unless_forced(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    live, other = store.save_model(network, card), store.save_model(network, card)
    champion.make_live(live, "a test")
    shutil.rmtree(bentoml_home / "models" / live.replace(":", "/"))
    with pytest.raises(ModelError, match="not in the store"):
        promote(other, "a test", bounds=LENIENT, settings=shared_settings)
    assert champion.live_move().tag == live
    assert promote(
        other, "it is gone", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well
    ).promoted


def test_a_challenger_is_judged_again_when_another_goes_live_meanwhile(
    network: MLP, card: ModelCard, shared_settings: Settings
) -> None:
    first, second, third = (store.save_model(network, card) for _ in range(3))
    champion.make_live(first, "a test")

    def overtake(*_: object) -> tuple[GateCheck, ...]:
        champion.make_live(second, "meanwhile")
        return (SERVED,)

    promotion = promote(third, "a test", bounds=LENIENT, settings=shared_settings, canary=overtake)
    assert promotion.promoted
    assert promotion.verdict
    assert promotion.verdict.champion == second
    assert [move.tag for move in champion.history()] == [first, second, third]
