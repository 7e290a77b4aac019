"""A request's body, within limits of size and time."""

import asyncio
from collections.abc import AsyncIterator
from typing import IO

import anyio.to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from components.errors import InputError, InputTooLarge
from serving.errors import Refusal

LARGEST_JSON = 8 << 20  # bytes: 1,024 images of three digits, a comma and a space a pixel are 4 MB
LARGEST_UPLOAD = 32 << 20  # bytes a request of pictures
LARGEST_TABLE = 256 << 20  # bytes of CSV, about 120,000 rows; it goes to disk, not to memory
MOST_FILES = 64  # pictures a request
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
    content = bytearray()
    async with asyncio.timeout(TIMEOUT):
        async for chunk in _bounded(request, limit):
            content += chunk
    return bytes(content)


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

    try:
        form = await _whole_form(request, content).form(max_files=MOST_FILES, max_fields=MOST_FILES)
    except HTTPException as error:
        raise InputError("body", error.detail) from error
    try:
        uploads = [await _read_field(field, value) for field, value in form.multi_items()]
    finally:
        await form.close()
    if not uploads:
        raise InputError("body", "no file in the form")
    return uploads


def _whole_form(request: Request, content: bytes) -> Request:
    """A form's request over again, now that its body is here: without a charset, which a caller could choose to fail.

    Raises:
        InputError: no boundary, or the body ends before the last one; the part that was cut off would be left out.
    """
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    if not boundary:
        raise InputError("content-type", "found no boundary of the form's parts")
    end = content.rpartition(b"--" + boundary)[2]
    if content and not end.startswith(b"--"):
        raise InputError("body", "the form ends before its last boundary")

    async def replay() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    header = (b"content-type", b"multipart/form-data; boundary=" + boundary)
    return Request({**request.scope, "headers": [header]}, replay)


async def _read_field(field: str, value: UploadFile | str) -> tuple[str, bytes]:
    if isinstance(value, str):
        raise InputError(field[:40], "a text field; expected files only")
    return (value.filename or field)[:80], await value.read()


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    size = int(request.headers.get("content-length", 0))
    if size <= limit:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                break
            yield chunk
    if size > limit:
        raise InputTooLarge("body", f"more than {limit:,} bytes")
