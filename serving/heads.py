"""The head of a request: how large it may be, and what it may say of how its body is framed.

The parser refuses what contradicts itself: Content-Length beside Transfer-Encoding, two lengths, a length that is no
number. What it lets pass and this service does not do is refused here by name, because whoever stands in front of the
service may read the same bytes otherwise.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from serving.errors import Refusal

LARGEST_HEAD = 64 << 10  # bytes of the request line and the headers; of a body's trailers as well
MAX_HEADERS = 128
LONGEST_URL = 8 << 10  # bytes; RFC 9110 asks for 8,000
PER_HEADER = 4  # bytes beside the name and the value: colon, space, line end

Header = tuple[bytes, bytes]


def check_head(version: str, url: bytes, headers: Sequence[Header]) -> bool:
    """Let a head pass.

    Args:
        version: of HTTP, such as "1.1".
        url: the request's target as it was sent.
        headers: their names in lower case.

    Returns:
        Whether the body comes in chunks.

    Raises:
        Refusal: 505, 414, 431 for its size; 400, 417 and 501 for what it asks for.
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
        raise Refusal(400, "url", "found a fragment (#), which is not part of a request")
    return is_chunked


def check_size(headers: Sequence[Header], line: int = 0) -> None:
    """Raises Refusal: 431, the headers are too many or, with a line of so many bytes before them, too large."""
    if (
        len(headers) > MAX_HEADERS
        or line + sum([len(name) + len(value) + PER_HEADER for name, value in headers]) > LARGEST_HEAD
    ):
        raise head_too_large()


def head_too_large() -> Refusal:
    """The answer to a head, or to trailers, beyond their limit."""
    return Refusal(431, "headers", f"more than {LARGEST_HEAD:,} bytes or {MAX_HEADERS} headers")


def ask_no_upgrade(headers: Sequence[Header]) -> list[Header]:
    """The headers of a request without its wish for another protocol, which a server is free to ignore (RFC 9110, 7.8).

    Raises:
        Refusal: 403, it wants a WebSocket, with which no request of HTTP/1.1 goes on.
    """
    wishes = b",".join(value.lower() for name, value in headers if name == b"upgrade")
    if b"websocket" in wishes:
        raise Refusal(403, "upgrade", "found websocket, expected a request of HTTP/1.1; no WebSocket is served here")
    return [(name, value) for name, value in headers if name != b"upgrade"]


def _check_transfer_coding(version: str, value: bytes) -> None:
    if value.strip().lower() != b"chunked":
        raise Refusal(501, "transfer-encoding", f"found {_quote(value)}, expected chunked and no other coding")
    if version == "1.0":
        raise Refusal(400, "transfer-encoding", "HTTP/1.0 has none; send Content-Length or HTTP/1.1")


def _check_target(url: bytes, headers: Sequence[Header]) -> None:
    """A target that names a host, as proxies are sent it, counts more than the header Host: they must say the same."""
    try:
        authority = urlsplit(url).netloc.lower()
    except ValueError:
        authority = b""
    if any(value.lower() != authority for name, value in headers if name == b"host"):
        raise Refusal(400, "url", f"found {_quote(url)}, expected a path, or an address of the host that Host names")


def _quote(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))
