"""An upper bound: read the body and return an empty object."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Handle any request."""
    if scope["type"] == "http":
        await Request(scope, receive).body()
        await Response(b"{}", media_type="application/json")(scope, receive, send)
