"""The service's connections and gateway with endpoints that need no model; starts within a second.

python tests/support/small_service.py PORT SECONDS [own]: SECONDS is the timeout of a graceful shutdown; "own" uses
uvicorn's connections, which close one second after a response.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.bodies import LARGEST_JSON, read_body, spool_body
from serving.connections import GuardedProtocol, guard_connections
from serving.errors import json_response
from serving.gateway import Endpoint, Gateway

LONG = 60  # seconds


async def read(request: Request) -> Response:
    """Return the size of the body and the headers of the request."""
    body = await read_body(request, LARGEST_JSON)
    return json_response({"bytes": len(body), "headers": [name.decode() for name, _ in request.scope["headers"]]})


async def spool(request: Request) -> Response:
    with tempfile.TemporaryFile() as file:
        await spool_body(request, file)
        return json_response({"bytes": len(file.read())})


async def wait(request: Request) -> Response:
    await read_body(request, LARGEST_JSON)
    await asyncio.sleep(LONG)
    raise AssertionError


async def work(request: Request) -> Response:
    """Block in a thread that cannot be cancelled."""
    await read_body(request, LARGEST_JSON)
    await anyio.to_thread.run_sync(time.sleep, LONG)
    raise AssertionError


async def begin(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(LONG)

    return StreamingResponse(pieces())


ENDPOINTS: dict[str, tuple[str, Endpoint]] = {
    f"/{endpoint.__name__}": ("POST", endpoint) for endpoint in (read, spool, wait, work, begin)
}


def alive(request: Request) -> Response:
    return PlainTextResponse("alive")


@contextlib.asynccontextmanager
async def live(app: Starlette) -> AsyncIterator[None]:
    """Take a moment to shut down, like BentoML's application, so that cancelled tasks can end."""
    yield
    await asyncio.sleep(0.3)


if __name__ == "__main__":
    port, grace = map(int, sys.argv[1:3])
    if "own" not in sys.argv:
        guard_connections()
    connections = "httptools" if "own" in sys.argv else GuardedProtocol
    gateway = Gateway(Starlette(routes=[Route("/livez", alive)], lifespan=live), ENDPOINTS)
    uvicorn.run(gateway, port=port, http=connections, timeout_graceful_shutdown=grace, timeout_keep_alive=1)
