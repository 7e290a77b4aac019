"""What a connection may keep of the service. uvicorn bounds how long it may be idle after an answer, and nothing else.

A connection on which no request's head is whole, or whose client takes an answer too slowly, is cut; beyond a number of
connections the one that has waited longest is. One look a second at all of them finds these; a request costs nothing.
"""

import asyncio
import resource
from typing import Any

import orjson
from uvicorn.protocols.http import auto

from serving.lifetime import leave_within
from serving.load import load

PATIENCE = 10  # seconds for the head of a request, and for each window of an answer
TAKEN = 160 << 10  # bytes of an answer that a client must take in each window: 16 KB a second
LOOK = 1.0  # seconds between two looks
DRAIN = 8  # seconds that a stop waits for requests in flight; `docker stop` kills after ten
MOST_CONNECTIONS = 1000

Protocol: Any = auto.AutoHTTPProtocol  # uvicorn's, by h11 or httptools; asyncio's type would lack what is used here


class GuardedProtocol(Protocol):  # type: ignore[misc]
    """A connection."""

    most = MOST_CONNECTIONS
    looking = False

    def __init__(self, config: Any, *given: Any, **named: Any) -> None:
        config.timeout_graceful_shutdown = config.timeout_graceful_shutdown or DRAIN
        super().__init__(config, *given, **named)
        self.seen: tuple[Any, bool] = (None, True)
        self.unsent = self.unsent_before = 0
        self.since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection, and let go of another where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            waiting = (one for one in _guarded(self.connections) if one.waits and not one.transport.is_closing())
            min(waiting, key=lambda one: one.since, default=self).transport.close()  # once what it was told is sent
        if not GuardedProtocol.looking:
            _look_again(self.connections, self.loop)

    @property
    def waits(self) -> bool:
        """Whether no request is being answered on it."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def is_stuck(self, now: float) -> bool:
        """Whether it is the client who has not moved for too long."""
        state, unsent, before = (self.cycle, self.waits), self.transport.get_write_buffer_size(), self.unsent
        self.unsent = unsent
        in_service = not self.waits and not unsent  # load.py looks at how fast a body arrives
        if in_service or state != self.seen or unsent > before or self.unsent_before - unsent >= TAKEN:
            self.seen, self.unsent_before, self.since = state, unsent, now
        return bool(now - self.since > PATIENCE)

    def shutdown(self) -> None:
        """Begin to stop; uvicorn calls it for each connection."""
        if not load.stopping:
            load.stop()
            leave_within(self.config.timeout_graceful_shutdown + 1.5)
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the shape of all errors."""
        error = {"status": 400, "field": "request", "reason": "not a request of HTTP/1.1"}
        content = orjson.dumps({"error": error})
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
        if self.waits or not self.cycle.response_started:
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + content)
        self.transport.close()


def guard_connections() -> None:
    """Exchange uvicorn's protocol. Call it before BentoML configures uvicorn."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    GuardedProtocol.most = max(64, min(MOST_CONNECTIONS, open_files - 256))
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
