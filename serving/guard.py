"""Who may ask: names that this service is known by, pages that it may be asked from, a token, and so many at a time."""

import hmac
import os
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Refusal, refuse
from serving.load import HELD, load, too_busy

LOOPBACK = ("127.0.0.1", "localhost", "::1")


OPEN_PATHS = ("/", "/page.css", "/page.js", "/icon.svg")  # answered without a token: the page, which has no data in it

# Nothing but what this service itself gives, in no frame of another page, and no answer kept by a cache on the way.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Add to every answer, refusals included, what tells a browser to be careful with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class BearerToken:
    """With `FASHION_TOKEN` set, answer only those who send it: `Authorization: Bearer TOKEN`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.expected = app, os.environ.get("FASHION_TOKEN", "").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401; the comparison takes as long whatever was sent."""
        if scope["type"] == "http" and self.expected and scope["path"] not in OPEN_PATHS:
            kind, _, token = Request(scope).headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode("latin-1"), self.expected):
                refusal = Refusal(401, "authorization", "no or a wrong bearer token", {"WWW-Authenticate": "Bearer"})
                return await (await refuse(Request(scope), refusal))(scope, receive, send)
        return await self.app(scope, receive, send)


class KnownHosts:
    """Answer only under known names, to pages from known names.

    A page of a stranger's can point a name of its own at 127.0.0.1 and ask a service there. `FASHION_ALLOWED_HOSTS` has
    the names that this service is reached by, with commas between; `*` allows all, behind a proxy that checks.
    """

    def __init__(self, app: ASGIApp) -> None:
        names = os.environ.get("FASHION_ALLOWED_HOSTS", "").split(",")
        self.app, self.allowed = app, {*LOOPBACK, *(name.strip().lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 403."""
        if scope["type"] == "http" and "*" not in self.allowed:
            headers = Request(scope).headers
            found = {"host": f"//{headers.get('host', '')}", "origin": headers.get("origin")}
            for field, value in found.items():
                if value is not None and _hostname(value) not in self.allowed:
                    refusal = Refusal(403, field, "not a name in FASHION_ALLOWED_HOSTS")
                    return await (await refuse(Request(scope), refusal))(scope, receive, send)
        return await self.app(scope, receive, send)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class InFlightCap:
    """Tell requests with a body beyond a number to come back, so that those within it are answered in time.

    A request counts once its body is here; how many may be on their way, and how slowly, is in load.py.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, load.most_in_work = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 429."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif load.in_work >= load.most_in_work:
            await (await refuse(Request(scope), too_busy()))(scope, receive, send)
        else:
            load.requests += 1
            try:
                await self.app(scope, receive, send)
            finally:
                load.requests -= 1
                load.bytes -= scope.get(HELD, 0)
