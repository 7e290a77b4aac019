"""Promotion: evaluation gate, canary deployment, and the live-model pointer."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from promotions import LENIENT, SERVED, change_bias, failed
from revised import ADDED, FIRST, Shown, became, model_of

from components.catalogues.fashion_mnist import FIRST_CONTRACT
from components.contract import GateCheck, Metrics, ModelCard
from components.errors import DatasetError, ModelError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.promote import promote
from components.registry import champion, store, verdicts
from components.registry.bars import Bar, write_bar
from components.settings import Settings

pytestmark = pytest.mark.usefixtures("bentoml_home", "validated")


def serve_well(model: Classifier, bounds: GateBounds, settings: Settings) -> tuple[GateCheck, ...]:
    """A canary that passes."""
    return (SERVED,)


def test_a_model_rejected_by_the_gate_is_not_served(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    live = store.save_model(network, card)
    champion.make_live(live, "a test")
    permuted = store.save_model(change_bias(network, torch.arange(10.0)), card)
    promotion = promote(permuted, "a test", bounds=LENIENT, settings=shared_settings)
    assert not promotion.promoted
    assert "change of predictions since training" in failed(promotion.verdict)
    assert champion.live_move().tag == live
    verdict = verdicts.read_verdict(permuted)
    assert verdict
    assert (verdict.outcome, verdict.champion) == ("rejected", live)
    assert not (bentoml_home / "fashion" / "canary").exists()


def test_force_skips_the_gate_and_records_the_failed_checks(
    network: MLP, card: ModelCard, shared_settings: Settings
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    other = store.save_model(network, dataclasses.replace(card, expectations=0))
    assert not promote(other, "a test", bounds=LENIENT, settings=shared_settings).promoted
    promotion = promote(other, "Friday's sale", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well)
    assert promotion.promoted
    assert promotion.verdict
    assert (promotion.verdict.outcome, promotion.verdict.forced) == ("forced", "Friday's sale")
    move = champion.live_move()
    assert (move.tag, move.why) == (other, "Friday's sale")
    assert move.verdict.startswith("promoted despite: ")
    assert move.verdict.endswith("; reason: Friday's sale")
    assert champion.verdict_when_promoted(move.tag) == "forced"


def test_a_barred_model_is_rejected_and_needs_force(network: MLP, card: ModelCard, shared_settings: Settings) -> None:
    live, bad = store.save_model(network, card), store.save_model(network, dataclasses.replace(card, preset="again"))
    champion.make_live(live, "a test")
    again = store.save_model(change_bias(network, torch.full((10,), 1e-4)), card)
    write_bar(Bar(bad, 1, "2026-11-30T03:40:00.000+00:00", "probation: not sure"))
    rejected = promote(bad, "a test", bounds=LENIENT, settings=shared_settings, canary=serve_well)
    assert not rejected.promoted
    assert "barred" in failed(rejected.verdict)
    assert "rolled back on 2026-11-30 and is barred: probation: not sure" in str(rejected.verdict)
    assert "barred" not in failed(
        promote(again, "a test", bounds=LENIENT, settings=shared_settings, canary=serve_well).verdict
    )
    champion.make_live(live, "a test")
    assert promote(bad, "we know", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well).promoted
    assert "is barred" in champion.live_move().verdict


def _renamed(split: Metrics) -> Metrics:
    return dataclasses.replace(split, classes=(dataclasses.replace(split.classes[0], name="Tee"), *split.classes[1:]))


def test_a_model_of_another_catalogue_is_refused_even_with_force(
    network: MLP, card: ModelCard, shared_settings: Settings
) -> None:
    shop = store.save_model(
        network, dataclasses.replace(card, contract=dataclasses.replace(card.contract, name="shop"))
    )
    with pytest.raises(ModelError, match="the catalogue in use is 'fashion-mnist'"):
        promote(shop, "new", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well)


def test_a_model_with_another_contract_is_rejected_unless_forced(
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
        f"{other} has another data contract than the live model {live}: class 0: found 'Tee', expected 'T-shirt/top'"
    )
    assert champion.live_move().tag == live
    assert promote(other, "new", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well).promoted


def test_a_model_of_another_version_of_the_preparation_is_compared(
    network: MLP, card: ModelCard, shared_settings: Settings
) -> None:
    live = store.save_model(network, dataclasses.replace(card, contract=FIRST_CONTRACT))
    champion.make_live(live, "a test")
    newer = store.save_model(network, card)
    promotion = promote(newer, "a test", bounds=LENIENT, settings=shared_settings, canary=serve_well)
    assert promotion.promoted, str(promotion.verdict)
    assert promotion.verdict is not None
    assert (promotion.verdict.champion, promotion.verdict.rows) == (live, card.test.rows)


def test_force_does_not_skip_the_canary(network: MLP, card: ModelCard, shared_settings: Settings) -> None:
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
    assert (verdict.outcome, verdict.forced) == ("rejected", "")
    assert champion.live_move().tag == live


def test_missing_images_prevent_a_promotion_unless_forced(network: MLP, card: ModelCard, tmp_path: Path) -> None:
    tag = store.save_model(network, card)
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="no such dataset"):
        promote(tag, "a test", bounds=LENIENT, settings=elsewhere)
    assert champion.history() == ()
    promotion = promote(tag, "the images are lost", force=True, bounds=LENIENT, settings=elsewhere, canary=serve_well)
    assert promotion.promoted
    assert failed(promotion.verdict) == ["measurement"]


def test_an_unreadable_live_model_prevents_a_promotion_unless_forced(
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


def test_a_challenger_is_evaluated_again_if_the_live_model_changes(
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


@pytest.fixture
def shop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a catalogue whose classes change."""
    monkeypatch.setenv("FASHION_CATALOGUE", "shop")
    return Settings()


def stored(settings: Settings, shown: Shown, *before: Shown) -> str:
    """Save a model that is right on most images of its classes, with the given class history."""
    model = model_of(settings.datasets_dir, shown, *(became(one, shown) for one in before))
    return store.save_model(model.network, model.card)


def test_changed_classes_are_reported_and_stored_in_the_history(shop: Settings) -> None:
    live = stored(shop, FIRST)
    champion.make_live(live, "a test")
    tag = stored(shop, ADDED, FIRST)
    promotion = promote(tag, "training", bounds=LENIENT, settings=shop, canary=serve_well)
    assert promotion.promoted, str(promotion)
    assert str(promotion).endswith(" checks passed; classes: hat is new")
    move = champion.live_move()
    assert (move.tag, move.why, move.verdict) == (tag, "training; classes: hat is new", "passed")
    kept = verdicts.read_verdict(tag)
    assert kept
    messages = [check.message for check in kept.checks if check.name == "classes"]
    assert messages == ["classes: hat is new; compared on 240 test images of 4 common classes"]


def test_a_rejection_reports_the_changed_classes(shop: Settings) -> None:
    champion.make_live(stored(shop, FIRST), "a test")
    tag = stored(shop, ADDED, FIRST)
    strict = GateBounds(**{**LENIENT.model_dump(exclude_unset=True), "max_bytes": 1})
    promotion = promote(tag, "training", bounds=strict, settings=shop, canary=serve_well)
    assert failed(promotion.verdict) == ["bytes of weights"]
    assert str(promotion).endswith("; classes: hat is new")
    forced = promote(tag, "for today", force=True, bounds=strict, settings=shop, canary=serve_well)
    assert forced.verdict
    assert forced.verdict.forced == "for today"
    assert champion.live_move().why == "for today; classes: hat is new"


def test_unchanged_classes_are_not_reported(shop: Settings) -> None:
    champion.make_live(stored(shop, FIRST), "a test")
    promotion = promote(stored(shop, FIRST), "training", bounds=LENIENT, settings=shop, canary=serve_well)
    assert promotion.promoted
    assert str(promotion).endswith(" checks passed")
    assert champion.live_move().why == "training"


def test_unrelated_classes_are_rejected_with_the_first_difference(shop: Settings) -> None:
    live, tag = stored(shop, FIRST), stored(shop, ADDED)
    champion.make_live(live, "a test")
    promotion = promote(tag, "training", bounds=LENIENT, settings=shop, canary=serve_well)
    assert failed(promotion.verdict) == ["data contract"]
    message = f"{tag} has another data contract than the live model {live}: found 5 classes, expected 4"
    assert str(promotion) == message


def test_a_rollback_to_a_model_with_other_classes_needs_no_gate(shop: Settings) -> None:
    live, tag = stored(shop, FIRST), stored(shop, ADDED, FIRST)
    champion.make_live(live, "a test")
    promote(tag, "training", bounds=LENIENT, settings=shop, canary=serve_well)
    shutil.rmtree(shop.datasets_dir)
    assert champion.rollback().tag == live
    assert champion.load_model().contract.classes == tuple(FIRST)
