"""The live model: the service follows the pointer and keeps a working model if a new one does not load."""

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from following import following, remove, restore, save, wait_for, weights_of  # noqa: F401, a fixture

from components.contract import Images, ModelCard, Revision, fingerprint_of
from components.dataset.manifest import Examples
from components.errors import ModelError, NoLiveModel
from components.files import write_whole
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.retention.prune import prune
from components.settings import Settings
from components.training.train import Trained
from serving.live import LiveModel

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def tags(trained: Trained, card: ModelCard, bentoml_home: Path) -> tuple[str, str]:
    """Two models, the first of them live."""
    first, second = (save(trained, card, temperature) for temperature in (1.0, 2.0))
    champion.make_live(first, "a test")
    return first, second


@pytest.fixture
def live(tags: tuple[str, str]) -> LiveModel:
    live = LiveModel()
    live.refresh()
    return live


def tag_of(live: LiveModel) -> str:
    return live.get().tag


def test_it_serves_the_model_in_the_pointer(live: LiveModel, tags: tuple[str, str]) -> None:
    assert (tag_of(live), live.problem) == (tags[0], None)
    champion.make_live(tags[1], "a test")
    live.refresh()
    assert (tag_of(live), live.problem) == (tags[1], None)
    assert live.serving is not None
    assert live.serving.live_since == champion.live_move().when
    champion.rollback()
    live.refresh()
    assert tag_of(live) == tags[0]


def test_earlier_classes_are_found_by_fingerprint(live: LiveModel, trained: Trained, card: ModelCard) -> None:
    oldest, older = card.classes[:9], (*card.classes[:9], "Boot")
    assert live.classes_with(fingerprint_of(older)) is None
    revisions = (
        Revision(oldest, tuple((name,) for name in oldest)),
        Revision(older, tuple((name,) for name in card.classes)),
    )
    champion.make_live(store.save_model(trained.network, dataclasses.replace(card, revisions=revisions)), "a test")
    live.refresh()
    assert [live.classes_with(fingerprint_of(one)) for one in (oldest, older)] == [oldest, older]
    champion.rollback()
    live.refresh()
    assert live.classes_with(fingerprint_of(older)) is None, "the earlier model has no revisions"
    assert live.classes_with(fingerprint_of(card.classes)) == card.classes


def test_the_current_model_is_not_loaded_again(live: LiveModel) -> None:
    model = live.get()
    live.refresh()
    assert live.get() is model


def test_a_model_that_does_not_load_leaves_the_current_one(
    live: LiveModel, tags: tuple[str, str], bentoml_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    champion.make_live(tags[1], "a test")
    weights = weights_of(bentoml_home, tags[1])
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            live.refresh()
    assert tag_of(live) == tags[0]
    assert isinstance(live.problem, ModelError)
    assert [record.getMessage() for record in caplog.records] == [f"still serving {tags[0]}: {live.problem}"]
    weights.write_bytes(content)
    live.refresh()
    assert tag_of(live) == tags[1]


def test_a_model_that_predicts_nan_leaves_the_current_one(
    live: LiveModel, tags: tuple[str, str], card: ModelCard, network: MLP
) -> None:
    """Its weights are finite, but their products are not."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(3e38)
    overflowing = store.save_model(network, card)
    champion.make_live(overflowing, "a test")
    live.refresh()
    assert tag_of(live) == tags[0]
    assert "probabilities of a blank image are not finite" in str(live.problem)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"tag": "fashion-mlp:xxxxxxxx"}', None])
def test_a_damaged_pointer_leaves_the_current_model(
    live: LiveModel, tags: tuple[str, str], bentoml_home: Path, content: bytes | None
) -> None:
    """Without its history, from which it could be restored."""
    pointer = bentoml_home / "fashion" / "live.json"
    (bentoml_home / "fashion" / "history.jsonl").unlink()
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    live.refresh()
    assert tag_of(live) == tags[0]
    assert isinstance(live.problem, NoLiveModel)


def test_without_a_model_it_reports_why_and_recovers(bentoml_home: Path, trained: Trained, card: ModelCard) -> None:
    live = LiveModel()
    live.refresh()
    with pytest.raises(NoLiveModel, match="no model is live"):
        live.get()
    tag = store.save_model(trained.network, card)
    champion.make_live(tag, "a test")
    live.refresh()
    assert (tag_of(live), live.problem) == (tag, None)


def test_every_write_of_the_pointer_changes_its_state(tags: tuple[str, str]) -> None:
    seen = {champion.pointer_state()}
    for number in range(1, 21):
        champion.make_live(tags[number % 2], "a test")
        seen.add(champion.pointer_state())
        assert len(seen) == number + 1


def damage(home: Path, tag: str) -> None:
    """Change the last byte but keep size and modification time."""
    weights = weights_of(home, tag)
    content, before = weights.read_bytes(), weights.stat()
    write_whole(weights, content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_code(home: Path, tag: str) -> None:
    weights_of(home, tag).with_name("model.pkl").write_bytes(b"")


def remove_code(home: Path, tag: str) -> None:
    weights_of(home, tag).with_name("model.pkl").unlink()


@pytest.mark.parametrize(
    ("harm", "repair", "message"),
    [
        (remove, restore, "not in the store"),
        (damage, damage, "weights.safetensors has the SHA-256"),
        (add_code, remove_code, "unknown file 'model.pkl'"),
    ],
)
@pytest.mark.parametrize("follows", [True, False])
def test_it_reports_files_that_a_restart_could_not_load_and_keeps_serving(
    tags: tuple[str, str],
    bentoml_home: Path,
    caplog: pytest.LogCaptureFixture,
    follows: bool,
    harm: Callable[[Path, str], None],
    repair: Callable[[Path, str], None],
    message: str,
) -> None:
    live = LiveModel()
    if not follows:
        live.pin(tags[0])
    live.refresh()
    model = live.get()
    harm(bentoml_home, tags[0])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            live.refresh()
    assert message in str(live.problem)
    assert "serves from memory" in str(live.problem)
    assert len(caplog.records) == 1, "logged once, however often it is checked"
    repair(bentoml_home, tags[0])
    live.refresh()
    assert live.problem is None
    assert live.get() is model


def test_another_model_can_be_promoted_while_the_live_one_is_missing(
    live: LiveModel, tags: tuple[str, str], bentoml_home: Path
) -> None:
    remove(bentoml_home, tags[0])
    live.refresh()
    assert (tag_of(live), live.problem is None) == (tags[0], False)
    champion.make_live(tags[1], "a test")
    live.refresh()
    assert (tag_of(live), live.problem) == (tags[1], None)


def test_a_pruned_model_is_served_until_a_newer_one_loads(
    live: LiveModel, tags: tuple[str, str], trained: Trained, card: ModelCard, bentoml_home: Path, settings: Settings
) -> None:
    third = save(trained, card, 3.0)
    for tag in (tags[1], third):
        champion.make_live(tag, "a test")
    weights_of(bentoml_home, third).write_bytes(b"")
    live.refresh()
    done = prune(keep=0, settings=settings, grace=0)
    assert [one.name for one in done.removed if one.what == "model"] == [tags[0]]
    live.refresh()
    assert tag_of(live) == tags[0], "two moves behind and removed from disk"
    assert third in str(live.problem)
    champion.rollback()
    live.refresh()
    assert (tag_of(live), live.problem) == (tags[1], None)


# --- over HTTP ---


@pytest.fixture(scope="module")
def image(test_split: Examples) -> Images:
    return test_split.images[:1]
