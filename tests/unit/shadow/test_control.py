"""Starting and stopping a shadow."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from following import save
from shadows import start

from components.contract import ImageSpec, ModelCard
from components.errors import ModelError, ModelNotFound, NoLiveModel, SettingsError
from components.model.config import ModelConfig
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.retention.states import reasons_to_keep
from components.registry.shadowed import RECORD, shadow_path
from components.shadow.control import KEPT, current_shadow, start_shadow, stop_shadow
from components.shadow.counts import list_shadows
from components.training.train import Trained

pytestmark = pytest.mark.usefixtures("bentoml_home")


@pytest.fixture
def candidate(trained: Trained, card: ModelCard, bentoml_home: Path) -> str:
    champion.make_live(save(trained, card, 1.0), "a test")
    return save(trained, card, 2.0)


def test_a_shadow_is_recorded_with_the_model_and_the_person(candidate: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    started = start_shadow(candidate, share=0.2, who="anna", why="new data", keep_images=3, until=until, images=500)
    assert current_shadow() == started
    assert (started.tag, started.card_sha256) == (candidate, store.card_sha256(candidate))
    assert (started.share, started.who, started.why, started.keep_images) == (0.2, "anna", "new data", 3)
    assert (started.until, started.images) == (until.isoformat(timespec="milliseconds"), 500)
    assert list_shadows() == [started]


def test_starting_the_same_model_again_goes_on_counting(candidate: str) -> None:
    first, second = start(candidate, share=0.1), start(candidate, share=0.5)
    assert (second.id, second.since, second.share) == (first.id, first.since, 0.5)


def test_a_shadow_starts_anew_after_it_was_stopped(candidate: str) -> None:
    first = start(candidate)
    assert stop_shadow() == first
    assert current_shadow() is None
    assert stop_shadow() is None
    assert start(candidate).id != first.id


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0.0}, "share: found 0.0, expected more than 0 and at most 1"),
        ({"share": 1.5}, "share: found 1.5"),
        ({"keep_images": 101}, "keep_images: found 101, expected 0 to 100"),
        ({"images": 0}, "images: found 0, expected at least 1"),
    ],
)
def test_wrong_numbers_are_refused(candidate: str, wrong: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        start_shadow(candidate, **{"share": 0.1, "who": "anna", "why": "a test", **wrong})  # type: ignore[arg-type]
    assert current_shadow() is None


def test_the_live_model_is_refused(candidate: str) -> None:
    live = champion.live_move().tag
    with pytest.raises(SettingsError, match=f"{live} is live; a shadow needs another model"):
        start(live)


def test_without_a_live_model_there_is_nothing_to_compare(trained: Trained, card: ModelCard) -> None:
    with pytest.raises(NoLiveModel):
        start(save(trained, card, 1.0))


def test_a_model_that_does_not_load_is_refused(candidate: str, bentoml_home: Path) -> None:
    (bentoml_home / "models" / candidate.replace(":", "/") / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        start(candidate)
    with pytest.raises(ModelNotFound):
        start("fashion-mlp:missing1")


def test_a_model_of_other_images_is_refused(candidate: str, card: ModelCard) -> None:
    contract = dataclasses.replace(card.contract, image=ImageSpec(8, 8))
    network = MLP(ModelConfig(hidden=()), contract)
    other = dataclasses.replace(card, contract=contract, model=dataclasses.asdict(network.config), known=None)
    tag = store.save_model(network, other)
    with pytest.raises(ModelError, match=r"cannot classify the images of the live model .*: image: found '8 x 8 x 1'"):
        start(tag)


def test_a_damaged_record_is_reported_and_can_be_removed(candidate: str) -> None:
    start(candidate)
    shadow_path().write_text("{}")
    with pytest.raises(ModelError, match=RECORD):
        current_shadow()
    with pytest.raises(ModelError, match=RECORD):
        stop_shadow()
    assert current_shadow() is None


def test_only_the_newest_shadows_are_kept(candidate: str) -> None:
    started = []
    for _ in range(KEPT + 2):
        started.append(start(candidate).id)
        stop_shadow()
    assert {one.id for one in list_shadows()} <= set(started)
    assert len(list_shadows()) == KEPT
    assert started[-1] in {one.id for one in list_shadows()}


def test_a_prune_keeps_a_model_in_shadow(candidate: str) -> None:
    start(candidate)
    assert reasons_to_keep()[candidate] == "in shadow"
    stop_shadow()
    assert candidate not in reasons_to_keep()
