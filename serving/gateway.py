"""The gateway: checks each request, then forwards it to its endpoint or to BentoML. All errors have one format.

It is an ASGI middleware in front of BentoML's routing, because the routing, contexts and Starlette wrappers behind it
take longer than inference.
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
from serving.load import ActiveRequest, load

log = logging.getLogger("bentoml.fashion")

BENTOML_PATHS = frozenset({"/livez", "/healthz", "/readyz", "/metrics", "/schema.json"})
READ_METHODS = frozenset({"GET", "HEAD"})
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

Endpoint = Callable[[Request], Awaitable[Response]]


class Gateway:
    """ASGI middleware that checks every request and serves all paths except BentoML's own."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, tuple[str, Endpoint]]) -> None:
        """`endpoints`: path -> method and endpoint."""
        self.app, self.endpoints = app, endpoints
        self.guard = Guard()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or forward it to BentoML."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self._respond(scope, receive, send)
        except asyncio.CancelledError:
            if not load.stopping:
                raise  # else the shutdown cut the request off, and connections.py has sent the response

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._route(Request(scope, receive))
        except Exception as error:
            if not is_expected(error):
                log.exception("%s %r failed", scope["method"], scope["path"])
            response = refuse(error)
        if isinstance(response, Response):
            response.raw_headers += RAW_HEADERS
        await response(scope, receive, send)

    async def _route(self, request: Request) -> Response | ASGIApp:
        path, method = request.scope["path"], request.scope["method"]
        self.guard.check(request.scope)
        if path in BENTOML_PATHS and method in READ_METHODS:
            return self.app
        expected, endpoint = self.endpoints.get(path, ("GET" if path in BENTOML_PATHS else "", None))
        if not expected:
            raise HTTPException(404)
        if endpoint is None or (method != expected and (method, expected) != ("HEAD", "GET")):
            raise HTTPException(405, headers={"Allow": "GET, HEAD" if expected == "GET" else expected})
        if expected == "GET":
            return await endpoint(request)
        with ActiveRequest(request.scope):
            return await endpoint(request)
