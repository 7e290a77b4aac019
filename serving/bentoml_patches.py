"""Patches to BentoML's application, for behaviour that BentoML has no setting for.

- Metrics and access log: BentoML updates them during each request, which takes longer than inference, and creates a
  21 KB series for every requested path: 4,000 made-up paths take 85 MB and slow /metrics down to six seconds. The
  patch queues a note per request. In batches (after 32 notes, 20 times a second, and when /metrics is scraped) it
  updates the same metrics, for known paths only, and writes the same log lines.
- Request timeout: BentoML sets a timer for each request and never cancels it, so each request's 7 KB stay in memory
  until the timeout expires. The patch removes the timer; the endpoints bound the time to receive a body themselves.
- Tracing: BentoML checks every URL even if tracing is disabled: 6 to 9 % of a request. The patch removes the check.
- Proxy: BentoML's application imports a proxy for services that are other programs, and with it aiohttp and pyparsing:
  0.2 s and 10 MB in each worker. The patch takes its place, unless it is already imported.

tests/stress/test_without_patches.py fails once BentoML no longer needs one of them.
"""

import contextlib
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from bentoml._internal.context import server_context
from bentoml._internal.log import DATE_FORMAT, _component_name
from bentoml._internal.server.http import instruments, traffic
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from serving.metrics import Watch

BATCH_SIZE = 32  # notes: writing them blocks the event loop for 0.25 ms

PROXY = "_bentoml_impl.server.proxy"

Headers = Sequence[tuple[bytes, bytes]]


class AccessNote(NamedTuple):
    """A completed request."""

    ended: float  # seconds since 1970
    seconds: float
    client: tuple[str, int] | None
    request: tuple[str, str, str]  # scheme, method, path
    request_headers: Headers
    status: int
    response_headers: Headers


def patch_bentoml(counted_paths: Callable[[], Iterable[str]], find_watch: Callable[[], "Watch"]) -> None:
    """Apply the patches. Call this before BentoML builds its application.

    Args:
        counted_paths: returns the paths that get a metric; called when the application is built.
        find_watch: returns what runs the thread that writes metrics and log lines; called then too.
    """

    def build_recorder(app: ASGIApp, namespace: str, skip_paths: Sequence[str]) -> TrafficRecorder:
        return TrafficRecorder(app, namespace, skip_paths, frozenset(counted_paths()), find_watch())

    setattr(instruments, "RunnerTrafficMetricsMiddleware", build_recorder)  # noqa: B010, mypy sees a type
    setattr(traffic, "TimeoutMiddleware", _no_middleware)  # noqa: B010
    tracing = import_module("opentelemetry.instrumentation.asgi")
    setattr(tracing, "OpenTelemetryMiddleware", _no_middleware)  # noqa: B010
    unused = ModuleType(PROXY)
    setattr(unused, "create_proxy_app", _no_proxy)  # noqa: B010
    sys.modules.setdefault(PROXY, unused)


def _no_middleware(app: ASGIApp, **options: Any) -> ASGIApp:
    return app


def _no_proxy(service: object) -> ASGIApp:
    raise RuntimeError("BentoML's proxy is patched out: this service needs none")


class TrafficRecorder(instruments.RunnerTrafficMetricsMiddleware):
    """BentoML's metrics and access log, written in batches."""

    app: ASGIApp

    def __init__(
        self, app: ASGIApp, namespace: str, skip_paths: Sequence[str], counted_paths: AbstractSet[str], watch: "Watch"
    ) -> None:
        super().__init__(app, namespace, skip_paths)
        self.counted_paths, self.watch = counted_paths, watch
        watch.add_job(self.write)
        self.skipped = frozenset(skip_paths)
        self.notes: deque[AccessNote] = deque()
        self.running: Counter[str] = Counter()
        self.series, self.in_progress = cache(self._series), cache(self._in_progress)
        self.last_request = cache(self._last_request)
        self.writing = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request and queue a note of its response."""
        path = str(scope.get("path"))
        if scope["type"] != "http" or path in self.skipped:
            if path == "/metrics":
                self.watch.catch_up()
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        start: Message = {}

        async def send_and_note(message: Message) -> None:
            nonlocal start
            await send(message)
            if message["type"] == "http.response.start":
                start = message
            elif not message.get("more_body", False):
                seconds, request = time.perf_counter() - began, (scope["scheme"], scope["method"], path)
                response = start["status"], start["headers"]
                note = AccessNote(time.time(), seconds, scope["client"], request, scope["headers"], *response)
                self.notes.append(note)
                if len(self.notes) >= BATCH_SIZE:
                    self.write()

        counted = path if path in self.counted_paths else ""
        self.running[counted] += 1
        try:
            await self.app(scope, receive, send_and_note)
        finally:
            self.running[counted] -= 1

    def write(self) -> None:
        """Update the metrics and write a log line for each queued note; no-op while another thread does."""
        if self.writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self.writing.release()

    def _write(self) -> None:
        if not self._is_setup:
            self._setup()
        notes = [self.notes.popleft() for _ in range(len(self.notes))]
        seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        for note in notes:
            if note.request[2] in self.counted_paths:
                seconds[note.request[2], note.status].append(note.seconds)
        for (path, status), some in seconds.items():
            total, duration = self.series(path, status)
            total.inc(len(some))
            _observe(duration, some)
        if notes:
            self.watch.answered((note.request[2], note.status, note.seconds) for note in notes)
            self.last_request().set(notes[-1].ended)
            with contextlib.suppress(OSError):  # a full disk loses log lines, not responses
                sys.stdout.write("".join(map(_describe, notes)))
                sys.stdout.flush()
        for path in self.counted_paths & self.running.keys():
            self.in_progress(path).set(self.running[path])

    def _series(self, path: str, status: int) -> tuple[Any, Any]:
        names = {**_names(), "endpoint": path, "http_response_code": status}
        return self.metrics_request_total.labels(**names), self.metrics_request_duration.labels(**names)

    def _in_progress(self, path: str) -> Any:
        return self.metrics_request_in_progress.labels(endpoint=path, **_names())

    def _last_request(self) -> Any:
        return self.metrics_last_request_timestamp.labels(**_names())


def _names() -> dict[str, str | None]:
    return {
        "service_name": server_context.bento_name,
        "service_version": server_context.bento_version,
        "runner_name": server_context.service_name,
    }


def _observe(histogram: Any, values: Sequence[float]) -> None:
    """As `histogram.observe` for each value, but with one update of each number."""
    for bucket, count in Counter(bisect_left(histogram._upper_bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(values))


def _describe(note: AccessNote) -> str:
    """A line in the format of BentoML's access log; line breaks in the path are escaped."""
    address = f"{note.client[0]}:{note.client[1]}" if note.client else "_"
    length, kind = _header(note.request_headers, b"content-length"), _header(note.response_headers, b"content-type")
    about = _describe_both(note.request, length, note.status, kind, _header(note.response_headers, b"content-length"))
    return f"{_prefix(int(note.ended))} {address} {about} {note.seconds * 1000:.3f}ms\n"


@lru_cache(64)
def _describe_both(request: tuple[str, str, str], length: bytes, status: int, kind: bytes, answered: bytes) -> str:
    """The request and its response."""
    scheme, method, path = request
    path = path if path.isascii() and path.isprintable() else ascii(path)[1:-1]
    lengths, media_type = (length.decode("latin-1"), answered.decode("latin-1")), kind.decode("latin-1")
    return (
        f"(scheme={scheme},method={method},path={path},length={lengths[0]}) "
        f"(status={status},type={media_type},length={lengths[1]})"
    )


def _header(headers: Headers, name: bytes) -> bytes:
    for key, value in headers:
        if key == name:
            return value
    return b""


@lru_cache(4)
def _prefix(second: int) -> str:
    return f"{time.strftime(DATE_FORMAT, time.localtime(second))} [INFO] [{_component_name()}]"
