"""The behaviour of BentoML, uvicorn and Starlette that our patches replace.

Each test runs the unpatched library. When one fails, the patch that it names can be removed.
"""

import asyncio
import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import psutil
import pytest
from bentoml._internal.server.http.access import AccessLogMiddleware
from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.util.http import ExcludeList
from servers import Server, free_port, running, serve, using_home
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.settings import CHECKOUT
from serving.bentoml_patches import TrafficRecorder
from serving.metrics import Watch

pytestmark = pytest.mark.slow
IDLE = 1  # seconds until uvicorn closes an idle connection, its only timeout
GRACE = 1  # seconds that a stop may take
HOST = b"Host: localhost\r\n"
READ = b"POST /read HTTP/1.1\r\n" + HOST
LAST = b"GET /livez HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
BODY = bytes(784)
SIZED = b"Content-Length: 784\r\n\r\n" + BODY
PLAIN = """
import bentoml

@bentoml.service(http={"host": "127.0.0.1"})
class Plain:
    @bentoml.api
    def echo(self, text: str) -> str:
        return text
"""


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The small service on uvicorn's unpatched protocol."""
    port = free_port()
    command = [sys.executable, str(CHECKOUT / "tests" / "support" / "small_service.py"), str(port), str(GRACE), "own"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with running(command, port, environment, CHECKOUT, tmp_path_factory.mktemp("own") / "log") as server:
        yield server


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def exchange(server: Server, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.2 if len(pieces) > 1 else 0)
        return connection.makefile("rb").read()


# --- serving/connections.py and heads.py ---


def test_uvicorn_parses_the_body_of_an_upgrade_request_as_the_next_request(uvicorn: Server) -> None:
    """`GuardedProtocol._feed`, `drop_upgrade`."""
    hidden = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    wish = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    assert b'"bytes":0' in exchange(uvicorn, READ + wish + hidden)
    assert statuses(exchange(uvicorn, READ + wish, hidden + LAST)) == [200] * 3


def test_uvicorn_limits_neither_heads_nor_pipelined_requests(uvicorn: Server) -> None:
    """`check_head`, `MAX_PIPELINED`."""
    lines = b"".join(b"x%d: y\r\n" % number for number in range(10_000))
    assert statuses(exchange(uvicorn, LAST[:-2] + lines + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n")) == [200]
    assert statuses(exchange(uvicorn, (READ + SIZED) * 200 + LAST)) == [200] * 201


def test_uvicorn_accepts_ambiguous_body_framing(uvicorn: Server) -> None:
    """`check_head`: an undecoded coding, chunks in HTTP/1.0, another version, another host."""
    close, chunked = b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n\r\n310\r\n" + BODY + b"\r\n0\r\n\r\n"
    for request in (
        READ + close + chunked.replace(b": chunked", b": gzip, chunked"),
        READ.replace(b"1.1", b"1.0") + chunked,
        READ.replace(b"1.1", b"2.0") + close + SIZED,
        b"POST http://evil.example/read HTTP/1.1\r\n" + HOST + close + SIZED,
    ):
        answer = exchange(uvicorn, request)
        assert (statuses(answer), b'"bytes":784' in answer) == ([200], True), request


def test_uvicorn_treats_trailers_as_headers(uvicorn: Server) -> None:
    """`GuardedProtocol.on_headers_complete`."""
    body = b"Transfer-Encoding: chunked\r\n\r\n310\r\n" + BODY + b"\r\n0\r\nAuthorization: x\r\n\r\n"
    assert b'"headers":["host","transfer-encoding","authorization"]' in exchange(uvicorn, READ + body + LAST)


def test_uvicorn_waits_for_half_a_head_and_for_a_client_that_reads_nothing(uvicorn: Server) -> None:
    """`GuardedProtocol.is_stuck`."""
    with socket.create_connection(("127.0.0.1", uvicorn.port), timeout=10) as connection:
        connection.sendall(READ)
        time.sleep(3 * IDLE)
        connection.sendall(b"Connection: close\r\n" + SIZED)
        assert statuses(connection.makefile("rb").read()) == [200]


def test_uvicorn_reads_a_body_in_tiny_chunks_while_others_wait(uvicorn: Server) -> None:
    """`GuardedProtocol.data_received`."""
    flood = READ + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 800_000 + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", uvicorn.port), timeout=60) as connection:
        connection.sendall(flood)  # the last bytes are still in the kernel's buffers
        began = time.monotonic()
        assert statuses(exchange(uvicorn, LAST)) == [200]
        waited = time.monotonic() - began
        assert b'"bytes":800000' in connection.makefile("rb").read()
    assert waited > 0.1


def test_uvicorn_answers_internal_server_error_to_requests_cut_off_by_a_stop(uvicorn: Server) -> None:
    """`GuardedProtocol.shutdown`. Runs last on this server."""
    with socket.create_connection(("127.0.0.1", uvicorn.port), timeout=20) as connection:
        connection.sendall(b"POST /wait HTTP/1.1\r\n" + HOST + SIZED)
        time.sleep(0.5)
        uvicorn.process.send_signal(signal.SIGTERM)
        assert connection.makefile("rb").read().endswith(b"Internal Server Error")


# --- serving/bentoml_patches.py, the proxy ---


def test_bentoml_imports_a_proxy_that_no_service_of_ours_has() -> None:
    code = "import sys, _bentoml_impl.server.app; print({'aiohttp', 'pyparsing'} <= set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


# --- serving/forms.py ---


def test_starlette_loses_files_of_a_truncated_form_and_files_without_a_name() -> None:
    """`UploadForm`, which also saves a tenth of the CPU time of a request with one picture."""
    head = b'--cut\r\nContent-Disposition: form-data; name="file"'
    named, typed = (
        head + b'; filename="a.png"\r\n\r\n\x89PNG\r\n',
        head + b"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n",
    )

    async def read(content: bytes) -> list[object]:
        async def pieces() -> AsyncGenerator[bytes, None]:
            yield content

        form = await MultiPartParser(Headers({"content-type": "multipart/form-data; boundary=cut"}), pieces()).parse()
        return [one if isinstance(one, str) else one.filename for _, one in form.multi_items()]

    assert asyncio.run(read(named + named)) == ["a.png"]
    assert asyncio.run(read(typed + b"--cut--\r\n")) == ["\x89PNG"]


# --- serving/bentoml_patches.py and lifetime.py ---


def test_bentoml_counts_every_unknown_path_and_leaves_an_orphaned_worker(tmp_path: Path) -> None:
    """`TrafficRecorder.counted_paths`, `end_with_parent`."""
    (tmp_path / "service.py").write_text(PLAIN)
    with using_home(tmp_path / "bentoml") as home, serve(home, str(tmp_path), tmp_path) as server:
        (worker,) = psutil.Process(server.process.pid).children(recursive=True)
        with server.client() as client:
            for number in range(20):
                assert client.get(f"/made-up-{number}").status_code == 404
            output = client.get("/metrics").text
            assert all(f'endpoint="/made-up-{number}"' in output for number in range(20))
            server.process.kill()
            server.process.wait()
            time.sleep(2)
            assert client.get("/livez").is_success
        worker.kill()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def ask(app: ASGIApp, number: int) -> float:
    """Send requests and return the CPU time in seconds."""

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    began = time.process_time()
    for _ in range(number):
        scope = {"type": "http", "method": "POST", "path": "/a", "scheme": "http", "client": ("::1", 1), "headers": []}
        await app(scope, receive, send)
    return time.process_time() - began


def test_bentoml_sets_a_timer_for_each_request_and_never_cancels_it() -> None:
    """`patch_bentoml`: `TimeoutMiddleware`."""

    async def count() -> int:
        await ask(TimeoutMiddleware(answer, 60), 10)
        return len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(count()) == 10


def test_bentoml_checks_for_each_request_whether_it_is_traced() -> None:
    """`patch_bentoml`: `OpenTelemetryMiddleware`."""
    asked: list[str] = []

    class Excluded(ExcludeList):
        def url_disabled(self, url: str) -> bool:
            asked.append(url)
            return super().url_disabled(url)

    asyncio.run(ask(OpenTelemetryMiddleware(answer, excluded_urls=Excluded([".*"])), 10))
    assert len(asked) == 10


def test_bentoml_s_metrics_and_access_log_are_slower_than_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TrafficRecorder`: 14 microseconds per request instead of 60; parsing and predicting an image take 80."""
    lines, access_log = io.StringIO(), logging.getLogger("bentoml.access")
    monkeypatch.setattr(access_log, "handlers", [logging.StreamHandler(lines)])
    monkeypatch.setattr(access_log, "propagate", False)
    monkeypatch.setattr(access_log, "level", logging.INFO)
    theirs = RunnerTrafficMetricsMiddleware(AccessLogMiddleware(answer, True, True, True, True), "theirs")
    ours = TrafficRecorder(answer, "ours", (), frozenset({"/a"}), Watch())
    took = [[asyncio.run(ask(app, 300)) for app in (theirs, ours)] for _ in range(7)]
    assert lines.getvalue().count("(scheme=http,method=POST,path=/a") == 7 * 300
    assert min(pair[0] for pair in took) > 1.5 * min(pair[1] for pair in took)
