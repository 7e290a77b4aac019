"""Per-connection limits on time and bytes. uvicorn itself only bounds the idle time after a response.

A check once a second aborts connections that do not complete a request head or read a response too slowly. Above the
maximum number of connections, the one that has been idle longest is closed. A head that is too large or uses
unsupported framing (heads.py) is refused and ends the connection before any other code sees it.
"""

import asyncio
import resource
from functools import lru_cache
from typing import Any

import httptools
from starlette.types import Message
from uvicorn.protocols.http import auto, httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from serving.errors import RETRY_AFTER, Refusal, refuse
from serving.gateway import RAW_HEADERS
from serving.heads import LARGEST_HEAD, check_head, check_size, drop_upgrade, head_too_large
from serving.load import RECEIVED, load, shutting_down

PATIENCE = 10  # seconds to complete a request head, and per window of a response
MIN_READ = 160 << 10  # response bytes that a client must read per window: 16 KB/s
CHECK_INTERVAL = 1.0  # seconds
DRAIN = 8  # seconds that a shutdown waits for requests in flight; `docker stop` kills after ten
MAX_CONNECTIONS = 1000

MAX_PIPELINED = 32  # requests sent before the first is answered
PARSE_SIZE = 32 << 10  # bytes parsed at a time; may hold 5,000 body chunks, some milliseconds of work
PAUSE = 0.02  # seconds between reads from a refused client
LINGER = 1.0  # seconds for a refused client to read the error before its connection is closed
LAST_WORD = 0.5  # seconds before the end of a shutdown at which requests in flight get a 503

CONTENT_LENGTH, CONNECTION = b"content-length", b"connection"
CLOSE = (CONNECTION, b"close")


class _Flow(FlowControl):
    """uvicorn's flow control, for connections that may hold data not yet parsed."""

    def __init__(self, transport: asyncio.Transport, connection: "GuardedProtocol") -> None:
        super().__init__(transport)
        self.connection = connection

    def resume_reading(self) -> None:
        """Resume reading now or, if unparsed data remains, later in `_resume`."""
        if self.connection.unparsed:
            self.read_paused = False
        else:
            super().resume_reading()


class WholeResponseCycle(RequestResponseCycle):
    """A request and its response. A response of known length is written at once, which is one system call, not two."""

    head: Any = None  # held until the body follows

    async def send(self, message: Any) -> None:
        """See the ASGI specification."""
        if message["type"] == "http.response.start" and any(name == CONTENT_LENGTH for name, _ in message["headers"]):
            self.head = message
            return
        head, self.head = self.head, None
        if head is None:
            await super().send(message)
        elif self._is_whole(head, message):
            self._write(head, message["body"])
        else:
            await super().send(head)
            await super().send(message)

    def _is_whole(self, head: Message, message: Message) -> bool:
        return (
            (CONTENT_LENGTH, b"%d" % len(message.get("body", b""))) in head["headers"]
            and not any(name == CONNECTION for name, _ in head["headers"])  # may end the connection
            and not (message.get("more_body") or self.flow.write_paused or self.disconnected or self.response_started)
            and self.scope["method"] != "HEAD"
        )

    def _write(self, head: Message, body: bytes) -> None:
        headers = [*self.default_headers, *head["headers"], *(() if self.keep_alive else (CLOSE,))]
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join([STATUS_LINE[head["status"]], *map(to_line, headers), b"\r\n", body]))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class GuardedProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection with limits."""

    max_connections = MAX_CONNECTIONS
    checking = False

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        self.grace = config.timeout_graceful_shutdown = config.timeout_graceful_shutdown or DRAIN
        super().__init__(config, *args, **kwargs)
        self.seen: tuple[Any, bool] = (None, True)
        self.unsent = self.unsent_before = 0
        self.since = self.loop.time()
        self.incomplete = 0  # bytes of a head or of trailers since the last complete head or body piece
        self.unparsed = b""
        self.refused = self.is_chunked = False
        self.running: Any = None  # the request being answered; `cycle` is the last pipelined one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; above the maximum, close the one that has been idle longest."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        if len(self.connections) > self.max_connections:
            idle = (one for one in _guarded(self.connections) if one.is_idle and not one.transport.is_closing())
            min(idle, key=lambda one: one.since, default=self).transport.close()  # after its write buffer is sent
        if not GuardedProtocol.checking:
            _schedule_check(self.connections, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Disconnect the running request; uvicorn only disconnects the last pipelined one."""
        self._disconnect(self.running)
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    @staticmethod
    def _disconnect(cycle: Any) -> None:
        if cycle and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    @property
    def is_idle(self) -> bool:
        """Whether no request is running or queued on this connection."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def is_stuck(self, now: float) -> bool:
        """Whether the client has made no progress for too long."""
        state, unsent, before = (self.cycle, self.is_idle), self.transport.get_write_buffer_size(), self.unsent
        self.unsent = unsent
        in_service = not self.is_idle and not unsent  # load.py checks the rate at which a body arrives
        if in_service or state != self.seen or unsent > before or self.unsent_before - unsent >= MIN_READ:
            self.seen, self.unsent_before, self.since = state, unsent, now
        return bool(now - self.since > PATIENCE)

    def data_received(self, data: bytes) -> None:
        """Parse received data; large data is parsed in parts so that other connections get their turn."""
        if len(data) > PARSE_SIZE and not (self.refused or self._is_in_sized_body()):
            self._read(data[:PARSE_SIZE])
            data = data[PARSE_SIZE:]
            if not (self.refused or self._is_in_sized_body()):
                self.unparsed, data = data, b""
        if self.unparsed or (self.refused and data):
            self.transport.pause_reading()  # until `_resume`
            self.loop.call_later(PAUSE if self.refused else 0, self._resume)
        self._read(data)

    def _resume(self) -> None:
        if self.transport.is_closing():
            return
        unparsed, self.unparsed = self.unparsed, b""
        self.data_received(unparsed)
        if not (self.unparsed or self.flow.read_paused):
            self.transport.resume_reading()

    def _is_in_sized_body(self) -> bool:
        """Whether a body with Content-Length is being read, which is cheap to parse."""
        return bool(self.cycle and self.cycle.more_body and self.scope is self.cycle.scope and not self.is_chunked)

    def _read(self, data: bytes) -> None:
        """Parse data; refuse the request if it is malformed."""
        if self.refused:
            return
        self._unset_keepalive_if_required()
        self.incomplete += len(data)
        try:
            self._feed(data)
            if self.incomplete > LARGEST_HEAD:
                raise head_too_large()
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__  # raised by a callback
            why = "cannot parse the request target" if cause else error
            malformed = Refusal(400, "request", f"not a valid HTTP/1.1 request: {why}")
            self._refuse(cause if isinstance(cause, Refusal) else malformed)

    def _feed(self, data: bytes) -> None:
        """Feed data to the parser.

        The parser stops at an Upgrade header and would leave the body unread. A new parser then reads the same head
        without that header, followed by the rest.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn

    def _head_without_upgrade(self) -> bytes:
        method, version = self.scope["method"], self.scope["http_version"]
        if method == "CONNECT":
            raise Refusal(405, "request", "Method Not Allowed")
        lines = [b"%b: %b\r\n" % header for header in drop_upgrade(self.headers)]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method.encode(), self.url, version.encode(), b"".join(lines))

    def _should_upgrade(self) -> bool:
        """Keep uvicorn from starting a request that asks for an upgrade."""
        return True

    def on_headers_complete(self) -> None:
        """Check the head and start the request."""
        self.incomplete = 0
        version = self.parser.get_http_version()
        self.is_chunked = check_head(version, self.url, self.headers)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Refusal(429, "request", f"more than {MAX_PIPELINED} pipelined requests", RETRY_AFTER)
        if version == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # else trailers would be appended to the headers of the running request

    def on_body(self, body: bytes) -> None:
        """Receive a piece of a body."""
        self.incomplete = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Receive the end of a request."""
        self.incomplete = 0
        if self.headers and not self.parser.should_upgrade():  # trailers
            check_size(self.headers)
        self.scope[RECEIVED] = True  # type: ignore[literal-required]
        super().on_message_complete()

    def shutdown(self) -> None:
        """Begin the shutdown; uvicorn calls this for each connection."""
        if not load.stopping:
            load.stop()
        self.loop.call_later(self.grace - LAST_WORD, self._cut_off)
        super().shutdown()

    def _cut_off(self) -> None:
        if not (self.is_idle or self.refused or self.running.response_started):
            self._end(shutting_down())

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse the request being read and read no more; earlier pipelined requests still get their responses."""
        self.refused = True
        is_next = not self.is_idle and (self.scope is not self.cycle.scope or not self.cycle.more_body)
        if is_next:
            self.cycle.keep_alive = False
        elif self.is_idle or (self.running is self.cycle and not self.cycle.response_started):
            self._end(refusal)
        else:
            self.transport.close()

    def _end(self, refusal: Refusal) -> None:
        """Send the error response, and close after the client had time to read it."""
        self.refused = True
        self._disconnect(self.running)
        response = refuse(refusal)
        headers = [*response.raw_headers, *RAW_HEADERS, CLOSE]
        lines = [STATUS_LINE[response.status_code], *map(to_line, headers), b"\r\n"]
        self.transport.write(b"".join((*lines, bytes(response.body))))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


@lru_cache(1024)
def to_line(header: tuple[bytes, bytes]) -> bytes:
    """A header line. Raises RuntimeError: the name or the value has characters that would end it."""
    name, value = header
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError(f"invalid header {header!r}")
    return b"%b: %b\r\n" % header


def guard_connections() -> None:
    """Replace uvicorn's HTTP protocol. Call this before BentoML configures uvicorn."""
    setattr(httptools_impl, "RequestResponseCycle", WholeResponseCycle)  # noqa: B010, mypy sees a type
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    GuardedProtocol.max_connections = max(64, min(MAX_CONNECTIONS, open_files - 256))
    auto.AutoHTTPProtocol = GuardedProtocol


def _check(connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
    now = loop.time()
    for one in [one for one in _guarded(connections) if one.is_stuck(now)]:
        one.transport.abort()
    GuardedProtocol.checking = False
    if connections:
        _schedule_check(connections, loop)


def _schedule_check(connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
    GuardedProtocol.checking = True
    loop.call_later(CHECK_INTERVAL, _check, connections, loop)


def _guarded(connections: set[Any]) -> list[GuardedProtocol]:
    """The HTTP connections, including WebSocket requests not yet refused."""
    return [one for one in connections if isinstance(one, GuardedProtocol)]
