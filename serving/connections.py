"""What a connection may take of the service, in time and in bytes. uvicorn bounds how long it may be idle after an
answer, and nothing else.

A connection on which no request's head is whole, or whose client takes an answer too slowly, is cut; beyond a number of
connections the one that has waited longest is. One look a second at all of them finds these. A head that is too large,
or that frames its body in a way that is not done here (heads.py), is refused and ends the connection, before anything
else looks at it.
"""

import asyncio
import resource
from typing import Any

import httptools
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.errors import RETRY_AFTER, Refusal, refuse
from serving.gateway import RAW_HEADERS
from serving.heads import LARGEST_HEAD, ask_no_upgrade, check_head, check_size, head_too_large
from serving.load import load

PATIENCE = 10  # seconds for the head of a request, and for each window of an answer
TAKEN = 160 << 10  # bytes of an answer that a client must take in each window: 16 KB a second
LOOK = 1.0  # seconds between two looks
DRAIN = 8  # seconds that a stop waits for requests in flight; `docker stop` kills after ten
MAX_CONNECTIONS = 1000

MAX_PIPELINED = 32  # requests that a client sends before the first is answered
PART = 32 << 10  # bytes parsed at a time, in which there may be 5,000 chunks of a body: some milliseconds
PAUSE = 0.02  # seconds between two looks at what a refused client still sends
LINGER = 1.0  # seconds in which a refused client may read why, before its connection is closed
LAST_WORD = 0.5  # seconds before the end of a stop at which those in flight are told


class _Flow(FlowControl):
    """uvicorn's flow control, but for a connection of which something was read and waits to be parsed."""

    def __init__(self, transport: asyncio.Transport, connection: "GuardedProtocol") -> None:
        super().__init__(transport)
        self.connection = connection

    def resume_reading(self) -> None:
        """Read on, now or, once that is parsed, by `_go_on`."""
        if self.connection.rest:
            self.read_paused = False
        else:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """A connection."""

    most = MAX_CONNECTIONS
    looking = False

    def __init__(self, config: Any, *given: Any, **named: Any) -> None:
        self.grace = config.timeout_graceful_shutdown = config.timeout_graceful_shutdown or DRAIN
        super().__init__(config, *given, **named)
        self.seen: tuple[Any, bool] = (None, True)
        self.unsent = self.unsent_before = 0
        self.since = self.loop.time()
        self.unread = 0  # bytes since the last head or piece of a body was whole: of a head, or of trailers
        self.rest = b""  # read, and not yet parsed
        self.refused = self.is_chunked = False
        self.running: Any = None  # the request that is being answered; `cycle` is the last one of those behind it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and let go of another where there are too many."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        if len(self.connections) > self.most:
            waiting = (one for one in _guarded(self.connections) if one.waits and not one.transport.is_closing())
            min(waiting, key=lambda one: one.since, default=self).transport.close()  # once what it was told is sent
        if not GuardedProtocol.looking:
            _look_again(self.connections, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let those in flight know; uvicorn tells the last of them alone."""
        self._leave(self.running)
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    @staticmethod
    def _leave(cycle: Any) -> None:
        if cycle and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    @property
    def waits(self) -> bool:
        """Whether no request is being answered on it, or waits to be."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def is_stuck(self, now: float) -> bool:
        """Whether it is the client who has not moved for too long."""
        state, unsent, before = (self.cycle, self.waits), self.transport.get_write_buffer_size(), self.unsent
        self.unsent = unsent
        in_service = not self.waits and not unsent  # load.py looks at how fast a body arrives
        if in_service or state != self.seen or unsent > before or self.unsent_before - unsent >= TAKEN:
            self.seen, self.unsent_before, self.since = state, unsent, now
        return bool(now - self.since > PATIENCE)

    def data_received(self, data: bytes) -> None:
        """Read on. Of much that is here at once a part, so that others have their turn before the next."""
        if len(data) > PART and not (self.refused or self._is_in_sized_body()):
            self._read(data[:PART])
            data = data[PART:]
            if not (self.refused or self._is_in_sized_body()):
                self.rest, data = data, b""
        if self.rest or (self.refused and data):
            self.transport.pause_reading()  # until `_go_on`
            self.loop.call_later(PAUSE if self.refused else 0, self._go_on)
        self._read(data)

    def _go_on(self) -> None:
        if self.transport.is_closing():
            return
        rest, self.rest = self.rest, b""
        self.data_received(rest)
        if not (self.rest or self.flow.read_paused):
            self.transport.resume_reading()

    def _is_in_sized_body(self) -> bool:
        """Whether a body with Content-Length is read, which costs no more than its bytes."""
        return bool(self.cycle and self.cycle.more_body and self.scope is self.cycle.scope and not self.is_chunked)

    def _read(self, data: bytes) -> None:
        """Have it parsed; what cannot be read is refused."""
        if self.refused:
            return
        self._unset_keepalive_if_required()
        self.unread += len(data)
        try:
            self._feed(data)
            if self.unread > LARGEST_HEAD:
                raise head_too_large()
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__  # what a callback raised
            why = "its target cannot be read" if cause else error
            malformed = Refusal(400, "request", f"not a request of HTTP/1.1: {why}")
            self._refuse(cause if isinstance(cause, Refusal) else malformed)

    def _feed(self, data: bytes) -> None:
        """Give it to the parser.

        At a request for another protocol the parser stops, and would leave the request's body unread. Another parser
        then reads the same head again, without that wish, and what follows it.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it

    def _head_without_upgrade(self) -> bytes:
        method, version = self.scope["method"], self.scope["http_version"]
        if method == "CONNECT":
            raise Refusal(405, "request", "Method Not Allowed")
        lines = [b"%b: %b\r\n" % header for header in ask_no_upgrade(self.headers)]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method.encode(), self.url, version.encode(), b"".join(lines))

    def _should_upgrade(self) -> bool:
        """Have uvicorn start nothing yet at a request for another protocol."""
        return True

    def on_headers_complete(self) -> None:
        """Start to answer a request, if its head is one that may pass."""
        self.unread = 0
        version = self.parser.get_http_version()
        self.is_chunked = check_head(version, self.url, self.headers)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Refusal(429, "request", f"more than {MAX_PIPELINED} requests wait on this connection", RETRY_AFTER)
        if version == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # or trailers would become headers of a request that is being answered

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self.unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self.unread = 0
        if self.headers and not self.parser.should_upgrade():  # trailers
            check_size(self.headers)
        super().on_message_complete()

    def shutdown(self) -> None:
        """Begin to stop; uvicorn calls it for each connection."""
        if not load.stopping:
            load.stop()
        self.loop.call_later(self.grace - LAST_WORD, self._cut_off)
        super().shutdown()

    def _cut_off(self) -> None:
        if not (self.waits or self.refused or self.running.response_started):
            self._end(Refusal(503, "service", "it is stopping; come back", RETRY_AFTER))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is being read, and read no more. Requests before it keep their answers, the last ones then."""
        self.refused = True
        is_next = not self.waits and (self.scope is not self.cycle.scope or not self.cycle.more_body)
        if is_next:
            self.cycle.keep_alive = False
        elif self.waits or (self.running is self.cycle and not self.cycle.response_started):
            self._end(refusal)
        else:
            self.transport.close()

    def _end(self, refusal: Refusal) -> None:
        """Say why, in the shape of all errors, and close, once the client had time to read it."""
        self.refused = True
        self._leave(self.running)
        response = refuse(refusal)
        headers = [*response.raw_headers, *RAW_HEADERS, (b"connection", b"close")]
        lines = [STATUS_LINE[response.status_code], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
        self.transport.write(b"".join((*lines, bytes(response.body))))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


def guard_connections() -> None:
    """Exchange uvicorn's protocol. Call it before BentoML configures uvicorn."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    GuardedProtocol.most = max(64, min(MAX_CONNECTIONS, open_files - 256))
    auto.AutoHTTPProtocol = GuardedProtocol


def _look(connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
    now = loop.time()
    for one in [one for one in _guarded(connections) if one.is_stuck(now)]:
        one.transport.abort()
    GuardedProtocol.looking = False
    if connections:
        _look_again(connections, loop)


def _look_again(connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
    GuardedProtocol.looking = True
    loop.call_later(LOOK, _look, connections, loop)


def _guarded(connections: set[Any]) -> list[GuardedProtocol]:
    """Those of HTTP; a WebSocket's is among them until it is refused."""
    return [one for one in connections if isinstance(one, GuardedProtocol)]
