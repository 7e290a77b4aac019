"""Read request bodies within limits of size and time."""

from collections.abc import AsyncIterator, Collection
from typing import IO

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from components.errors import InputError, InputTooLarge
from components.readers.images.headers import FORMATS
from serving.codings import Decoder, decoder_of
from serving.errors import Refusal
from serving.forms import UploadForm, read_files
from serving.load import RECEIVED, Arrival, load

LARGEST_JSON = 8 << 20  # bytes; 1,024 images at 5 bytes per pixel ("255, ") are 4 MB
LARGEST_UPLOAD = 32 << 20  # bytes of pictures per request
LARGEST_TABLE = 256 << 20  # bytes of CSV, about 120,000 rows; spooled to disk
LARGE = 64 << 10  # bytes; larger bodies are parsed in a thread to keep the event loop free
TIMEOUT = 30  # seconds to receive a body, whatever its rate
TABLE_TIMEOUT = 60  # seconds to receive a table

FORM = "multipart/form-data"
PICTURES = tuple(form.media_type for form in FORMATS)
# Other media types sent for pictures; the content decides the format.
PICTURE_ALIASES = (
    "image/jpg",
    "image/pjpeg",
    "image/x-png",
    "image/x-ms-bmp",
    "image/x-bmp",
    "application/octet-stream",
)
CURL_DEFAULT = "application/x-www-form-urlencoded"  # what curl sends for any --data-binary


def expect_type(request: Request, *expected: str, also: Collection[str] = ()) -> str:
    """Return the request's content type.

    Args:
        request: the request.
        expected: accepted types, named in the error message.
        also: accepted types that the message leaves out.

    Raises:
        Refusal: 415, any other type.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in expected and found not in also:
        example = next(kind for kind in expected if kind != FORM)
        hint = f". Set it, for example: curl --header 'content-type: {example}'" if found in {"", CURL_DEFAULT} else ""
        raise Refusal(415, "content-type", f"found {found[:60] or 'none'}, expected {' or '.join(expected)}{hint}")
    return found


async def read_body(request: Request, limit: int) -> bytes:
    """Return the complete body.

    Raises:
        InputTooLarge: the declared or actual size exceeds `limit` bytes.
        TimeoutError: the body arrives too late or too slowly.
        Refusal: the service is at capacity.
    """
    decoder = decoder_of(request.scope["headers"])
    if request.scope.get(RECEIVED) and not decoder:  # no need to watch it arrive
        body, _ = await _next_chunk(request)
        _refuse_beyond(limit, len(body))
        load.keep(request.scope, len(body))
        return body
    _refuse_declared(request, limit)
    if decoder:
        async with Arrival(request.scope, TIMEOUT) as arrival:
            pieces = []
            async for piece in _pieces(request, decoder, limit):
                arrival.keep(len(piece))
                _refuse_beyond(limit, arrival.size)
                pieces.append(piece)
        return b"".join(pieces)
    async with Arrival(request.scope, TIMEOUT) as arrival:
        first, more = await _next_chunk(request)
        arrival.keep(len(first))
        rest = bytearray()
        while more and arrival.size <= limit:
            chunk, more = await _next_chunk(request)
            arrival.keep(len(chunk))
            rest += chunk
    _refuse_beyond(limit, arrival.size)
    return b"".join((first, rest)) if rest else first


async def spool_body(request: Request, file: IO[bytes]) -> None:
    """Write a table, the body or a form's only file, to `file` and rewind it. Raises the same as `read_body`."""
    _refuse_declared(request, LARGEST_TABLE)
    decoder = decoder_of(request.scope["headers"])
    kind = request.headers.get("content-type", "")
    form = UploadForm(kind, file) if kind.lower().startswith(FORM) else None
    write = form.write if form else file.write
    async with Arrival(request.scope, TABLE_TIMEOUT) as arrival:
        async for piece in _pieces(request, decoder, LARGEST_TABLE):
            arrival.size += len(piece)
            _refuse_beyond(LARGEST_TABLE, arrival.size)
            await anyio.to_thread.run_sync(write, piece)
    if form:
        form.finish()
    file.seek(0)


async def read_uploads(request: Request) -> list[tuple[str, bytes]]:
    """Return the pictures of a request, a form's files or the body itself, as (name, content) pairs.

    Raises:
        InputError: the form has no file, or a field that is not a file.
        InputTooLarge, TimeoutError: see `read_body`.
    """
    found = expect_type(request, FORM, *PICTURES, also=PICTURE_ALIASES)
    content = await read_body(request, LARGEST_UPLOAD)
    if found != FORM:
        return [("body", content)]

    kind = request.headers["content-type"]
    if len(content) > LARGE:
        uploads = await anyio.to_thread.run_sync(read_files, content, kind)
    else:
        uploads = read_files(content, kind)
    if not uploads:
        raise InputError("body", "the form contains no file")
    return uploads


async def _next_chunk(request: Request) -> tuple[bytes, bool]:
    """Return the next chunk and whether more follow; avoids the generator of `Request.stream`."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


async def _pieces(request: Request, decoder: Decoder | None, limit: int) -> AsyncIterator[bytes]:
    """Yield a body in pieces, decompressed if encoded; reads at most `limit` compressed bytes."""
    more, packed = True, 0
    while more:
        chunk, more = await _next_chunk(request)
        if decoder is None:
            yield chunk
            continue
        packed += len(chunk)
        _refuse_beyond(limit, packed)
        unpacked = decoder.feed(chunk)
        while piece := await anyio.to_thread.run_sync(next, unpacked, b""):
            yield piece
    if decoder:
        decoder.finish()


def _refuse_declared(request: Request, limit: int) -> None:
    _refuse_beyond(limit, int(request.headers.get("content-length", 0)))


def _refuse_beyond(limit: int, size: int) -> None:
    if size > limit:
        raise InputTooLarge("body", f"more than {limit:,} bytes")
