"""Requests that share passes in the real service: each gets the answers of its own images."""

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
from following import following, save, wait_for  # noqa: F401, a fixture
from servers import Server

from components.contract import Images, ModelCard
from components.dataset.manifest import Examples
from components.registry import champion, store
from components.scoring.predict import predict
from components.training.train import Trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]

SECONDS, CALLERS, MOVES = 8, 12, 12
BYTES = {"Content-Type": "application/octet-stream"}


@dataclass
class Caller(threading.Thread):
    """A client that sends requests of random sizes, some of them invalid, and hangs up on some."""

    url: str
    images: Images
    seed: int
    greedy: bool = False  # sends only large requests
    enough: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[list[int], dict[str, object]]] = field(default_factory=list)  # rows and the response
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)  # kind of request and status
    slowest: float = 0.0  # seconds

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        chance = random.Random(self.seed)
        kinds = [self.send_json, self.send_bytes, self.send_invalid, self.hang_up]
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            while not self.enough.is_set():
                rows = chance.choices(
                    range(len(self.images)), k=1000 if self.greedy else chance.choice([1, 1, 1, 7, 40])
                )
                send = self.send_bytes if self.greedy else chance.choices(kinds, [5, 5, 1, 1])[0]
                began = time.monotonic()
                send(client, rows)
                self.slowest = max(self.slowest, time.monotonic() - began)

    def keep(self, kind: str, rows: list[int], answer: httpx.Response) -> None:
        self.statuses[kind, answer.status_code] += 1
        if answer.is_success:
            self.answers.append((rows, answer.json()))

    def send_json(self, client: httpx.Client, rows: list[int]) -> None:
        self.keep("valid", rows, client.post("/predict", json={"images": self.images[rows].tolist()}))

    def send_bytes(self, client: httpx.Client, rows: list[int]) -> None:
        self.keep("valid", rows, client.post("/predict", content=self.images[rows].tobytes(), headers=BYTES))

    def send_invalid(self, client: httpx.Client, rows: list[int]) -> None:
        self.keep("invalid", rows, client.post("/predict", json={"images": self.images[rows, :20].tolist()}))

    def hang_up(self, client: httpx.Client, rows: list[int]) -> None:
        body = json.dumps({"images": self.images[rows].tolist()}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as connection:
            connection.sendall(head + b"Content-Type: application/json\r\n\r\n" + body)


def call(server: Server, callers: list[Caller], meanwhile: Callable[[], None]) -> None:
    for caller in callers:
        caller.start()
    try:
        meanwhile()
    finally:
        for caller in callers:
            caller.enough.set()
        for caller in callers:
            caller.join()


def test_mixed_requests_get_the_answers_of_their_own_images(
    following: Server,
    trained: Trained,
    card: ModelCard,
    test_split: Examples,
) -> None:
    """While others send invalid images or hang up, and the live model changes."""
    tags = [save(trained, card, temperature) for temperature in (1.0, 2.0)]
    champion.make_live(tags[0], "a test")
    wait_for(following, tags[0])

    def move() -> None:
        for number in range(MOVES):
            champion.make_live(tags[(number + 1) % 2], "a test")
            time.sleep(SECONDS / MOVES)

    callers = [Caller(following.url, test_split.images, seed) for seed in range(CALLERS)]
    call(following, callers, move)
    statuses = sum((caller.statuses for caller in callers), Counter[tuple[str, int]]())
    assert statuses.keys() == {("valid", 200), ("invalid", 400)}
    assert statuses["valid", 200] > 10 * CALLERS
    expected = {tag: predict(store.load_stored(tag), test_split.images) for tag in tags}
    found = [answer for caller in callers for answer in caller.answers]
    assert {answer["model"] for _, answer in found} == set(tags)
    for rows, answer in found:
        predictions, of_all = answer["predictions"], expected[str(answer["model"])]
        assert isinstance(predictions, list)
        assert len(predictions) == len(rows)
        probabilities = [one["probabilities"] for one in predictions]
        np.testing.assert_allclose(probabilities, of_all.probabilities[rows], rtol=0, atol=1e-5)
        assert [one["label"] for one in predictions] == of_all.labels[rows].tolist()
        assert [one["sure"] for one in predictions] == of_all.sure[rows].tolist()


def test_greedy_clients_do_not_delay_small_requests_by_theirs(
    following: Server,
    trained: Trained,
    card: ModelCard,
    test_split: Examples,
) -> None:
    """Clients with a thousand images a request, without pause, wait longer than those with one."""
    champion.make_live(save(trained, card, 3.0), "a test")
    greedy = [Caller(following.url, test_split.images, seed, greedy=True) for seed in range(8)]
    seconds = []

    def ask() -> None:
        with following.client() as client:
            for _ in range(40):
                began = time.monotonic()
                client.post("/predict", content=test_split.images[:1].tobytes(), headers=BYTES).raise_for_status()
                seconds.append(time.monotonic() - began)

    call(following, greedy, ask)
    assert all(status == ("valid", 200) for caller in greedy for status in caller.statuses)
    assert np.median(seconds) < np.median([caller.slowest for caller in greedy]) / 2
