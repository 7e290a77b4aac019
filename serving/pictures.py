"""The pictures of a request, decoded within bounds, and so that a small one does not wait for large ones."""

import asyncio
import contextlib

import anyio.to_thread

from components.contract import DataContract, Images
from components.errors import InputTooLarge
from components.readers.images.headers import read_header
from components.readers.images.photos import is_small, read_views
from serving.bodies import LARGE
from serving.load import load

MAX_PIXELS = 200_000_000  # a request: 8 pictures of the largest size, 16 photos of a phone, 64 of 3 million
PHOTO = 4 << 20  # bytes of a request; to look at the headers of a larger one may take a tenth of a second
QUICK = 5_000_000  # of `Header.work`, about 0.1 s: what a phone's photo takes

Uploads = list[tuple[str, bytes]]

weighing = asyncio.Semaphore(1)  # requests of more than PHOTO bytes whose headers are looked at
decoding = asyncio.Semaphore(2)  # pictures at once
large = asyncio.Semaphore(1)  # of which so many may be large: 300 MB and a second


async def read_pictures(uploads: Uploads, contract: DataContract) -> list[Images]:
    """Decode the pictures of a request, taking turns with other requests after each.

    Args:
        uploads: (name, content) of each.
        contract: of the images that are made of them.

    Returns:
        As `read_views`, for each.

    Raises:
        InputError: one cannot be read.
        InputTooLarge: one is too large, or all together are.
        Refusal: too many wait to be decoded.
    """
    size = sum(len(content) for _, content in uploads)
    if size <= LARGE:
        quick = _are_quick(uploads)
    else:
        async with weighing if size > PHOTO else contextlib.nullcontext():
            quick = await anyio.to_thread.run_sync(_are_quick, uploads)
    with load.decode(len(uploads), quick.count(False)):
        return [await _read(*upload, contract, is_quick) for upload, is_quick in zip(uploads, quick, strict=True)]


def _are_quick(uploads: Uploads) -> list[bool]:
    """Whether each takes little time; nothing is decoded yet."""
    quick, pixels = list[bool](), 0
    for name, content in uploads:
        header = read_header(content, name)
        pixels += header.pixels
        if pixels > MAX_PIXELS:
            found = f"the request has more than {MAX_PIXELS:,} pixels with this picture"
            raise InputTooLarge(name, f"{found}. Send fewer pictures at a time, or smaller ones")
        quick.append(header.work <= QUICK)
    return quick


async def _read(name: str, content: bytes, contract: DataContract, is_quick: bool) -> Images:
    if is_small(content, contract.image):
        return read_views(content, contract, name)
    if is_quick:
        async with decoding:
            return await anyio.to_thread.run_sync(read_views, content, contract, name)
    async with large, decoding:
        return await anyio.to_thread.run_sync(read_views, content, contract, name)
