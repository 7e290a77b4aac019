"""Decode the pictures of a request within limits, so that small pictures do not wait for large ones."""

import asyncio
import contextlib

import anyio.to_thread

from components.contract import DataContract, Images
from components.errors import InputTooLarge
from components.readers.images.headers import read_header
from components.readers.images.photos import is_small, read_views
from serving.bodies import LARGE
from serving.load import load

MAX_PIXELS = 200_000_000  # per request: 8 pictures of the maximum size, 16 phone photos, or 64 of 3 megapixels
LARGE_UPLOAD = 4 << 20  # bytes; reading the headers of a larger request may take 0.1 s
QUICK = 5_000_000  # of `Header.work`, about 0.1 s: a phone photo

Uploads = list[tuple[str, bytes]]

reading_headers = asyncio.Semaphore(1)  # requests of more than LARGE_UPLOAD bytes
decoding = asyncio.Semaphore(2)  # pictures at a time
large = asyncio.Semaphore(1)  # large pictures among these; each takes 300 MB and a second


async def read_pictures(uploads: Uploads, contract: DataContract) -> list[Images]:
    """Decode the pictures of a request, taking turns with other requests after each one.

    Args:
        uploads: (name, content) of each picture.
        contract: data contract of the resulting images.

    Returns:
        The result of `read_views` for each picture.

    Raises:
        InputError: a picture cannot be decoded.
        InputTooLarge: a picture, or all of them together, are too large.
        Refusal: too many pictures are queued.
    """
    size = sum(len(content) for _, content in uploads)
    if size <= LARGE:
        quick = _are_quick(uploads)
    else:
        async with reading_headers if size > LARGE_UPLOAD else contextlib.nullcontext():
            quick = await anyio.to_thread.run_sync(_are_quick, uploads)
    with load.decode(len(uploads), quick.count(False)):
        return [await _read(*upload, contract, is_quick) for upload, is_quick in zip(uploads, quick, strict=True)]


def _are_quick(uploads: Uploads) -> list[bool]:
    """Whether each picture is quick to decode, judged by its header."""
    quick, pixels = list[bool](), 0
    for name, content in uploads:
        header = read_header(content, name)
        pixels += header.pixels
        if pixels > MAX_PIXELS:
            found = f"with this picture, the request exceeds {MAX_PIXELS:,} pixels"
            raise InputTooLarge(name, f"{found}. Send fewer or smaller pictures")
        quick.append(header.work <= QUICK)
    return quick


async def _read(name: str, content: bytes, contract: DataContract, is_quick: bool) -> Images:
    if is_small(content, contract):
        return read_views(content, contract, name)
    if is_quick:
        async with decoding:
            return await anyio.to_thread.run_sync(read_views, content, contract, name)
    async with large, decoding:
        return await anyio.to_thread.run_sync(read_views, content, contract, name)
