"""Under load, changing the live model loses no request."""

import json
import threading

import httpx
import numpy as np
import pytest
from following import following, remove, restore, save, wait_for, weights_of  # noqa: F401, a fixture
from servers import Server

from components.contract import Images, ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.registry import champion, store
from components.registry.retention.prune import prune
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]


JSON = {"Content-Type": "application/json"}


MOVES = 100


class Caller(threading.Thread):
    """A client that sends requests continuously and keeps every answer."""

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
                    body = answer.json()
                    self.answers.add((body["model"], tuple(body["predictions"][0]["probabilities"])))


@pytest.fixture(scope="module")
def image(test_split: Examples) -> Images:
    return test_split.images[:1]


@pytest.mark.slow
def test_a_hundred_moves_under_load_lose_no_request_and_mix_no_answers(
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
    for tag, probabilities in answers:
        model: Classifier = store.load_stored(tag)
        np.testing.assert_allclose(probabilities, predict(model, image).probabilities[0], rtol=0, atol=1e-6)


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
            if number % 3 == 2:  # otherwise, the next move and its prune precede the reload
                wait_for(following, tag)
        wait_for(following, tag)
    finally:
        caller.enough.set()
        caller.join()
    assert set(caller.statuses) == {200}
    assert len(store.list_stored()) == 2, "the live one and what a rollback goes back to"
    with following.client() as client:
        assert client.get("/model").json()["problem"] is None
