"""Who may ask: names that this service is known by, pages that it may be asked from, and a token."""

import hmac
import logging
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import Scope

from components.errors import SettingsError
from serving.errors import Refusal

log = logging.getLogger("bentoml.fashion")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROBED_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})  # asked by a pod's address
# Answered without a token: the page, which has no data in it, and what probes and Prometheus ask.
OPEN_PATHS = frozenset({"/", "/page.css", "/page.js", "/icon.svg", "/livez", "/readyz", "/metrics"})
SPACES = b" \t\r\n\v\f"

# RFC 9110, 7.2: a name or an address, perhaps a port. Names are letters, digits, hyphens and underscores between dots.
NAME = r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+"
HOST = re.compile(
    rf"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>{NAME})\.?)(?::(?P<port>[0-9]{{0,5}}))?", re.ASCII | re.IGNORECASE
)
LONGEST_HOST = 253 + 7  # characters: a name, a dot at its end, a colon and a port
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)

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
    the names that this service is reached by, with commas between; `*` allows all, behind a proxy that checks. Probes
    and Prometheus ask by the address of a machine, which no page can point elsewhere. With `FASHION_TOKEN` set, only
    those are answered who send it: `Authorization: Bearer TOKEN`.
    """

    def __init__(self) -> None:
        """Raises SettingsError: a name or a token that no request can send."""
        names = [name.strip() for name in os.environ.get("FASHION_ALLOWED_HOSTS", "").split(",")]
        self.any_host = "*" in names
        self.allowed = {*LOOPBACK, *(_read_allowed(name) for name in names if name not in {"", "*"})}
        self.tokens = _read_tokens(os.environb.get(b"FASHION_TOKEN", b""))

    def check(self, scope: Scope) -> None:
        """Let a request pass.

        Raises:
            Refusal: 400, not one host; 403, a host that is not known, or a page that is not; 401, without the token.
        """
        path, headers = scope["path"], scope["headers"]
        self._check_host(path, scope.get("http_version"), [value for name, value in headers if name == b"host"])
        if not self.any_host:
            for value in [value for name, value in headers if name == b"origin"]:
                if _origin_host(value) not in self.allowed:
                    raise _unknown("origin")
        if self.tokens and path not in OPEN_PATHS:
            self._check_token([value for name, value in headers if name == b"authorization"])

    def _check_host(self, path: str, version: str | None, hosts: Sequence[bytes]) -> None:
        is_probe = path in PROBED_PATHS
        if not hosts and is_probe and version == "1.0":
            return  # as load balancers ask that speak HTTP/1.0; no browser does
        if len(hosts) != 1:
            raise Refusal(400, "host", f"found {len(hosts)} headers of this name, expected one")
        name = read_host(hosts[0])
        if name is None:
            raise Refusal(400, "host", f"found {hosts[0][:60].decode('latin-1')!r}, expected a name and perhaps a port")
        if not (self.any_host or name in self.allowed or (is_probe and _is_address(name))):
            raise _unknown("host")

    def _check_token(self, sent: Sequence[bytes]) -> None:
        """The comparison takes as long whatever was sent."""
        kind, _, token = (sent[0] if len(sent) == 1 else b"").partition(b" ")
        found = [hmac.compare_digest(token.strip(b" \t"), expected) for expected in self.tokens]
        if kind.lower() != b"bearer" or not any(found):
            raise Refusal(401, "authorization", "no or a wrong bearer token", {"WWW-Authenticate": "Bearer"})


@lru_cache(256)
def read_host(value: bytes) -> str | None:
    """The name or address that a header Host names, in lower case and without a port; None: it breaks the grammar."""
    found = HOST.fullmatch(value.decode("latin-1")) if len(value) <= LONGEST_HOST else None
    if found is None or int(found["port"] or 0) > 65535:
        return None
    if found["six"] is None:
        return found["name"].lower()
    try:
        return ip_address(found["six"]).compressed
    except ValueError:
        return None


def _origin_host(value: bytes) -> str | None:
    """The host of a header Origin, a scheme and a host (RFC 6454); None: it is `null` or breaks the grammar."""
    scheme = SCHEME.match(value.decode("latin-1"))
    return read_host(value[scheme.end() :]) if scheme else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _unknown(field: str) -> Refusal:
    return Refusal(403, field, "not a name in FASHION_ALLOWED_HOSTS")


def _read_allowed(name: str) -> str:
    found = read_host(name.encode())
    if found is None or ":" in name.rpartition("]")[2]:
        raise SettingsError(f"FASHION_ALLOWED_HOSTS: found {name!r}, expected names without a scheme or a port")
    return found


def _read_tokens(said: bytes) -> tuple[bytes, ...]:
    """The token as it may be sent: as it stands, and, where it has letters beyond ASCII, in UTF-8 or Latin-1."""
    token = said.strip(SPACES)
    if said and not token:
        raise SettingsError("FASHION_TOKEN: found nothing but spaces, expected a token. Leave it out to ask for none.")
    if any((byte < 32 and byte != 9) or byte == 127 for byte in token):
        raise SettingsError("FASHION_TOKEN: found a line break or a control character, which no request can send.")
    if token != said:
        log.warning("FASHION_TOKEN: the spaces or line breaks around it are not part of the token")
    sent = {token}
    try:
        sent.add(token.decode().encode("latin-1"))
    except UnicodeDecodeError:
        sent.add(token.decode("latin-1").encode())
    except UnicodeEncodeError:
        pass  # in UTF-8 alone
    return tuple(sent) if token else ()
