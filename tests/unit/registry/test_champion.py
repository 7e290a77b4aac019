"""The live-model pointer: promotion, rollback, and models that never go live."""

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as encode_weights

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import GateCheck, ModelCard, Verdict
from components.dataset.manifest import Examples
from components.errors import LiveModelChanged, ModelError, NoLiveModel, PromotionRefused
from components.model.mlp import MLP, ModelConfig
from components.promotion.promote import promote
from components.registry import champion, store
from components.settings import Settings

pytestmark = pytest.mark.usefixtures("bentoml_home")


def folder_of(home: Path, tag: str) -> Path:
    return home / "models" / tag.replace(":", "/")


def save_and_promote(network: MLP, card: ModelCard) -> str:
    tag = store.save_model(network, card)
    champion.make_live(tag, "a test")
    return tag


def forge(home: Path, tag: str, weights: bytes) -> None:
    """Replace a model's weights and every stored hash of them."""
    folder = folder_of(home, tag)
    card = json.loads((folder / "model.json").read_bytes())
    before = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    content = json.dumps({**card, "weights_sha256": hashlib.sha256(weights).hexdigest()}).encode()
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "model.json").write_bytes(content)
    described = (folder / "model.yaml").read_text()
    assert before in described
    (folder / "model.yaml").write_text(described.replace(before, hashlib.sha256(content).hexdigest()))


def with_nan(network: MLP) -> bytes:
    network.state_dict()["logits.bias"][3] = torch.nan
    return encode(network)


def encode(network: MLP) -> bytes:
    return encode_weights({name: weight.contiguous() for name, weight in network.to_tensors().items()})


class Bomb:
    """Creates a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.path,)


FORGED: dict[str, Callable[[MLP, Path], bytes]] = {
    "is not a safetensors file": lambda network, bomb: pickle.dumps(Bomb(bomb)),
    "holds values that are not finite": lambda network, bomb: with_nan(network),
    "expected float32": lambda network, bomb: encode_weights(
        {name: weight[..., :-1].contiguous() for name, weight in network.to_tensors().items()}
    ),
    "is missing": lambda network, bomb: encode_weights({"other": torch.zeros(3)}),
}


@pytest.mark.parametrize("message", FORGED)
def test_invalid_weights_with_a_valid_hash_never_go_live(
    network: MLP, card: ModelCard, bentoml_home: Path, tmp_path: Path, shared_settings: Settings, message: str
) -> None:
    live = save_and_promote(network, card)
    tag, bomb = store.save_model(network, card), tmp_path / "bomb"
    forge(bentoml_home, tag, FORGED[message](network, bomb))
    for act in (lambda: champion.make_live(tag, "a test"), lambda: promote(tag, "a test", force=True)):
        with pytest.raises(ModelError, match=message):
            act()
    assert champion.live_move().tag == live
    assert not bomb.exists()


@pytest.mark.parametrize("name", ["custom_objects.pkl", ".hidden.pkl", ".x.tmp", "sub/x.pkl"])
def test_a_model_with_a_pickle_next_to_the_weights_never_goes_live(
    network: MLP, card: ModelCard, bentoml_home: Path, name: str
) -> None:
    """BentoML would load it as the model's custom objects."""
    tag = store.save_model(network, card)
    path = folder_of(bentoml_home, tag) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=f"unknown file '{name.partition('/')[0]}'"):
        champion.make_live(tag, "a test")


def test_nothing_is_live_at_first() -> None:
    with pytest.raises(NoLiveModel, match="no model is live"):
        champion.load_model()
    assert champion.history() == ()


def test_a_promotion_records_who_when_from_to_and_why(network: MLP, card: ModelCard) -> None:
    first, second = save_and_promote(network, card), save_and_promote(network, card)
    move = champion.live_move()
    assert (move.number, move.action, move.previous, move.tag) == (2, "promote", first, second)
    assert move.who
    assert move.when.endswith("+00:00")
    assert (move.why, move.accuracy) == ("a test", card.test.accuracy)
    assert champion.load_model().tag == second
    assert champion.history()[-1] == move


def test_promoting_the_live_model_again_changes_nothing(network: MLP, card: ModelCard) -> None:
    tag = save_and_promote(network, card)
    assert champion.make_live(tag, "again") == champion.live_move()
    assert len(champion.history()) == 1


def test_an_outdated_verdict_changes_nothing(network: MLP, card: ModelCard) -> None:
    first, second = save_and_promote(network, card), save_and_promote(network, card)
    third = store.save_model(network, card)
    live = champion.live_move()
    check = GateCheck("a check", True, "", "", "")
    fitting = Verdict(third, second, "2026-01-01T00:00:00+00:00", "", 0, (check,), {})
    fitting = dataclasses.replace(fitting, challenger_sha256=store.card_sha256(third), champion_sha256=live.card_sha256)
    with pytest.raises(LiveModelChanged, match="no longer live"):
        champion.make_live(third, "a test", dataclasses.replace(fitting, champion=first))
    with pytest.raises(LiveModelChanged, match="no longer live"):
        champion.make_live(third, "a test", dataclasses.replace(fitting, champion_sha256="other"))
    with pytest.raises(ModelError, match="not the model that was evaluated"):
        champion.make_live(third, "a test", dataclasses.replace(fitting, challenger_sha256="other"))
    assert champion.live_move().tag == second
    move = champion.make_live(third, "a test", fitting)
    assert (move.tag, move.verdict) == (third, "passed")
    assert champion.verdict_when_promoted(third) == "passed"


def test_a_model_that_does_not_load_never_goes_live(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    live = save_and_promote(network, card)
    broken = store.save_model(network, card)
    (folder_of(bentoml_home, broken) / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError):
        champion.make_live(broken, "a test")
    assert champion.live_move().tag == live


def test_rollback_goes_back_step_by_step(network: MLP, card: ModelCard) -> None:
    first, second, third = (save_and_promote(network, card) for _ in range(3))
    assert champion.rollback().tag == second
    assert champion.rollback().tag == first
    with pytest.raises(PromotionRefused, match="nothing to roll back to"):
        champion.rollback()
    champion.make_live(third, "a test")
    assert champion.rollback().tag == first, "a model that was rolled back is skipped"
    assert [move.number for move in champion.history()] == [1, 2, 3, 4, 5, 6, 7]


def test_rollback_to_an_earlier_tag(network: MLP, card: ModelCard) -> None:
    first = save_and_promote(network, card)
    save_and_promote(network, card)
    save_and_promote(network, card)
    assert champion.rollback(first).tag == first
    with pytest.raises(PromotionRefused, match="was not live before"):
        champion.rollback("fashion-mlp:neverlive")


def test_a_rollback_to_a_damaged_model_changes_nothing(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    first, second = save_and_promote(network, card), save_and_promote(network, card)
    (folder_of(bentoml_home, first) / "model.json").unlink()
    with pytest.raises(ModelError):
        champion.rollback()
    assert champion.live_move().tag == second


def test_a_rollback_to_replaced_files_is_refused(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    """The earlier model was replaced, including its hashes; it loads but was never live."""
    first, second = save_and_promote(network, card), save_and_promote(network, card)
    other = MLP(network.config, CONTRACT)
    other.known = network.known
    forge(bentoml_home, first, encode(other))
    store.load_stored(first)
    with pytest.raises(ModelError, match="files were replaced"):
        champion.rollback()
    assert champion.live_move().tag == second


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"tag": "fashion-mlp:abcdefgh"}', b"\xff\xfe"])
def test_a_lost_or_corrupt_pointer_leaves_the_last_promoted_model_live(
    network: MLP, card: ModelCard, bentoml_home: Path, content: bytes | None
) -> None:
    live = save_and_promote(network, card)
    path = bentoml_home / "fashion" / "live.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert champion.load_model().tag == live
    assert champion.make_live(live, "already live").number == 1
    assert path.read_bytes().startswith(b"{"), "the pointer is rewritten"
    assert f'"{live}"'.encode() in path.read_bytes()
    current = champion.current_move()
    assert current
    assert current.tag == live, "a lost pointer does not skip the gate"
    other = save_and_promote(network, card)
    assert [move.tag for move in champion.history()] == [live, other]
    assert champion.live_move().number == 2


def test_losing_pointer_and_history_raises_until_a_model_is_made_live(
    network: MLP, card: ModelCard, bentoml_home: Path
) -> None:
    tag = save_and_promote(network, card)
    (bentoml_home / "fashion" / "live.json").write_bytes(b"{")
    (bentoml_home / "fashion" / "history.jsonl").unlink()
    with pytest.raises(NoLiveModel, match=r"live\.json cannot be read"):
        champion.load_model()
    with pytest.raises(NoLiveModel):
        champion.current_move()
    champion.make_live(tag, "both were lost")
    assert champion.load_model().tag == tag


def test_an_invalid_line_of_the_history_is_named(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    tag = save_and_promote(network, card)
    with (bentoml_home / "fashion" / "history.jsonl").open("a") as file:
        file.write("garbage\n")
    for act in (champion.history, champion.rollback, lambda: champion.make_live(tag + "x", "a test")):
        with pytest.raises(ModelError, match=r"history\.jsonl, line 2|not in the store"):
            act()
    assert champion.load_model().tag == tag


def test_the_live_model_s_card_cannot_be_made_easier_to_beat(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    """Someone writes a lower accuracy into the live model's files, including the hashes."""
    live = save_and_promote(network, card)
    easy = store.save_model(network, dataclasses.replace(card, test=dataclasses.replace(card.test, accuracy=0.0)))
    version, other = (tag.split(":")[1].encode() for tag in (live, easy))
    for name in ("model.json", "model.yaml"):
        content = (folder_of(bentoml_home, easy) / name).read_bytes().replace(other, version)
        (folder_of(bentoml_home, live) / name).write_bytes(content)
    assert store.describe_stored(live).test.accuracy == 0.0
    with pytest.raises(ModelError, match="files were replaced"):
        champion.load_live(champion.live_move())


@pytest.mark.parametrize("content", ["", "{[", "- a list", "metadata: 3", "\x00"])
def test_a_damaged_model_yaml_is_reported_and_hides_no_other_model(
    network: MLP, card: ModelCard, bentoml_home: Path, content: str
) -> None:
    intact, damaged = store.save_model(network, card), store.save_model(network, card)
    (folder_of(bentoml_home, damaged) / "model.yaml").write_text(content)
    with pytest.raises(ModelError, match=r"model\.yaml"):
        store.load_stored(damaged)
    assert [(one.tag, one.problem == "") for one in store.list_stored()] == [(intact, True), (damaged, False)]


def test_rolling_back_to_the_live_model_changes_nothing(network: MLP, card: ModelCard) -> None:
    first, second = save_and_promote(network, card), save_and_promote(network, card)
    champion.make_live(first, "again")
    assert champion.rollback(first) == champion.live_move()
    assert len(champion.history()) == 3
    assert champion.rollback().tag == second


def test_weights_replaced_together_with_their_card_are_detected(
    network: MLP, card: ModelCard, bentoml_home: Path
) -> None:
    """Even if every file of the live model is replaced, the hash in the pointer differs."""
    live = save_and_promote(network, card)
    network.state_dict()["logits.bias"].add_(1)
    other = store.save_model(network, card)
    for name in ("weights.safetensors", "model.json", "model.yaml"):
        content = (folder_of(bentoml_home, other) / name).read_bytes()
        version, exchanged = (tag.split(":")[1].encode() for tag in (live, other))
        (folder_of(bentoml_home, live) / name).write_bytes(content.replace(exchanged, version))
    with pytest.raises(ModelError, match="files were replaced"):
        champion.load_model()


@pytest.mark.parametrize("lost", [0, 20])
def test_a_kill_between_pointer_and_history_is_repaired(
    network: MLP, card: ModelCard, bentoml_home: Path, lost: int
) -> None:
    """The last line is missing or incomplete."""
    save_and_promote(network, card)
    second = save_and_promote(network, card)
    path = bentoml_home / "fashion" / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:lost])
    assert [move.number for move in champion.history()] == [1, 2]
    third = save_and_promote(network, card)
    assert [json.loads(line)["tag"] for line in path.read_bytes().splitlines()][1:] == [second, third]


def test_the_python_example_of_the_readme(network: MLP, card: ModelCard, test_split: Examples) -> None:
    import fashion

    save_and_promote(network, card)
    model = fashion.load_model()
    predictions = fashion.predict(model, test_split.images)
    assert predictions.model == model.tag
    assert np.allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-6)
    assert ModelConfig(**model.card.model).hidden == (16,)


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ("passed", ("passed", "")),
        ("", ("", "")),
        ("promoted despite: F1 of hat; reason: a sale", ("forced", "promoted despite: F1 of hat; reason: a sale")),
        ("forced: a sale; past: F1 of hat", ("forced", "promoted despite: F1 of hat; reason: a sale")),
    ],
)
def test_the_history_says_despite_what_a_model_was_promoted(kept: str, found: tuple[str, str]) -> None:
    assert champion.read_verdict_of_move(kept) == found
