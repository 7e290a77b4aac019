"""What requests with a body may take of the service: places to arrive in, places to be answered in, memory.

A body that is on its way costs little, one that is being answered costs a core: they are bounded apart, so that clients
who send slowly do not take the places of others. One look a second finds the bodies that are too slow; a request whose
body is here at once sets no timer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from starlette.types import Scope

from serving.errors import RETRY_AFTER, Refusal

MAX_IN_WORK = 128  # requests whose body is here; the next one is told to come back
MAX_PICTURES = 1024  # of all requests, that wait to be decoded: half a minute on two cores, if they are photos
MAX_LARGE = 64  # of these, that take up to a second each; as many as a form may have
PACE = 16 << 10  # bytes a second that a body must arrive with, in each window
WINDOW = 5  # seconds
MAX_ARRIVING = 256  # bodies; for the next one the slowest is given up
MAX_BYTES = 256 << 20  # of bodies in memory, of all requests together
LOOK = 1.0  # seconds between two looks at the bodies that arrive
LAST_CALL = 4  # seconds that bodies have to arrive in once the service was told to stop
HELD = "fashion.held"  # in a request's scope: how many bytes of its body are in memory


class Arrival:
    """A body that is on its way. Within its block a body that is too slow, or too many bytes, end the request.

    Raises:
        TimeoutError: it did not arrive in time.
        Refusal: no room for it, or the service stops.
    """

    def __init__(self, scope: Scope, seconds: float) -> None:
        self.scope, self.began = scope, asyncio.get_running_loop().time()
        self.until, self.size = self.began + seconds, 0
        self.window, self.size_before = self.began + WINDOW, 0
        self.deadline = asyncio.timeout(None)  # set by a look, so that it costs no timer

    async def __aenter__(self) -> "Arrival":
        load.enter(self)
        await self.deadline.__aenter__()
        return self

    def keep(self, size: int) -> None:
        """Count bytes that came and stay in memory."""
        self.size += size
        self.scope[HELD] = self.size
        load.bytes += size
        if load.bytes > MAX_BYTES:
            raise Refusal(429, "body", f"{MAX_BYTES:,} bytes are in memory; come back", RETRY_AFTER)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        load.leave(self)
        try:
            await self.deadline.__aexit__(kind, error, trace)
        except TimeoutError:
            if load.stopping:
                raise Refusal(503, "service", "it is stopping; come back", RETRY_AFTER) from None
            raise
        if error is None and load.in_work > MAX_IN_WORK:
            raise too_busy()

    def is_late(self, now: float) -> bool:
        """Whether its time is over, or it brought too little in the last window."""
        if now >= self.window:
            if self.size - self.size_before < PACE * WINDOW:
                return True
            self.window, self.size_before = now + WINDOW, self.size
        return now >= self.until

    def pace(self, now: float) -> float:
        """Bytes a second so far, in the favour of those that just began."""
        return (self.size + PACE) / (now - self.began + 1)


class LoadWork:
    """A request with a body, from its head until it is answered: `with Work(scope): ...`."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __enter__(self) -> None:
        """Raises Refusal: too many are being answered."""
        if load.in_work >= MAX_IN_WORK:
            raise too_busy()
        load.requests += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        load.requests -= 1
        load.bytes -= self.scope.get(HELD, 0)


class Load:
    """The requests with a body in this process."""

    def __init__(self) -> None:
        self.requests, self.bytes, self.stopping = 0, 0, False
        self.pictures, self.large = 0, 0  # that wait to be decoded
        self.arriving: dict[Arrival, None] = {}  # in their order
        self.given_up: set[Arrival] = set()  # whose requests are about to be told so
        self.watched_by: asyncio.AbstractEventLoop | None = None

    @property
    def in_work(self) -> int:
        """Requests whose body is here."""
        return self.requests - len(self.arriving) - len(self.given_up)

    @contextmanager
    def decode(self, pictures: int, large: int) -> Iterator[None]:
        """Count pictures while they are decoded; raises Refusal where too many wait."""
        for waiting, more, most in ((self.pictures, pictures, MAX_PICTURES), (self.large, large, MAX_LARGE)):
            if more and waiting + more > most:
                kind = "large pictures" if most == MAX_LARGE else "pictures"
                raise Refusal(429, "request", f"{most} {kind} are being read; come back", RETRY_AFTER)
        self.pictures += pictures
        self.large += large
        try:
            yield
        finally:
            self.pictures -= pictures
            self.large -= large

    def enter(self, arrival: Arrival) -> None:
        """Make room for a body."""
        if len(self.arriving) >= MAX_ARRIVING:
            self._give_up_slowest()
        self.arriving[arrival] = None
        if self.stopping:
            arrival.until = min(arrival.until, arrival.began + LAST_CALL)
        loop = asyncio.get_running_loop()
        if self.watched_by is not loop:
            self.watched_by = loop
            loop.call_later(LOOK, self._look)

    def leave(self, arrival: Arrival) -> None:
        """It is here, or never will be."""
        self.arriving.pop(arrival, None)
        self.given_up.discard(arrival)

    def stop(self) -> None:
        """Give bodies a last call."""
        self.stopping = True
        until = asyncio.get_running_loop().time() + LAST_CALL
        for arrival in self.arriving:
            arrival.until = min(arrival.until, until)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for arrival in [arrival for arrival in self.arriving if arrival.is_late(now)]:
            self._give_up(arrival, now)
        self.watched_by = loop if self.arriving else None
        if self.arriving:
            loop.call_later(LOOK, self._look)

    def _give_up_slowest(self) -> None:
        now = asyncio.get_running_loop().time()
        self._give_up(min(self.arriving, key=lambda arrival: arrival.pace(now)), now)

    def _give_up(self, arrival: Arrival, now: float) -> None:
        del self.arriving[arrival]  # a deadline can be set once only
        self.given_up.add(arrival)
        arrival.deadline.reschedule(now)


def too_busy() -> Refusal:
    """The answer beyond the cap."""
    return Refusal(429, "request", f"{MAX_IN_WORK} requests are being answered; come back", RETRY_AFTER)


load = Load()
