"""A request's body, within limits of size and time."""

from collections.abc import AsyncIterator, Collection
from typing import IO

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from components.errors import InputError, InputTooLarge
from components.readers.images.headers import FORMATS
from serving.codings import Decoder, decoder_of
from serving.errors import Refusal
from serving.forms import UploadForm, read_files
from serving.load import Arrival

LARGEST_JSON = 8 << 20  # bytes: 1,024 images of three digits, a comma and a space a pixel are 4 MB
LARGEST_UPLOAD = 32 << 20  # bytes a request of pictures
LARGEST_TABLE = 256 << 20  # bytes of CSV, about 120,000 rows; it goes to disk, not to memory
LARGE = 64 << 10  # bytes; more is taken apart in a thread, so that others are answered meanwhile
TIMEOUT = 30  # seconds for a body to arrive, whatever its pace
TABLE_TIMEOUT = 60  # seconds for a table

FORM = "multipart/form-data"
PICTURES = tuple(form.media_type for form in FORMATS)
# What else pictures are called; which kind one is, its own bytes say.
PICTURES_TOO = ("image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "image/x-bmp", "application/octet-stream")
UNNAMED = "application/x-www-form-urlencoded"  # what curl says of --data-binary, whatever it is


def expect_type(request: Request, *expected: str, also: Collection[str] = ()) -> str:
    """The request's content type, one of `expected` or, though no one is told to send it, of `also`; 415 otherwise."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in expected and found not in also:
        example = next(kind for kind in expected if kind != FORM)
        hint = f". Say which, as in curl --header 'content-type: {example}'" if found in {"", UNNAMED} else ""
        raise Refusal(415, "content-type", f"found {found[:60] or 'none'}, expected {' or '.join(expected)}{hint}")
    return found


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        InputTooLarge: it declares, or turns out to have, more than `limit` bytes.
        TimeoutError: it did not arrive in time, or not at the least pace.
        Refusal: there is no room for it.
    """
    _refuse_declared(request, limit)
    decoder = decoder_of(request.scope["headers"])
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
    """Write a table, the body or the only file of a form, to `file` and go back to its start. Raises as `read_body`."""
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
    """The pictures of a request, as a form's files or as the body itself: (name, content) each.

    Raises:
        InputError: no file, or a form field that is none.
        InputTooLarge, TimeoutError: as `read_body`.
    """
    found = expect_type(request, FORM, *PICTURES, also=PICTURES_TOO)
    content = await read_body(request, LARGEST_UPLOAD)
    if found != FORM:
        return [("body", content)]

    kind = request.headers["content-type"]
    if len(content) > LARGE:
        uploads = await anyio.to_thread.run_sync(read_files, content, kind)
    else:
        uploads = read_files(content, kind)
    if not uploads:
        raise InputError("body", "no file in the form")
    return uploads


async def _next_chunk(request: Request) -> tuple[bytes, bool]:
    """What came, and whether there is more to come; `Request.stream` says the same through a generator."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


async def _pieces(request: Request, decoder: Decoder | None, limit: int) -> AsyncIterator[bytes]:
    """A body as it comes, unpacked where it is packed; of the packed bytes no more than `limit` are read."""
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
