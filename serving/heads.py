"""Checks of the request head: its size, and how it frames the body.

The parser refuses contradictions: Content-Length with Transfer-Encoding, two lengths, a length that is not a number.
This module refuses the unsupported framings that the parser accepts, because a proxy in front of the service may
interpret the same bytes differently (request smuggling).
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from serving.errors import Refusal

LARGEST_HEAD = 64 << 10  # bytes of the request line and headers; also of trailers
MAX_HEADERS = 128
LONGEST_URL = 8 << 10  # bytes; RFC 9110 recommends at least 8,000
PER_HEADER = 4  # bytes in addition to name and value: colon, space, line end

Header = tuple[bytes, bytes]


def check_head(version: str, url: bytes, headers: Sequence[Header]) -> bool:
    """Check a request head.

    Args:
        version: HTTP version, such as "1.1".
        url: the request target as sent.
        headers: with names in lower case.

    Returns:
        Whether the body is chunked.

    Raises:
        Refusal: 505 for the version; 414 and 431 for the size; 400, 417 and 501 for unsupported content.
    """
    if version not in ("1.1", "1.0"):
        raise Refusal(505, "request", f"found HTTP/{version}, expected HTTP/1.1")
    if len(url) > LONGEST_URL:
        raise Refusal(414, "url", f"{len(url):,} bytes, expected at most {LONGEST_URL:,}")
    check_size(headers, len(url))
    is_chunked = False
    for name, value in headers:
        if name == b"transfer-encoding":
            is_chunked = True
            _check_transfer_coding(version, value)
        elif name == b"expect" and value.lower() != b"100-continue":
            raise Refusal(417, "expect", f"found {_quote(value)}, expected 100-continue or none")
    if not url.startswith((b"/", b"*")):
        _check_target(url, headers)
    if b"#" in url:
        raise Refusal(400, "url", "found a fragment (#), expected a URL without one")
    return is_chunked


def check_size(headers: Sequence[Header], line: int = 0) -> None:
    """Check the number and size of headers. `line`: bytes of the request line. Raises Refusal: 431."""
    if (
        len(headers) > MAX_HEADERS
        or line + sum([len(name) + len(value) + PER_HEADER for name, value in headers]) > LARGEST_HEAD
    ):
        raise head_too_large()


def head_too_large() -> Refusal:
    """The response to a head, or to trailers, above the limit."""
    return Refusal(431, "headers", f"more than {LARGEST_HEAD:,} bytes or {MAX_HEADERS} headers")


def drop_upgrade(headers: Sequence[Header]) -> list[Header]:
    """Return the headers without Upgrade, which a server may ignore (RFC 9110, 7.8).

    Raises:
        Refusal: 403, a WebSocket handshake, which cannot continue as an HTTP/1.1 request.
    """
    protocols = b",".join(value.lower() for name, value in headers if name == b"upgrade")
    if b"websocket" in protocols:
        raise Refusal(403, "upgrade", "found websocket, expected plain HTTP/1.1; WebSockets are not supported")
    return [(name, value) for name, value in headers if name != b"upgrade"]


def _check_transfer_coding(version: str, value: bytes) -> None:
    if value.strip().lower() != b"chunked":
        raise Refusal(501, "transfer-encoding", f"found {_quote(value)}, expected chunked only")
    if version == "1.0":
        raise Refusal(400, "transfer-encoding", "not supported in HTTP/1.0; send Content-Length or use HTTP/1.1")


def _check_target(url: bytes, headers: Sequence[Header]) -> None:
    """An absolute-form target, as sent to proxies, takes precedence over the Host header, so both must match."""
    try:
        authority = urlsplit(url).netloc.lower()
    except ValueError:
        authority = b""
    if any(value.lower() != authority for name, value in headers if name == b"host"):
        raise Refusal(400, "url", f"found {_quote(url)}, expected a path, or a URL whose host matches the Host header")


def _quote(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))
