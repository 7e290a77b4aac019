"""Access control: allowed Host and Origin headers, and a bearer token."""

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
from serving.pages import PATHS

log = logging.getLogger("bentoml.fashion")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROBED_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})  # requested by IP address, as by kubelet
# Open without a token: the pages, which load all data with the token, and the paths that probes and Prometheus request.
OPEN_PATHS = frozenset({*PATHS, "/livez", "/readyz", "/metrics"})
SPACES = b" \t\r\n\v\f"

# RFC 9110, 7.2: a name or address with an optional port. Names are dot-separated labels of letters, digits, "-", "_".
NAME = r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+"
HOST = re.compile(
    rf"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>{NAME})\.?)(?::(?P<port>[0-9]{{0,5}}))?", re.ASCII | re.IGNORECASE
)
LONGEST_HOST = 253 + 7  # characters: a name, a trailing dot, a colon and a port
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)

# Load only this service's own resources, forbid framing, and keep responses out of shared caches.
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
    """Reject requests with an unknown host or origin, or without the token.

    The host check prevents DNS rebinding, where a malicious page points its own name at 127.0.0.1.
    `FASHION_ALLOWED_HOSTS` is a comma-separated list of the service's host names; `*` allows all, for use behind a
    proxy that checks. Probes and Prometheus may use an IP address, which cannot be rebound. If `FASHION_TOKEN` is set,
    requests must send `Authorization: Bearer TOKEN`.
    """

    def __init__(self) -> None:
        """Raises SettingsError: invalid host name or token."""
        names = [name.strip() for name in os.environ.get("FASHION_ALLOWED_HOSTS", "").split(",")]
        self.any_host = "*" in names
        self.allowed = {*LOOPBACK, *(_read_allowed(name) for name in names if name not in {"", "*"})}
        self.tokens = _read_tokens(os.environb.get(b"FASHION_TOKEN", b""))

    def check(self, scope: Scope) -> None:
        """Check a request.

        Raises:
            Refusal: 400, not exactly one valid Host; 403, unknown Host or Origin; 401, missing or invalid token.
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
            return  # some load balancers probe with HTTP/1.0; no browser does
        if len(hosts) != 1:
            raise Refusal(400, "host", f"found {len(hosts)} Host headers, expected one")
        name = read_host(hosts[0])
        if name is None:
            found = hosts[0][:60].decode("latin-1")
            raise Refusal(400, "host", f"found {found!r}, expected a host name with an optional port")
        if not (self.any_host or name in self.allowed or (is_probe and _is_address(name))):
            raise _unknown("host")

    def _check_token(self, sent: Sequence[bytes]) -> None:
        """Compare in constant time."""
        kind, _, token = (sent[0] if len(sent) == 1 else b"").partition(b" ")
        found = [hmac.compare_digest(token.strip(b" \t"), expected) for expected in self.tokens]
        if kind.lower() != b"bearer" or not any(found):
            raise Refusal(401, "authorization", "missing or invalid bearer token", {"WWW-Authenticate": "Bearer"})


@lru_cache(256)
def read_host(value: bytes) -> str | None:
    """Return the host of a Host header, in lower case and without port, or None if it is malformed."""
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
    """Return the host of an Origin header (RFC 6454), or None if it is `null` or malformed."""
    scheme = SCHEME.match(value.decode("latin-1"))
    return read_host(value[scheme.end() :]) if scheme else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _unknown(field: str) -> Refusal:
    return Refusal(403, field, "not listed in FASHION_ALLOWED_HOSTS")


def _read_allowed(name: str) -> str:
    found = read_host(name.encode())
    if found is None or ":" in name.rpartition("]")[2]:
        raise SettingsError(f"FASHION_ALLOWED_HOSTS: found {name!r}, expected host names without scheme or port")
    return found


def _read_tokens(value: bytes) -> tuple[bytes, ...]:
    """Return the byte forms of the token that clients may send: as set, and non-ASCII ones in UTF-8 and Latin-1."""
    token = value.strip(SPACES)
    if value and not token:
        raise SettingsError("FASHION_TOKEN: found only whitespace, expected a token. Unset it to require none.")
    if any((byte < 32 and byte != 9) or byte == 127 for byte in token):
        raise SettingsError("FASHION_TOKEN: found a line break or control character, which no request can send.")
    if token != value:
        log.warning("FASHION_TOKEN: ignored leading or trailing whitespace")
    forms = {token}
    try:
        forms.add(token.decode().encode("latin-1"))
    except UnicodeDecodeError:
        forms.add(token.decode("latin-1").encode())
    except UnicodeEncodeError:
        pass  # UTF-8 only
    return tuple(forms) if token else ()
