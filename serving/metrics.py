"""Keep callers from filling the metrics.

BentoML counts each path it is asked for as a series of its own, 21 KB each, and there is no setting for it: 4,000
made-up paths take 85 MB, and /metrics then takes six seconds. Its middleware is therefore exchanged for one that counts
known paths only.
"""

from collections.abc import Set as AbstractSet

from bentoml._internal.server.http import instruments
from starlette.types import ASGIApp, Receive, Scope, Send


def count_only(paths: AbstractSet[str]) -> None:
    """Let BentoML count requests for these paths alone. Call it before BentoML builds its application."""

    class KnownPaths(instruments.RunnerTrafficMetricsMiddleware):
        app: ASGIApp

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            counted = scope.get("path") in paths
            await (super().__call__ if counted else self.app)(scope, receive, send)

    setattr(instruments, "RunnerTrafficMetricsMiddleware", KnownPaths)  # noqa: B010, mypy sees a type
