"""The gateway: error format, allowed methods, hosts, origins and the token."""

import asyncio
import io
import logging
import os
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message

from components.catalogues.fashion_mnist import CONTRACT
from components.errors import SettingsError
from components.settings import CHECKOUT
from serving.bentoml_patches import BATCH_SIZE, TrafficRecorder
from serving.endpoints import ENDPOINTS as SERVED_PATHS
from serving.gateway import BENTOML_PATHS, Endpoint, Gateway
from serving.guard import PROBED_PATHS, Guard
from serving.load import load
from serving.metrics import Watch
from serving.openapi import describe_api
from serving.pages import PATHS


async def done(request: Request) -> Response:
    return PlainTextResponse("done", 201)


async def fail(request: Request) -> Response:
    raise KeyError("a secret")


async def break_off(request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        yield "half of it"
        raise KeyError("later")

    return StreamingResponse(pieces())


ENDPOINTS: dict[str, tuple[str, Endpoint]] = {
    "/done": ("GET", done),
    "/fail": ("POST", fail),
    "/break": ("GET", break_off),
}


Sent = list[tuple[bytes, bytes]]


def request(app: ASGIApp, method: str, path: str, headers: Sent | None = None) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(Starlette(), ENDPOINTS)


def test_an_unexpected_error_is_logged_but_not_revealed(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    answer = request(gateway, "POST", "/fail")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": {"status": 500, "field": "service", "reason": "internal error; see the service log"}
    }
    assert "POST '/fail' failed" in caplog.text
    assert "KeyError: 'a secret'" in caplog.text
    assert load.requests == 0


def test_an_error_during_a_response_aborts_it(gateway: Gateway) -> None:
    with pytest.raises(KeyError, match="later"):
        request(gateway, "GET", "/break")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/done", 201, None),
        ("HEAD", "/done", 201, None),
        ("POST", "/done", 405, "GET, HEAD"),
        ("GET", "/fail", 405, "POST"),
        ("BREW", "/fail", 405, "POST"),
        ("GET", "/done/", 404, None),
        ("GET", "/DONE", 404, None),
    ],
)
def test_a_path_allows_only_its_method(
    gateway: Gateway, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = request(gateway, method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert answer.headers["x-content-type-options"] == "nosniff"


# --- hosts and origins ---


def status_for(app: ASGIApp, path: str, *hosts: bytes, version: str = "1.1") -> int:
    """The status of a request with these Host headers."""
    scope: dict[str, object] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "http_version": version,
    }
    scope["headers"] = [(b"host", host) for host in hosts]
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def answer() -> None:
        await app(scope, receive, send)

    asyncio.run(answer())
    (status,) = statuses
    return status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[
            (host, 201)
            for host in (b"localhost", b"LocalHost:80", b"localhost.", b"localhost.:3000", b"127.0.0.1:3000")
        ],
        *[
            (host, 201)
            for host in (b"[::1]", b"[0:0::1]:3000", b"localhost:", b"a.example", b"A.EXAMPLE.:443", b"xn--4ca")
        ],
        *[
            (host, 403)
            for host in (b"evil.example", b"127.0.0.1.evil.example", b"a.example.evil.example", b"2130706433")
        ],
        *[(host, 403) for host in (b"127.1", b"10.1.2.3:3000", b"[fd00::3]:3000", b"[::ffff:127.0.0.1]", b"0.0.0.0")],
        *[(host, 400) for host in (b"", b" ", b":3000", b"[", b"[]", b"[::1", b"[g::1]", b"::1", b"[fe80::1%25eth0]")],
        *[(host, 400) for host in (b"user@127.0.0.1", b"127.0.0.1/x", b"127.0.0.1#x", b"127.0.0.1?x", b"127.0.0.1\\x")],
        *[
            (host, 400)
            for host in (b"localhost:x", b"localhost:-1", b"localhost:65536", b"localhost:1:2", b"localhost..")
        ],
        *[
            (host, 400)
            for host in (b"local%68ost", b"localhost,localhost", b"localhost localhost", b"l\xc3\xa0", b"a" * 300)
        ],
        *[(host, 400) for host in (b"http://localhost", b"*", b"local\thost", b".localhost")],
    ],
)
def test_only_allowed_and_well_formed_hosts_are_accepted(
    monkeypatch: pytest.MonkeyPatch, host: bytes, status: int
) -> None:
    """User, path, fragment and query are not part of a host."""
    monkeypatch.setenv("FASHION_ALLOWED_HOSTS", "a.example, XN--4CA,")
    gateway = Gateway(PlainTextResponse("BentoML's"), ENDPOINTS)
    assert status_for(gateway, "/done", host) == status
    assert status_for(gateway, "/schema.json", host) == (200 if status == 201 else status)
    is_address = host in {b"10.1.2.3:3000", b"[fd00::3]:3000", b"[::ffff:127.0.0.1]", b"0.0.0.0"}
    for path in PROBED_PATHS:
        assert status_for(gateway, path, host) == (200 if is_address or status == 201 else status)


def test_a_request_needs_exactly_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_ALLOWED_HOSTS", "*")
    gateway = Gateway(PlainTextResponse("BentoML's"), ENDPOINTS)
    assert status_for(gateway, "/done", b"anybody.example") == 201
    for path in ("/done", "/livez"):
        assert status_for(gateway, path) == status_for(gateway, path, b"localhost", b"localhost") == 400
        assert status_for(gateway, path, b"user@localhost") == 400
    assert (status_for(gateway, "/done", version="1.0"), status_for(gateway, "/readyz", version="1.0")) == (400, 200)


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        *[
            (origin, True)
            for origin in (b"http://localhost:5173", b"https://A.example", b"http://[::1]", b"app://localhost")
        ],
        *[
            (origin, False)
            for origin in (b"null", b"", b"localhost", b"http://evil.example", b"http://10.1.2.3", b"http://")
        ],
        *[
            (origin, False)
            for origin in (b"http://localhost/x", b"http://localhost@evil.example", b"http://evil@localhost")
        ],
        *[
            (origin, False)
            for origin in (b"http://localhost http://evil.example", b"http://localhost#", b"http:localhost")
        ],
    ],
)
def test_only_allowed_origins_are_accepted(monkeypatch: pytest.MonkeyPatch, origin: bytes, known: bool) -> None:
    monkeypatch.setenv("FASHION_ALLOWED_HOSTS", "a.example")
    gateway = Gateway(PlainTextResponse("BentoML's"), ENDPOINTS)
    for path, status in (("/done", 201), ("/metrics", 200), ("/livez", 200)):
        assert request(gateway, "GET", path, [(b"Origin", origin)]).status_code == (status if known else 403)
        several = [(b"Origin", b"http://localhost"), (b"Origin", origin)]
        assert request(gateway, "GET", path, several).status_code == (status if known else 403)


@pytest.mark.parametrize(
    "name", ["https://a.example", "a.example:443", "a.example/x", "[::1]:3000", "a b", "*.example"]
)
def test_an_invalid_host_name_in_the_settings_is_refused_at_startup(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FASHION_ALLOWED_HOSTS", f"b.example,{name}")
    with pytest.raises(SettingsError, match=re.escape(f"FASHION_ALLOWED_HOSTS: found {name!r}, expected host names")):
        Guard()


# --- the token ---

OPEN = {"/livez", "/readyz", "/metrics", *PATHS}


def test_the_token_is_required_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_TOKEN", "secret")
    gateway = Gateway(PlainTextResponse("BentoML's"), SERVED_PATHS)
    paths = {
        *SERVED_PATHS,
        *BENTOML_PATHS,
        *describe_api(CONTRACT)["paths"],
        "/nothing",
        "/docs.json",
        "/metrics/",
        "/LIVEZ",
    }
    for path in paths:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT"):
            assert (request(gateway, method, path).status_code == 401) == (path not in OPEN), path
    documented = (CHECKOUT / "docs" / "security.md").read_text()
    assert (
        "all but the pages (`/`, `/docs`, `/review`) and their static files, `/livez`, `/readyz` and `/metrics`"
        in documented
    )


def token_status(*sent: bytes) -> int:
    gateway = Gateway(PlainTextResponse("BentoML's"), ENDPOINTS)
    return request(gateway, "GET", "/done", [(b"Authorization", value) for value in sent]).status_code


@pytest.mark.parametrize("token", ["plain", "two words", "s3cret-voil\u00e0", "\u20ac\u00a0", "\u00a0", "b\tc"])
def test_a_token_may_have_non_ascii_characters(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Clients send them in UTF-8 or, if possible, in Latin-1."""
    monkeypatch.setenv("FASHION_TOKEN", token)
    assert token_status(b"Bearer " + token.encode()) == token_status(b"bearer   " + token.encode() + b" ") == 201
    latin = token.encode("latin-1", "replace")
    assert token_status(b"Bearer " + latin) == (401 if b"?" in latin else 201)
    for wrong in (b"", b"Bearer", b"Bearer ", b"Basic " + latin, b"Bearer " + token.encode()[:-1], b"Bearer x" + latin):
        assert token_status(wrong) == 401
    assert token_status(b"Bearer x", b"Bearer " + token.encode()) == token_status() == 401


def test_a_latin_1_token_in_the_environment_is_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_TOKEN", os.fsdecode("voil\u00e0".encode("latin-1")))
    assert token_status("Bearer voil\u00e0".encode()) == token_status("Bearer voil\u00e0".encode("latin-1")) == 201


def test_whitespace_around_a_token_is_ignored_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token read from a file may end with a line break."""
    monkeypatch.setenv("FASHION_TOKEN", " secret\r\n")
    assert token_status(b"Bearer secret") == 201
    assert "FASHION_TOKEN: ignored leading or trailing whitespace" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("token", [" ", "\n", "a\nb", "a\x01"])
def test_a_token_that_no_request_can_send_is_refused_at_startup(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("FASHION_TOKEN", token)
    with pytest.raises(SettingsError, match="FASHION_TOKEN"):
        Guard()


def test_a_full_disk_for_the_access_log_does_not_fail_requests(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    recorder = TrafficRecorder(gateway, "test_gateway", ("/metrics",), {"/done"}, Watch())
    monkeypatch.setattr("sys.stdout", Full())
    for _ in range(2 * BATCH_SIZE):
        assert request(recorder, "GET", "/nothing").status_code == 404
    assert len(recorder.notes) < BATCH_SIZE
