"""What is exchanged in BentoML's application. It has no setting for any of it.

- Its metrics and its access log do their work during each request, which takes longer than the model does; and each
  path asked for becomes a series of its own, 21 KB each: 4,000 made-up paths take 85 MB, and /metrics then takes six
  seconds. Here a request leaves a note. After every 32, twenty times a second, and when /metrics is asked for, the same
  metrics are counted, for known paths, and the same lines written.
- It sets a timer for each request and never cancels it, so that a request's 7 KB stay until its timeout has passed.
  Here, there is no such timer: the endpoints bound how long a body may take, and nothing else waits.
- Its tracing asks of each URL whether it is traced, even where none is: 6 to 9 % of a request. Here it is not there.

tests/journeys/test_without_patches.py fails once BentoML needs one of them no longer.
"""

import contextlib
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from bentoml._internal.context import server_context
from bentoml._internal.log import DATE_FORMAT, _component_name
from bentoml._internal.server.http import instruments, traffic
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Watch

AT_ONCE = 32  # notes: a quarter of a millisecond, in which nobody is answered

Headers = Sequence[tuple[bytes, bytes]]


class AccessNote(NamedTuple):
    """A request that was answered."""

    ended: float  # seconds since 1970
    seconds: float
    client: tuple[str, int] | None
    request: tuple[str, str, str]  # scheme, method, path
    asked: Headers
    status: int
    answered: Headers


def patch_bentoml(counted_paths: Callable[[], Iterable[str]], watch: Watch) -> None:
    """Exchange them, before BentoML builds its application.

    Args:
        counted_paths: called when it is built; those with a metric.
        watch: whose thread writes.
    """

    def open_journal(app: ASGIApp, namespace: str, skip_paths: Sequence[str]) -> Journal:
        return Journal(app, namespace, skip_paths, frozenset(counted_paths()), watch)

    setattr(instruments, "RunnerTrafficMetricsMiddleware", open_journal)  # noqa: B010, mypy sees a type
    setattr(traffic, "TimeoutMiddleware", _nothing)  # noqa: B010
    tracing = import_module("opentelemetry.instrumentation.asgi")
    setattr(tracing, "OpenTelemetryMiddleware", _nothing)  # noqa: B010


def _nothing(app: ASGIApp, **named: Any) -> ASGIApp:
    """A middleware that is not there."""
    return app


class Journal(instruments.RunnerTrafficMetricsMiddleware):
    """BentoML's metrics and its access log, written from notes."""

    app: ASGIApp

    def __init__(
        self, app: ASGIApp, namespace: str, skip_paths: Sequence[str], counted_paths: AbstractSet[str], watch: Watch
    ) -> None:
        super().__init__(app, namespace, skip_paths)
        self.counted_paths, self.watch = counted_paths, watch
        watch.at_each_look(self.write)
        self.skipped = frozenset(skip_paths)
        self.notes: deque[AccessNote] = deque()
        self.running: Counter[str] = Counter()
        self.series = cache(self._series)
        self.writing = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it was answered."""
        path = str(scope.get("path"))
        if scope["type"] != "http" or path in self.skipped:
            if path == "/metrics":
                self.watch.catch_up()
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        answer: Message = {}

        async def send_and_note(message: Message) -> None:
            nonlocal answer
            await send(message)
            if message["type"] == "http.response.start":
                answer = message
            elif not message.get("more_body", False):
                seconds, request = time.perf_counter() - began, (scope["scheme"], scope["method"], path)
                said = answer["status"], answer["headers"]
                self.notes.append(AccessNote(time.time(), seconds, scope["client"], request, scope["headers"], *said))
                if len(self.notes) >= AT_ONCE:
                    self.write()

        counted = path if path in self.counted_paths else ""
        self.running[counted] += 1
        try:
            await self.app(scope, receive, send_and_note)
        finally:
            self.running[counted] -= 1

    def write(self) -> None:
        """Count what was noted, and write a line each; while another thread does, nothing."""
        if self.writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self.writing.release()

    def _write(self) -> None:
        if not self._is_setup:
            self._setup()
        notes = [self.notes.popleft() for _ in range(len(self.notes))]
        for note in notes:
            if note.request[2] in self.counted_paths:
                total, duration = self.series(note.request[2], note.status)
                total.inc()
                duration.observe(note.seconds)
        if notes:
            self.metrics_last_request_timestamp.labels(**_names()).set(notes[-1].ended)
            with contextlib.suppress(OSError):  # a disk that is full loses lines, not answers
                sys.stdout.write("".join(map(_describe, notes)))
                sys.stdout.flush()
        for path in self.counted_paths & self.running.keys():
            self.metrics_request_in_progress.labels(endpoint=path, **_names()).set(self.running[path])

    def _series(self, path: str, status: int) -> tuple[Any, Any]:
        names = {**_names(), "endpoint": path, "http_response_code": status}
        return self.metrics_request_total.labels(**names), self.metrics_request_duration.labels(**names)


def _names() -> dict[str, str | None]:
    return {
        "service_name": server_context.bento_name,
        "service_version": server_context.bento_version,
        "runner_name": server_context.service_name,
    }


def _describe(note: AccessNote) -> str:
    """A line as BentoML's access log has it; a line break in a path is not one in the log."""
    address = "{}:{}".format(*note.client) if note.client else "_"
    scheme, method, path = note.request
    path = path if path.isascii() and path.isprintable() else ascii(path)[1:-1]
    length, kind = _header(note.asked, b"content-length"), _header(note.answered, b"content-type")
    asked = f"scheme={scheme},method={method},path={path},length={length}"
    answered = f"status={note.status},type={kind},length={_header(note.answered, b'content-length')}"
    return f"{_prefix(int(note.ended))} {address} ({asked}) ({answered}) {note.seconds * 1000:.3f}ms\n"


def _header(headers: Headers, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


@lru_cache(4)
def _prefix(second: int) -> str:
    return f"{time.strftime(DATE_FORMAT, time.localtime(second))} [INFO] [{_component_name()}]"
