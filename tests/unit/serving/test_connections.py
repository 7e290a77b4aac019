"""HTTP connections: framing, head limits, compressed bodies, and shutdown."""

import asyncio
import contextlib
import gzip
import json
import logging
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Server, free_port, running
from uvicorn.protocols.http.flow_control import FlowControl

from components.settings import CHECKOUT
from serving.bodies import LARGEST_JSON
from serving.connections import MAX_PIPELINED, WholeResponseCycle, to_line
from serving.heads import LARGEST_HEAD, LONGEST_URL, MAX_HEADERS

GRACE = 2  # seconds that a shutdown may take
HOST = b"Host: localhost\r\n"
READ = b"POST /read HTTP/1.1\r\n" + HOST
ALIVE = b"GET /livez HTTP/1.1\r\n" + HOST
BODY = bytes(784)
SIZED = b"Content-Length: 784\r\n\r\n" + BODY
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n310\r\n" + BODY + b"\r\n0\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, str(CHECKOUT / "tests" / "support" / "small_service.py"), str(port), str(GRACE)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with running(command, port, environment, CHECKOUT, folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("small")) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send pieces and return everything received until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02 if len(pieces) > 1 else 0)
        return connection.makefile("rb").read()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def error_of(answer: bytes) -> dict[str, Any]:
    """The error in the last response, after checking its format."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    (key, error), *others = json.loads(body).items()
    assert (key, others) == ("error", [])
    assert error.keys() == {"status", "field", "reason"}
    assert error["status"] == statuses(head)[-1]
    return dict(error)


LAST = ALIVE + b"Connection: close\r\n\r\n"  # gets a response only if the requests before it were read completely


@pytest.mark.parametrize("framed", [SIZED, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("upgrade", [H2C, H2C.replace(b"h2c", b"foo/2"), b""], ids=["h2c", "foo", "none"])
def test_the_body_of_an_upgrade_request_is_read(small: Server, upgrade: bytes, framed: bytes) -> None:
    """Java's client offers HTTP/2 this way. The body must not be parsed as the next request."""
    head = READ + upgrade
    for pieces in ([head + framed + LAST], [head, framed, LAST], [head + framed[:40], framed[40:] + LAST]):
        answer = exchange(small, *pieces)
        assert statuses(answer) == [200, 200]
        assert b'"bytes":784' in answer


class Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.is_closed = False

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def close(self) -> None:
        self.is_closed = True


LENGTH = (b"content-length", b"4")


@pytest.mark.parametrize(
    ("headers", "keep_alive", "pieces", "closes"),
    [
        ([LENGTH], True, 1, False),
        ([LENGTH], False, 1, True),
        ([LENGTH, (b"connection", b"close")], True, 2, True),
        ([], True, 3, False),  # in chunks
    ],
)
def test_a_response_of_known_length_is_written_at_once(
    headers: list[tuple[bytes, bytes]], keep_alive: bool, pieces: int, closes: bool
) -> None:
    transport: Any = Written()
    flow = FlowControl(transport)
    scope: Any = {"type": "http", "method": "POST"}
    log, ended = logging.getLogger("a test"), list[bool]()

    async def answer() -> None:
        cycle = WholeResponseCycle(
            scope, transport, flow, log, log, False, [], asyncio.Event(), False, keep_alive, lambda: ended.append(True)
        )
        await cycle.send({"type": "http.response.start", "status": 200, "headers": headers})
        if not headers:
            await cycle.send({"type": "http.response.body", "body": b"more", "more_body": True})
        await cycle.send({"type": "http.response.body", "body": b"done"})
        assert (cycle.response_started, cycle.response_complete) == (True, True)

    asyncio.run(answer())
    assert (len(transport.pieces), transport.is_closed, ended) == (pieces, closes, [True])
    head, _, body = b"".join(transport.pieces).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"done" in body
    assert (b"connection: close" in head) == closes


def test_head_gets_the_length_without_the_body(small: Server) -> None:
    answer = exchange(small, ALIVE.replace(b"GET", b"HEAD") + b"\r\n" + LAST)
    assert statuses(answer) == [200, 200]
    assert answer.count(b"content-length: 5\r\n") == 2
    assert answer.count(b"alive") == 1


def test_the_head_of_a_stream_does_not_wait_for_its_end(small: Server) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(READ.replace(b"/read", b"/begin") + SIZED)
        received = b""
        while b"half" not in received:
            received += connection.recv(1 << 16)
    assert statuses(received) == [200]


@pytest.mark.parametrize("header", [(b"x-name", b"a\r\nset-cookie: b"), (b"x name", b"a"), (b"x-name", b"a\x00")])
def test_a_header_that_would_end_its_line_is_not_sent(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="invalid header"):
        to_line(header)
    assert to_line((b"x-name", b"a")) == b"x-name: a\r\n"


def test_a_body_that_looks_like_a_request_is_still_a_body(small: Server) -> None:
    hidden = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    answer = exchange(small, READ + H2C + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden + LAST)
    assert statuses(answer) == [200, 200]
    assert b'"bytes":%d' % len(hidden) in answer


def test_a_websocket_is_refused_in_the_common_error_format(small: Server) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Zm9v\r\n"
    for request in (ALIVE + upgrade + b"\r\n", READ + upgrade + SIZED):
        error = error_of(exchange(small, request))
        assert (error["status"], error["field"]) == (403, "upgrade")


@pytest.mark.parametrize(
    ("request_", "status", "field", "reason"),
    [
        (READ + CHUNKED.replace(b": chunked", b": gzip, chunked"), 501, "transfer-encoding", "'gzip, chunked'"),
        (READ + b"Transfer-Encoding: gzip\r\n" + CHUNKED, 501, "transfer-encoding", "'gzip'"),
        (READ + CHUNKED.replace(b": chunked", b": xchunked"), 501, "transfer-encoding", "'xchunked'"),
        (READ + CHUNKED.replace(b": chunked", b": identity"), 501, "transfer-encoding", "'identity'"),
        (READ + CHUNKED.replace(b": chunked", b": chunked, chunked"), 400, "request", ""),
        (READ.replace(b"1.1", b"1.0") + CHUNKED, 400, "transfer-encoding", "HTTP/1.0"),
        (READ + b"Content-Length: 784\r\n" + CHUNKED, 400, "request", "Transfer-Encoding"),
        (READ + b"Content-Length: 783\r\n" + SIZED, 400, "request", "Content-Length"),
        (READ + SIZED.replace(b"784", b"+784"), 400, "request", "Content-Length"),
        (READ + SIZED.replace(b"784", b"784, 784"), 400, "request", "Content-Length"),
        (READ + b"Content-Length : 784\r\n\r\n" + BODY, 400, "request", ""),
        (READ + b"X: a\r\n b\r\n" + SIZED, 400, "request", ""),
        (READ + CHUNKED.replace(b"310\r\n", b"0x310\r\n"), 400, "request", ""),
        (READ + b"Expect: a-miracle\r\n" + SIZED, 417, "expect", "'a-miracle'"),
        (READ.replace(b"1.1", b"2.0") + SIZED, 505, "request", "HTTP/2.0"),
        (b"POST http://evil.example/read HTTP/1.1\r\n" + HOST + SIZED, 400, "url", "host matches the Host header"),
        (b"POST http://localhost@evil.example/read HTTP/1.1\r\n" + HOST + SIZED, 400, "url", "'http://localhost@"),
        (b"POST /read#x HTTP/1.1\r\n" + HOST + SIZED, 400, "url", "fragment"),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "url", "'localhost:80'"),
        (b"CONNECT localhost:80 HTTP/1.1\r\n\r\n", 405, "request", ""),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request", ""),
    ],
    ids=range(21),
)
def test_unsupported_framing_is_refused_with_its_field_and_closes_the_connection(
    small: Server, request_: bytes, status: int, field: str, reason: str
) -> None:
    answer = exchange(small, request_ + ALIVE + b"\r\n")
    error = error_of(answer)
    assert (statuses(answer), error["field"]) == ([status], field)
    assert reason in error["reason"]


def test_an_absolute_url_with_the_same_host_is_accepted(small: Server) -> None:
    head = b"GET http://LOCALHOST/livez HTTP/1.1\r\nConnection: close\r\n" + HOST
    assert statuses(exchange(small, head + b"\r\n")) == [200]


def test_expect_100_continue_gets_a_100_response(small: Server) -> None:
    expecting = READ + b"Expect: 100-continue\r\nConnection: close\r\n" + SIZED
    assert statuses(exchange(small, expecting)) == [100, 200]
    assert statuses(exchange(small, expecting.replace(b"HTTP/1.1", b"HTTP/1.0"))) == [200]


# --- limits of the head ---


def test_a_head_has_a_size_limit(small: Server) -> None:
    allowed = LARGEST_HEAD - 200
    assert statuses(exchange(small, LAST[:-2] + b"X: " + b"a" * allowed + b"\r\n\r\n")) == [200]
    for lines in (b"X: " + b"a" * LARGEST_HEAD + b"\r\n", b"".join(b"x%d: y\r\n" % n for n in range(MAX_HEADERS))):
        answer = exchange(small, ALIVE + lines + b"\r\n" + LAST)
        assert (statuses(answer), error_of(answer)["field"]) == ([431], "headers")
    assert statuses(exchange(small, b"GET /livez?" + b"a" * LONGEST_URL + b" HTTP/1.1\r\n" + HOST + b"\r\n")) == [414]
    for head in (ALIVE + b"X: ", b"GET /livez?", ALIVE + b"x" * 60_000):
        assert statuses(exchange(small, head, *[b"a" * 40_000] * 3)) == [431]


def test_trailers_and_chunk_extensions_have_the_same_limit_and_do_not_become_headers(small: Server) -> None:
    head, body = READ + b"Transfer-Encoding: chunked\r\n\r\n310", BODY + b"\r\n0\r\n"
    answer = exchange(small, head + b";a=b\r\n" + body + b"Authorization: x\r\nHost: evil\r\n\r\n" + LAST)
    assert statuses(answer) == [200, 200]
    assert b'"headers":["host","transfer-encoding"]' in answer
    for trailers in (b"X: " + b"a" * LARGEST_HEAD + b"\r\n", b"X: y\r\n" * 200):
        answer = exchange(small, head + b"\r\n" + body + trailers + b"\r\n" + LAST)
        assert statuses(answer) == [431]
    assert statuses(exchange(small, head + b"\r\n" + body + b"X: ", *[b"a" * 40_000] * 3)) == [431]
    assert statuses(exchange(small, head + b";", *[b"a" * 40_000] * 3)) == [431]


def test_endless_heads_do_not_delay_other_requests(small: Server) -> None:
    """Twelve clients send in pieces of four bytes or as fast as possible, and reconnect when refused."""
    enough = threading.Event()

    def send(piece: bytes) -> None:
        while not enough.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", small.port), 5) as connection:
                connection.sendall(ALIVE + b"X: ")
                while not enough.is_set():
                    connection.sendall(piece)

    threads = [threading.Thread(target=send, args=(b"a" * size,)) for size in (4, 100_000) for _ in range(6)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    with small.client() as client:
        until = time.monotonic() + 2
        while (began := time.monotonic()) < until:
            assert client.post("/read", content=BODY).json()["bytes"] == 784
            slowest = max(slowest, time.monotonic() - began)
    enough.set()
    for thread in threads:
        thread.join()
    assert slowest < 1


def test_a_body_in_tiny_chunks_does_not_delay_other_requests(small: Server) -> None:
    """One-byte chunks cost ten times as much as the bytes themselves: six clients send 400,000 each."""
    flood = READ + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 400_000
    slowest = 0.0
    with contextlib.ExitStack() as held, small.client() as client:
        floods = [held.enter_context(socket.create_connection(("127.0.0.1", small.port), 30)) for _ in range(6)]
        threads = [threading.Thread(target=one.sendall, args=(flood + b"0\r\n\r\n",)) for one in floods]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            began = time.monotonic()
            assert client.post("/read", content=BODY).json()["bytes"] == 784
            slowest = max(slowest, time.monotonic() - began)
        answers = [one.makefile("rb").read() for one in floods]
    assert all(b'"bytes":400000' in answer for answer in answers)
    assert slowest < 1


def test_a_request_gets_its_response_whatever_follows_it(small: Server) -> None:
    behind = [b"nonsense\r\n\r\n", ALIVE.replace(b"1.1", b"2.0") + b"\r\n", ALIVE + b"X: " + b"a" * 400_000]
    for wrong in behind:
        answer = exchange(small, READ + SIZED + wrong)
        assert (statuses(answer)[0], b'"bytes":784' in answer) == (200, True)
    assert statuses(exchange(small, (ALIVE + b"\r\n") * MAX_PIPELINED + LAST)) == [200] * (MAX_PIPELINED + 1)
    too_many = exchange(small, (ALIVE + b"\r\n") * (MAX_PIPELINED + 9))
    assert statuses(too_many) == [200] * (MAX_PIPELINED + 1)


def test_a_disconnect_with_pipelined_requests_logs_no_error(small: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall((READ + SIZED) * 5)
    with small.client() as client:
        assert client.get("/livez").is_success
    assert "Traceback" not in small.log.read_text()


# --- compressed bodies ---


def deflate(content: bytes, window: int = -zlib.MAX_WBITS) -> bytes:
    """Raw deflate, without zlib's header and checksum, as some clients send it."""
    compressor = zlib.compressobj(wbits=window)
    return compressor.compress(content) + compressor.flush()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


COMPRESSED = [
    ("gzip", gzipped(BODY)),
    ("x-gzip", gzipped(BODY)),
    ("GZIP, identity", gzipped(BODY[:300]) + gzipped(b"") + gzipped(BODY[300:])),
    ("deflate", zlib.compress(BODY)),
    ("deflate", deflate(BODY)),
    ("identity", BODY),
]


@pytest.mark.parametrize("path", ["/read", "/spool"])
@pytest.mark.parametrize(("coding", "content"), COMPRESSED, ids=range(len(COMPRESSED)))
def test_a_compressed_body_is_decompressed(small: Server, path: str, coding: str, content: bytes) -> None:
    headers = {"Content-Encoding": coding}
    with small.client() as client:
        for body in (
            content,
            iter([content[:1], content[1:30], content[30:]]),
            iter(content[n : n + 1] for n in range(len(content))),
        ):
            assert client.post(path, content=body, headers=headers).json()["bytes"] == 784


@pytest.mark.parametrize("path", ["/read", "/spool"])
@pytest.mark.parametrize(
    ("coding", "content", "status", "field", "reason"),
    [
        ("br", BODY, 415, "content-encoding", "found br, expected gzip, deflate or none"),
        ("zstd", BODY, 415, "content-encoding", "found zstd"),
        ("gzip, gzip", gzipped(gzipped(BODY)), 415, "content-encoding", "found gzip, gzip"),
        ("gzip", BODY, 400, "body", "not valid gzip data"),
        ("gzip", gzipped(BODY)[:-1], 400, "body", "ends before"),
        ("gzip", b"", 400, "body", "ends before"),
        ("gzip", gzipped(BODY)[:-1] + b"x", 400, "body", "not valid gzip data"),
        ("deflate", zlib.compress(BODY) + b"x", 400, "body", "found bytes after the end of the deflate stream"),
    ],
    ids=range(8),
)
def test_a_body_that_cannot_be_decompressed_is_refused(
    small: Server, path: str, coding: str, content: bytes, status: int, field: str, reason: str
) -> None:
    with small.client() as client:
        answer = client.post(path, content=content, headers={"Content-Encoding": coding})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (status, field)
    assert reason in error["reason"]
    assert (answer.headers.get("accept-encoding") == "gzip, deflate") == (status == 415)


def test_a_decompressed_body_has_the_same_limit(small: Server) -> None:
    largest = gzipped(bytes(LARGEST_JSON))
    headers = {"Content-Encoding": "gzip"}
    with small.client() as client:
        assert client.post("/read", content=largest, headers=headers).json()["bytes"] == LARGEST_JSON
        for content in (
            gzipped(bytes(LARGEST_JSON + 1)),
            gzipped(bytes(64 << 20)),
            gzipped(b"") * 100_000,
        ):
            answer = client.post("/read", content=content, headers=headers)
            assert (answer.status_code, answer.json()["error"]["field"]) == (413, "body")


def test_a_partial_body_is_refused(small: Server) -> None:
    with small.client() as client:
        answer = client.post("/read", content=BODY, headers={"Content-Range": "bytes 0-783/1568"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "content-range")


# --- shutdown ---


def test_requests_cut_off_by_a_shutdown_get_a_503_with_retry_after(tmp_path: Path) -> None:
    """Also if their work cannot be cancelled. A response that had started stays incomplete."""
    with serving(tmp_path) as server, contextlib.ExitStack() as held:
        clients = {}
        for path in ("/wait", "/work", "/begin"):
            clients[path] = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            clients[path].sendall(b"POST %b HTTP/1.1\r\n" % path.encode() + HOST + SIZED)
        assert clients["/begin"].recv(1000).startswith(b"HTTP/1.1 200 ")
        server.process.send_signal(signal.SIGTERM)
        answers = {path: connection.makefile("rb").read() for path, connection in clients.items()}
        assert server.process.wait(GRACE + 5) in {0, -signal.SIGTERM}  # without BentoML, uvicorn ends by the signal
    for path in ("/wait", "/work"):
        reason = "the service is shutting down; retry later"
        assert error_of(answers[path]) == {"status": 503, "field": "service", "reason": reason}
        assert b"\r\nretry-after: 1\r\n" in answers[path]
    assert b"0\r\n\r\n" not in answers["/begin"]
    assert "Traceback" not in server.log.read_text()
