"""Two middlewares of BentoML that callers could fill its memory with, exchanged. It has no setting for either.

- It counts each path it is asked for as a series of its own, 21 KB each: 4,000 made-up paths take 85 MB, and /metrics
  then takes six seconds. Here, known paths are counted. It also looks each series up by its five labels several times a
  request; here, once.
- It sets a timer for each request and never cancels it, so that a request's 7 KB stay until its timeout has passed.
  Here, there is no such timer: the endpoints bound how long a body may take, and nothing else waits.
"""

from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any

from bentoml._internal.server.http import instruments, traffic
from starlette.types import ASGIApp, Receive, Scope, Send


def patch_bentoml(counted_paths: AbstractSet[str]) -> None:
    """Exchange both. Call it before BentoML builds its application."""

    class KnownPaths(instruments.RunnerTrafficMetricsMiddleware):
        app: ASGIApp

        def _setup(self, *given: Any, **named: Any) -> None:
            super()._setup(*given, **named)
            for metric in (self.metrics_request_total, self.metrics_request_duration, self.metrics_request_in_progress):
                metric.labels = cache(metric.labels)  # paths and statuses are few

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            counted = scope.get("path") in counted_paths
            await (super().__call__ if counted else self.app)(scope, receive, send)

    setattr(instruments, "RunnerTrafficMetricsMiddleware", KnownPaths)  # noqa: B010, mypy sees a type
    setattr(traffic, "TimeoutMiddleware", _without_timer)  # noqa: B010


def _without_timer(app: ASGIApp, timeout: Any) -> ASGIApp:
    return app
