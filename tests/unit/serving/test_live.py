"""A change of model: the service follows the pointer, keeps what works, and loses no request meanwhile."""

import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from servers import Server, serve, using_home

from components.contract import Calibration, Images, ModelCard
from components.dataset.manifest import Examples
from components.errors import ModelError, NoLiveModel
from components.files import write_whole
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.retention.prune import prune
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained
from serving.live import LiveModel

JSON = {"Content-Type": "application/json"}


def save(trained: Trained, card: ModelCard, temperature: float) -> str:
    """A model whose probabilities only it gives."""
    calibration = Calibration(temperature=temperature, thresholds=card.calibration.thresholds)
    return store.save_model(trained.network, dataclasses.replace(card, calibration=calibration))


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


def test_it_serves_what_the_pointer_names(live: LiveModel, tags: tuple[str, str]) -> None:
    assert (tag_of(live), live.problem) == (tags[0], None)
    champion.make_live(tags[1], "a test")
    live.refresh()
    assert (tag_of(live), live.problem) == (tags[1], None)
    assert live.serving is not None
    assert live.serving.live_since == champion.live_move().when
    champion.rollback()
    live.refresh()
    assert tag_of(live) == tags[0]


def test_what_serves_already_is_not_loaded_again(live: LiveModel) -> None:
    model = live.get()
    live.refresh()
    assert live.get() is model


def weights_of(home: Path, tag: str) -> Path:
    return home / "models" / tag.replace(":", "/") / "weights.safetensors"


def test_a_candidate_that_does_not_load_leaves_the_old_one(
    live: LiveModel, tags: tuple[str, str], bentoml_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    champion.make_live(tags[1], "a test")
    weights = weights_of(bentoml_home, tags[1])
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            live.refresh()
    assert tag_of(live) == tags[0]
    assert isinstance(live.problem, ModelError)
    assert [record.getMessage() for record in caplog.records] == [f"still serving {tags[0]}: {live.problem}"]
    weights.write_bytes(whole)
    live.refresh()
    assert tag_of(live) == tags[1]


def test_a_candidate_that_says_nan_leaves_the_old_one(
    live: LiveModel, tags: tuple[str, str], card: ModelCard, network: MLP
) -> None:
    """Its weights are finite; their products are not."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(3e38)
    wild = store.save_model(network, card)
    champion.make_live(wild, "a test")
    live.refresh()
    assert tag_of(live) == tags[0]
    assert "probabilities of a blank image are not finite" in str(live.problem)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"tag": "fashion-mlp:xxxxxxxx"}', None])
def test_a_damaged_pointer_leaves_the_old_one(
    live: LiveModel, tags: tuple[str, str], bentoml_home: Path, content: bytes | None
) -> None:
    """And with its history gone as well."""
    pointer = bentoml_home / "fashion" / "live.json"
    (bentoml_home / "fashion" / "history.jsonl").unlink()
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    live.refresh()
    assert tag_of(live) == tags[0]
    assert isinstance(live.problem, NoLiveModel)


def test_without_a_model_it_says_why_and_recovers(bentoml_home: Path, trained: Trained, card: ModelCard) -> None:
    live = LiveModel()
    live.refresh()
    with pytest.raises(NoLiveModel, match="no model is live"):
        live.get()
    tag = store.save_model(trained.network, card)
    champion.make_live(tag, "a test")
    live.refresh()
    assert (tag_of(live), live.problem) == (tag, None)


def test_every_write_of_the_pointer_is_seen(tags: tuple[str, str]) -> None:
    seen = {champion.pointer_state()}
    for number in range(1, 21):
        champion.make_live(tags[number % 2], "a test")
        seen.add(champion.pointer_state())
        assert len(seen) == number + 1


def remove(home: Path, tag: str) -> None:
    weights_of(home, tag).parent.rename(home / "gone")


def restore(home: Path, tag: str) -> None:
    (home / "gone").rename(weights_of(home, tag).parent)


def damage(home: Path, tag: str) -> None:
    """The last byte, at the same size and time."""
    weights = weights_of(home, tag)
    content, before = weights.read_bytes(), weights.stat()
    write_whole(weights, content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_code(home: Path, tag: str) -> None:
    weights_of(home, tag).with_name("model.pkl").write_bytes(b"")


def take_code_out(home: Path, tag: str) -> None:
    weights_of(home, tag).with_name("model.pkl").unlink()


@pytest.mark.parametrize(
    ("harm", "mend", "told"),
    [
        (remove, restore, "not in the store"),
        (damage, damage, "weights.safetensors has the SHA-256"),
        (add_code, take_code_out, "unknown file 'model.pkl'"),
    ],
)
@pytest.mark.parametrize("follows", [True, False])
def test_it_reports_files_that_a_restart_could_not_load_and_keeps_serving(
    tags: tuple[str, str],
    bentoml_home: Path,
    caplog: pytest.LogCaptureFixture,
    follows: bool,
    harm: Callable[[Path, str], None],
    mend: Callable[[Path, str], None],
    told: str,
) -> None:
    live = LiveModel()
    if not follows:
        live.keep(tags[0])
    live.refresh()
    model = live.get()
    harm(bentoml_home, tags[0])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            live.refresh()
    assert told in str(live.problem)
    assert "serves from memory" in str(live.problem)
    assert len(caplog.records) == 1, "once, however often it is looked at"
    mend(bentoml_home, tags[0])
    live.refresh()
    assert live.problem is None
    assert live.get() is model


def test_another_model_can_be_promoted_while_the_live_one_is_gone(
    live: LiveModel, tags: tuple[str, str], bentoml_home: Path
) -> None:
    remove(bentoml_home, tags[0])
    live.refresh()
    assert (tag_of(live), live.problem is None) == (tags[0], False)
    champion.make_live(tags[1], "a test")
    live.refresh()
    assert (tag_of(live), live.problem) == (tags[1], None)


def test_what_a_prune_removes_is_served_until_a_newer_model_can_be_loaded(
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
    assert tag_of(live) == tags[0], "two moves behind, and gone from the disk"
    assert third in str(live.problem)
    champion.rollback()
    live.refresh()
    assert (tag_of(live), live.problem) == (tags[1], None)


# --- over HTTP ---

MOVES = 100


class Caller(threading.Thread):
    """One client that asks without a pause, and keeps every answer."""

    def __init__(self, url: str, body: bytes) -> None:
        super().__init__()
        self.url, self.body, self.enough = url, body, threading.Event()
        self.statuses: list[int] = []
        self.answers: set[tuple[str, tuple[float, ...]]] = set()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            while not self.enough.is_set():
                answer = client.post("/predict", content=self.body, headers=JSON)
                self.statuses.append(answer.status_code)
                if answer.is_success:
                    told = answer.json()
                    self.answers.add((told["model"], tuple(told["predictions"][0]["probabilities"])))


@pytest.fixture(scope="module")
def image(test_split: Examples) -> Images:
    return test_split.images[:1]


def wait_for(server: Server, tag: str, within: float = 10) -> float:
    """Seconds until every answer comes from this model."""
    began = time.monotonic()
    with server.client() as client:
        while client.get("/model").json().get("model") != tag:
            assert time.monotonic() < began + within, client.get("/model").text
            time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def following(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with using_home(tmp_path_factory.mktemp("following") / "bentoml") as home, serve(home) as server:
        yield server


@pytest.mark.slow
def test_a_service_without_a_model_recovers_when_one_is_promoted(
    following: Server, trained: Trained, card: ModelCard
) -> None:
    with following.client() as client:
        assert client.get("/readyz").status_code == 503
        tag = save(trained, card, 1.0)
        champion.make_live(tag, "a test")
        assert wait_for(following, tag) < 2
        assert client.get("/readyz").status_code == 200


@pytest.mark.slow
def test_under_load_a_hundred_moves_lose_no_request_and_mix_no_answers(
    following: Server, trained: Trained, card: ModelCard, image: Images
) -> None:
    tags = [save(trained, card, temperature) for temperature in (1.0, 2.0)]
    champion.make_live(tags[0], "a test")
    wait_for(following, tags[0])
    body = json.dumps({"images": image.tolist()}).encode()
    callers = [Caller(following.url, body) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for number in range(MOVES):
            if number % 2:
                champion.rollback()
            else:
                champion.make_live(tags[1], "a test")
            assert wait_for(following, tags[(number + 1) % 2]) < 2
    finally:
        for caller in callers:
            caller.enough.set()
        for caller in callers:
            caller.join()
    statuses = [status for caller in callers for status in caller.statuses]
    assert set(statuses) == {200}
    assert len(statuses) > MOVES
    answers = {answer for caller in callers for answer in caller.answers}
    assert {tag for tag, _ in answers} == set(tags)
    for tag, told in answers:
        model: Classifier = store.load_stored(tag)
        np.testing.assert_allclose(told, predict(model, image).probabilities[0], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_prune_after_each_promotion_loses_no_request_and_no_live_model(
    following: Server, trained: Trained, card: ModelCard, image: Images, settings: Settings
) -> None:
    wait_for(following, champion.make_live(save(trained, card, 1.0), "a test").tag)
    body = json.dumps({"images": image.tolist()}).encode()
    caller = Caller(following.url, body)
    caller.start()
    try:
        for number in range(10):
            tag = champion.make_live(save(trained, card, 1.1 + number / 10), "a test").tag
            done = prune(keep=0, settings=settings, grace=0)
            assert done.kept[tag] == "live"
            if number % 3 == 2:  # else the next move and its prune come before the service has followed
                wait_for(following, tag)
        wait_for(following, tag)
    finally:
        caller.enough.set()
        caller.join()
    assert set(caller.statuses) == {200}
    assert len(store.list_stored()) == 2, "the live one and what a rollback goes back to"
    with following.client() as client:
        assert client.get("/model").json()["problem"] is None


@pytest.mark.slow
def test_a_service_reports_that_its_model_s_folder_is_gone_until_it_is_back(
    following: Server, trained: Trained, card: ModelCard
) -> None:
    tag = save(trained, card, 1.0)
    champion.make_live(tag, "a test")
    wait_for(following, tag)
    remove(store.home().parent, tag)
    problem = wait_for_problem(following)
    assert "not in the store" in problem
    with following.client() as client:
        assert client.get("/readyz").status_code == 200
        restore(store.home().parent, tag)
        deadline = time.monotonic() + 10
        while client.get("/model").json()["problem"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert following.log.read_text().count(problem) == 1


def wait_for_problem(server: Server) -> str:
    """What /model says, within ten seconds."""
    deadline = time.monotonic() + 10
    with server.client() as client:
        while not (problem := client.get("/model").json()["problem"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return str(problem)


@pytest.mark.slow
def test_a_broken_candidate_is_told_in_the_model_and_in_a_metric(
    following: Server, trained: Trained, card: ModelCard
) -> None:
    good, bad = (save(trained, card, temperature) for temperature in (1.0, 3.0))
    champion.make_live(good, "a test")
    wait_for(following, good)
    pointer, weights = store.home() / "live.json", weights_of(store.home().parent, bad)
    weights.write_bytes(b"")  # promote would refuse it now, so the pointer is written by hand
    move = {**json.loads(pointer.read_bytes()), "tag": bad, "card_sha256": store.card_sha256(bad)}
    pointer.write_text(json.dumps(move))
    with following.client() as client:
        assert "weights.safetensors" in wait_for_problem(following)
        assert client.get("/model").json()["model"] == good
        counted = client.get("/metrics").text
        assert f'fashion_model_live{{tag="{good}"}} 1.0' in counted
        failures = [line for line in counted.splitlines() if line.startswith("fashion_model_failures_total")]
        assert float(failures[0].rpartition(" ")[2]) >= 1
        assert client.get("/readyz").status_code == 200
