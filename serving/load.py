"""Admission control for requests with a body: bodies being received, requests being processed, and memory.

Receiving a body costs little, processing a request costs a core. They have separate limits, so slow clients do not take
slots from others. A check once a second finds bodies that arrive too slowly; a request whose body arrives at once sets
no timer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from starlette.types import Scope

from serving.errors import RETRY, RETRY_AFTER, Refusal

MAX_ACTIVE = 128  # requests with a complete body; more get a 429
MAX_PICTURES = 1024  # queued for decoding over all requests: half a minute on two cores if they are photos
MAX_LARGE = 64  # of these, large ones that take up to a second each; as many as a form may have
MIN_RATE = 16 << 10  # bytes per second that a body must arrive at, in each window
WINDOW = 5  # seconds
MAX_ARRIVING = 256  # bodies being received; above it, the slowest one is dropped
MAX_BYTES = 256 << 20  # of bodies in memory, over all requests
CHECK_INTERVAL = 1.0  # seconds between checks of the bodies being received
LAST_CALL = 4  # seconds left to receive a body once the service is shutting down
HELD = "fashion.held"  # key in a request's scope: bytes of its body in memory
RECEIVED = "fashion.received"  # key in a request's scope: its body is complete


class Arrival:
    """Context manager around receiving a body. It ends the request if the body is too slow or memory runs out.

    Raises:
        TimeoutError: the body did not arrive in time.
        Refusal: the service is at capacity or shutting down.
    """

    def __init__(self, scope: Scope, seconds: float) -> None:
        self.scope, self.began = scope, asyncio.get_running_loop().time()
        self.until, self.size = self.began + seconds, 0
        self.window, self.size_before = self.began + WINDOW, 0
        self.deadline = asyncio.timeout(None)  # set by a check, so that no request needs its own timer

    async def __aenter__(self) -> "Arrival":
        load.enter(self)
        await self.deadline.__aenter__()
        return self

    def keep(self, size: int) -> None:
        """Count received bytes that stay in memory."""
        self.size += size
        load.keep(self.scope, size)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        load.leave(self)
        try:
            await self.deadline.__aexit__(kind, error, trace)
        except TimeoutError:
            if load.stopping:
                raise shutting_down() from None
            raise
        if error is None and load.active > MAX_ACTIVE:
            raise too_busy()

    def is_late(self, now: float) -> bool:
        """Whether it is past its deadline or received too little in the last window."""
        if now >= self.window:
            if self.size - self.size_before < MIN_RATE * WINDOW:
                return True
            self.window, self.size_before = now + WINDOW, self.size
        return now >= self.until

    def rate(self, now: float) -> float:
        """Bytes per second so far, biased in favour of bodies that just began."""
        return (self.size + MIN_RATE) / (now - self.began + 1)


class ActiveRequest:
    """Context manager around a request with a body, from its head until its response."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __enter__(self) -> None:
        """Raises Refusal: too many requests are active."""
        if load.active >= MAX_ACTIVE:
            raise too_busy()
        load.requests += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        load.requests -= 1
        load.bytes -= self.scope.get(HELD, 0)


class Load:
    """The current load of this process: its requests with a body."""

    def __init__(self) -> None:
        self.requests, self.bytes, self.stopping = 0, 0, False
        self.pictures, self.large = 0, 0  # queued for decoding
        self.arriving: dict[Arrival, None] = {}  # an ordered set
        self.dropped: set[Arrival] = set()  # timed out; their requests are about to end
        self.watched_by: asyncio.AbstractEventLoop | None = None

    @property
    def active(self) -> int:
        """Number of requests with a complete body."""
        return self.requests - len(self.arriving) - len(self.dropped)

    @contextmanager
    def decode(self, pictures: int, large: int) -> Iterator[None]:
        """Count pictures while they are decoded. Raises Refusal if too many are queued."""
        for waiting, more, most in ((self.pictures, pictures, MAX_PICTURES), (self.large, large, MAX_LARGE)):
            if more and waiting + more > most:
                kind = "large pictures" if most == MAX_LARGE else "pictures"
                raise Refusal(429, "request", f"already decoding {most} {kind}; {RETRY}", RETRY_AFTER)
        self.pictures += pictures
        self.large += large
        try:
            yield
        finally:
            self.pictures -= pictures
            self.large -= large

    def keep(self, scope: Scope, size: int) -> None:
        """Count bytes of a request's body that stay in memory until it ends. Raises Refusal if there are too many."""
        scope[HELD] = scope.get(HELD, 0) + size
        self.bytes += size
        if self.bytes > MAX_BYTES:
            raise Refusal(429, "body", f"request bodies in memory exceed {MAX_BYTES:,} bytes; {RETRY}", RETRY_AFTER)

    def enter(self, arrival: Arrival) -> None:
        """Register a body to receive; drop the slowest one if there are too many."""
        if len(self.arriving) >= MAX_ARRIVING:
            self._drop_slowest()
        self.arriving[arrival] = None
        if self.stopping:
            arrival.until = min(arrival.until, arrival.began + LAST_CALL)
        loop = asyncio.get_running_loop()
        if self.watched_by is not loop:
            self.watched_by = loop
            loop.call_later(CHECK_INTERVAL, self._check)

    def leave(self, arrival: Arrival) -> None:
        """Unregister a body that is complete or has failed."""
        self.arriving.pop(arrival, None)
        self.dropped.discard(arrival)

    def stop(self) -> None:
        """Start the shutdown: shorten the deadline of every body."""
        self.stopping = True
        until = asyncio.get_running_loop().time() + LAST_CALL
        for arrival in self.arriving:
            arrival.until = min(arrival.until, until)

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for arrival in [arrival for arrival in self.arriving if arrival.is_late(now)]:
            self._drop(arrival, now)
        self.watched_by = loop if self.arriving else None
        if self.arriving:
            loop.call_later(CHECK_INTERVAL, self._check)

    def _drop_slowest(self) -> None:
        now = asyncio.get_running_loop().time()
        self._drop(min(self.arriving, key=lambda arrival: arrival.rate(now)), now)

    def _drop(self, arrival: Arrival, now: float) -> None:
        del self.arriving[arrival]  # its deadline can be set only once
        self.dropped.add(arrival)
        arrival.deadline.reschedule(now)


def too_busy() -> Refusal:
    """The response above the limit of active requests."""
    return Refusal(429, "request", f"already processing {MAX_ACTIVE} requests; {RETRY}", RETRY_AFTER)


def shutting_down() -> Refusal:
    """The response to requests that a shutdown cuts off."""
    return Refusal(503, "service", f"the service is shutting down; {RETRY}", RETRY_AFTER)


load = Load()
