"""The way in, with endpoints that fail."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from serving.bentoml_patches import AT_ONCE, Journal
from serving.door import Door, Endpoint
from serving.load import load
from serving.metrics import Watch


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


def ask(door: ASGIApp, method: str, path: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(door)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path)

    return asyncio.run(send())


@pytest.fixture
def door() -> Door:
    return Door(Starlette(), ENDPOINTS)


def test_an_unforeseen_error_is_logged_and_not_told(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    answer = ask(door, "POST", "/fail")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": {"status": 500, "field": "service", "reason": "an unexpected error; the service's log has it"}
    }
    assert "POST '/fail' failed" in caplog.text
    assert "KeyError: 'a secret'" in caplog.text
    assert load.requests == 0


def test_an_answer_that_breaks_off_is_no_whole_answer(door: Door) -> None:
    with pytest.raises(KeyError, match="later"):
        ask(door, "GET", "/break")


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
def test_a_path_has_its_method(door: Door, method: str, path: str, status: int, allow: str | None) -> None:
    answer = ask(door, method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_access_log_that_cannot_be_written_costs_no_answer(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    journal = Journal(door, "test_door", ("/metrics",), {"/done"}, Watch())
    monkeypatch.setattr("sys.stdout", Full())
    for _ in range(2 * AT_ONCE):
        assert ask(journal, "GET", "/nothing").status_code == 404
    assert len(journal.notes) < AT_ONCE
