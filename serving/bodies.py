"""A request's body, within limits of size and time."""

import asyncio
from collections.abc import AsyncIterator
from typing import IO

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from components.errors import InputError, InputTooLarge
from serving.errors import Refusal
from serving.forms import read_files

LARGEST_JSON = 8 << 20  # bytes: 1,024 images of three digits, a comma and a space a pixel are 4 MB
LARGEST_UPLOAD = 32 << 20  # bytes a request of pictures
LARGEST_TABLE = 256 << 20  # bytes of CSV, about 120,000 rows; it goes to disk, not to memory
TIMEOUT = 30  # seconds for a body to arrive
TABLE_TIMEOUT = 60  # seconds for a table

FORM = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")


def expect_type(request: Request, *expected: str) -> str:
    """The request's content type, one of `expected`; 415 otherwise."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in expected:
        raise Refusal(415, "content-type", f"found {found[:60] or 'none'}, expected {' or '.join(expected)}")
    return found


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        InputTooLarge: it declares, or turns out to have, more than `limit` bytes.
        TimeoutError: it did not arrive in time.
    """
    async with asyncio.timeout(TIMEOUT):
        chunks = [chunk async for chunk in _bounded(request, limit)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def spool_body(request: Request, file: IO[bytes]) -> None:
    """Write a table to `file` and go back to its start. Raises as `read_body`."""
    async with asyncio.timeout(TABLE_TIMEOUT):
        async for chunk in _bounded(request, LARGEST_TABLE):
            await anyio.to_thread.run_sync(file.write, chunk)
    file.seek(0)


async def read_uploads(request: Request) -> list[tuple[str, bytes]]:
    """The pictures of a request, as a form's files or as the body itself: (name, content) each.

    Raises:
        InputError: no file, or a form field that is none.
        InputTooLarge, TimeoutError: as `read_body`.
    """
    found = expect_type(request, FORM, *PICTURES)
    content = await read_body(request, LARGEST_UPLOAD)
    if found != FORM:
        return [("body", content)]

    uploads = read_files(content, request.headers["content-type"])
    if not uploads:
        raise InputError("body", "no file in the form")
    return uploads


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The chunks of a body; without `Request.stream`, which wraps each of them once more."""
    size, more = int(request.headers.get("content-length", 0)), True
    if size <= limit:
        size = 0
    while more and size <= limit:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        yield chunk
    if size > limit:
        raise InputTooLarge("body", f"more than {limit:,} bytes")
