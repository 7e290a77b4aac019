"""The way in: each request is checked, then answered by its endpoint or by BentoML, or refused in one shape.

It is a middleware that stands before BentoML's routing. Behind it, the routing, the contexts and Starlette's wrappers
around each of them would take longer than the model does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import is_expected, refuse
from serving.guard import SECURITY_HEADERS, Guard
from serving.load import LoadWork, load

log = logging.getLogger("bentoml.fashion")

BENTOML_PATHS = frozenset({"/livez", "/healthz", "/readyz", "/metrics", "/schema.json"})
READING = frozenset({"GET", "HEAD"})
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

Endpoint = Callable[[Request], Awaitable[Response]]


class Gateway:
    """An ASGI middleware that checks all requests and answers all but those of BentoML's own paths."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, tuple[str, Endpoint]]) -> None:
        """`endpoints`: path -> method and endpoint."""
        self.app, self.endpoints = app, endpoints
        self.guard = Guard()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self._respond(scope, receive, send)
        except asyncio.CancelledError:
            if not load.stopping:
                raise  # else the time of a stop is over, and connections.py has told the client so

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(Request(scope, receive))
        except Exception as error:
            if not is_expected(error):
                log.exception("%s %r failed", scope["method"], scope["path"])
            answer = refuse(error)
        if isinstance(answer, Response):
            answer.raw_headers += RAW_HEADERS
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response | ASGIApp:
        path, method = request.scope["path"], request.scope["method"]
        self.guard.check(request.scope)
        if path in BENTOML_PATHS and method in READING:
            return self.app
        expected, endpoint = self.endpoints.get(path, ("GET" if path in BENTOML_PATHS else "", None))
        if not expected:
            raise HTTPException(404)
        if endpoint is None or (method != expected and (method, expected) != ("HEAD", "GET")):
            raise HTTPException(405, headers={"Allow": "GET, HEAD" if expected == "GET" else expected})
        if expected == "GET":
            return await endpoint(request)
        with LoadWork(request.scope):
            return await endpoint(request)
