"""Clients that send or read slowly, or not at all, do not block others."""

import contextlib
import http.client
import json
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
import pytest
from readings import PIXEL_COLUMNS
from servers import Server
from sockets import BYTES, HEAD, connect, status_of, take

from components.dataset.manifest import Examples
from components.readers.images.photos import write_png
from serving import connections
from serving.bodies import LARGEST_UPLOAD
from serving.load import MAX_ARRIVING, MAX_BYTES, WINDOW

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]


@dataclass
class Honest(threading.Thread):
    """A client that sends chunked requests repeatedly, and keeps the statuses and the longest time in seconds."""

    server: Server
    enough: threading.Event = field(default_factory=threading.Event)
    statuses: Counter[int] = field(default_factory=Counter)
    longest: float = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.enough.is_set():
            began = time.monotonic()
            client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            with contextlib.closing(client):
                client.request("POST", "/predict", iter([bytes(784)] * 3), {"Content-Type": BYTES}, encode_chunked=True)
                self.statuses[client.getresponse().status] += 1
            self.longest = max(self.longest, time.monotonic() - began)


@contextlib.contextmanager
def honest(server: Server, number: int = 4) -> Iterator[list[Honest]]:
    """Run `number` clients during the block, and check that every answer is a 200."""
    clients = [Honest(server) for _ in range(number)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.enough.set()
        for client in clients:
            client.join()
    assert {status for client in clients for status in client.statuses} == {200}
    assert max(client.longest for client in clients) < 5


def trickle(held: list[socket.socket], seconds: float, drop: bytes) -> dict[socket.socket, bytes]:
    """Send `drop` slowly on each connection until it is answered or closed. Returns the answers."""
    answers: dict[socket.socket, bytes] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(answers) < len(held):
        waiting = [one for one in held if one not in answers]
        for one in select.select(waiting, [], [], 0)[0]:
            answers[one] = b""
            with contextlib.suppress(ConnectionError):  # head and body may arrive separately
                while not answers[one].endswith(b"}}") and (piece := one.recv(4000)):
                    answers[one] += piece
        for one in waiting:
            with contextlib.suppress(OSError):
                one.send(drop)
        time.sleep(0.2)
    return answers


@pytest.mark.parametrize("number", [200, MAX_ARRIVING + 100])
def test_bodies_that_trickle_in_time_out_while_others_are_answered(server: Server, number: int) -> None:
    """Above the limit of arriving bodies, the slowest is dropped before its window ends."""
    with honest(server), contextlib.ExitStack() as held:
        slow = [held.enter_context(connect(server)) for _ in range(number)]
        for place, one in enumerate(slow):
            path, kind = [(b"/predict", b"application/octet-stream"), (b"/classify", b"image/png")][place % 2]
            one.sendall(HEAD % (path, kind, 1 << 20))
        answers = trickle(slow, WINDOW + 5, b"x")
    assert len(answers) == number
    assert {status_of(answer) for answer in answers.values()} == {408}
    assert all(b"not received in time" in answer for answer in answers.values())


def test_a_body_at_a_fair_rate_can_take_longer_than_a_window(server: Server, test_split: Examples) -> None:
    """40 KB per second, for two windows."""
    body = test_split.images[:1].tobytes() * 512
    with connect(server) as client:
        client.sendall(HEAD % (b"/predict", BYTES.encode(), len(body)))
        for start in range(0, len(body), 8 << 10):
            client.sendall(body[start : start + (8 << 10)])
            time.sleep(0.2)
        assert status_of(client.recv(100)) == 200


def test_bodies_have_a_shared_memory_limit(server: Server) -> None:
    """Each body is within its own limit."""
    size = LARGEST_UPLOAD - 1
    with contextlib.ExitStack() as held:
        large = [held.enter_context(connect(server)) for _ in range(MAX_BYTES // size + 2)]
        for one in large:
            with contextlib.suppress(ConnectionError):
                one.sendall(HEAD % (b"/classify", b"image/png", size) + bytes(size - 1))
        refused = [take(one, b"}}") for one in select.select(large, [], [], WINDOW)[0]]
    assert 0 < len(refused) < len(large)
    assert {status_of(answer) for answer in refused} == {429}
    assert all(b"request bodies in memory exceed" in answer for answer in refused)


def test_connections_without_a_request_are_closed_while_others_are_answered(server: Server) -> None:
    """500 connections that stay silent, send an endless head, or keep sending after their answer."""
    ends_badly = HEAD % (b"/nothing", b"text/plain", 1 << 20)
    began = time.monotonic()
    with honest(server), contextlib.ExitStack() as held:
        silent = [held.enter_context(connect(server)) for _ in range(300)]
        endless = [held.enter_context(connect(server)) for _ in range(100)]
        answered = [held.enter_context(connect(server)) for _ in range(100)]
        for one in endless:
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        for one in answered:
            one.sendall(ends_badly)
            assert status_of(take(one, b"}}")) == 404
        ends = trickle([*endless, *answered], connections.PATIENCE + 10, b"x")
        assert len(ends) == len(endless) + len(answered)
        assert set(ends.values()) == {b""}
        assert all(one.recv(1) == b"" for one in silent)
    assert time.monotonic() - began < connections.PATIENCE + 10


def test_above_the_connection_limit_the_longest_idle_are_closed(server: Server) -> None:
    (worker,) = psutil.Process(server.process.pid).children(recursive=True)
    with honest(server), contextlib.ExitStack() as held:
        first = [held.enter_context(connect(server)) for _ in range(100)]
        time.sleep(1)
        for _ in range(connections.MAX_CONNECTIONS + 100):
            held.enter_context(connect(server))
        deadline = time.monotonic() + 5
        while len(select.select(first, [], [], 0)[0]) < len(first):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert len(worker.net_connections()) <= connections.MAX_CONNECTIONS + 1


def test_a_client_that_reads_nothing_is_disconnected_and_a_slow_reader_is_not(
    server: Server, test_split: Examples
) -> None:
    """The 8 MB response exceeds what the kernel buffers for a client."""
    row = ",".join(map(str, test_split.images[0].ravel()))
    lines = [f"{number:0900},{row}" for number in range(8_000)]
    table = "\n".join([",".join(("id", *PIXEL_COLUMNS)), *lines, ""]).encode()
    with honest(server), connect(server, 64 << 10) as fair, connect(server, 64 << 10) as lazy:
        for one in (lazy, fair):
            one.sendall(HEAD % (b"/score", b"text/csv", len(table)) + table)
        began, content = time.monotonic(), b""
        while not content.endswith(b"0\r\n\r\n"):
            piece = fair.recv(64 << 10)
            assert piece, f"cut after {time.monotonic() - began:.0f} s and {len(content):,} bytes"
            content += piece
            time.sleep(0.1)
        assert content.count(b"\n") > 8_000
        assert time.monotonic() - began > connections.PATIENCE + connections.CHECK_INTERVAL
        time.sleep(max(0, began + 2 * connections.PATIENCE - time.monotonic()))
        left = b""
        with contextlib.suppress(ConnectionError):
            left = take(lazy, b"0\r\n\r\n")
        assert len(left) < len(content)


def test_above_the_request_limit_callers_get_429_and_retry_after(server: Server, test_split: Examples) -> None:
    """Each sends 64 pictures, which take a while; at most 16 requests wait at once."""
    answers: list[tuple[int, str | None, bytes]] = []
    picture = write_png(test_split.images[0].repeat(4, axis=0).repeat(4, axis=1))  # 28 x 28 is decoded too fast
    part = b'--cut\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + picture + b"\r\n"
    body = part * 64 + b"--cut--\r\n"

    def ask() -> None:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(client):
            client.request("POST", "/classify", body, {"Content-Type": "multipart/form-data; boundary=cut"})
            answer = client.getresponse()
            answers.append((answer.status, answer.headers["Retry-After"], answer.read()))

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = Counter(status for status, _, _ in answers)
    assert statuses.keys() == {200, 429}
    assert statuses[200] >= 16
    refused = [json.loads(content)["error"]["reason"] for status, _, content in answers if status == 429]
    expected = re.compile(r"already (processing|decoding) \d+ (requests|pictures); retry later")
    assert all(expected.match(reason) for reason in refused)
    assert {after for status, after, _ in answers if status == 429} == {"1"}
