"""Who may ask: names that this service is known by, pages that it may be asked from, and a token."""

import hmac
import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from serving.errors import Refusal

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/", "/page.css", "/page.js", "/icon.svg")  # answered without a token: the page, which has no data in it

# Nothing but what this service itself gives, in no frame of another page, and no answer kept by a cache on the way.
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """Refuse strangers.

    A page of a stranger's can point a name of its own at 127.0.0.1 and ask a service there. `FASHION_ALLOWED_HOSTS` has
    the names that this service is reached by, with commas between; `*` allows all, behind a proxy that checks. With
    `FASHION_TOKEN` set, only those are answered who send it: `Authorization: Bearer TOKEN`.
    """

    def __init__(self) -> None:
        names = os.environ.get("FASHION_ALLOWED_HOSTS", "").split(",")
        self.allowed = {*LOOPBACK, *(name.strip().lower() for name in names)}
        self.token = os.environ.get("FASHION_TOKEN", "").encode()

    def check(self, path: str, headers: Headers) -> None:
        """Let a request pass.

        Raises:
            Refusal: 403, it names a host that is not known, or comes from a page that is not; 401, without the token.
        """
        if "*" not in self.allowed:
            self._check_name("host", f"//{headers.get('host', '')}")
            if (origin := headers.get("origin")) is not None:
                self._check_name("origin", origin)
        if self.token and path not in OPEN_PATHS:
            self._check_token(headers.get("authorization", ""))

    def _check_name(self, field: str, url: str) -> None:
        if _hostname(url) not in self.allowed:
            raise Refusal(403, field, "not a name in FASHION_ALLOWED_HOSTS")

    def _check_token(self, authorization: str) -> None:
        """The comparison takes as long whatever was sent."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode("latin-1"), self.token):
            raise Refusal(401, "authorization", "no or a wrong bearer token", {"WWW-Authenticate": "Bearer"})


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
