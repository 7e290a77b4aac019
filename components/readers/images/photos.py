"""Convert a picture file to images, with the preparation that the contract names."""

import io
import struct
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.catalogues.preparation import preparation_of
from components.contract import DataContract, Images, ImageSpec
from components.readers.images.decoding import decode_picture

SPARE = 960  # bytes of a small file beyond its pixels in four channels
MAX_SMALL = 16 << 10  # bytes of a small file, whatever the image size


class PlainPng(NamedTuple):
    """A PNG of the image's size and mode with eight bits per channel, one IDAT chunk and no metadata."""

    mode: str  # Pillow's
    start: bytes  # PNG, third edition, sections 5 and 11
    end: bytes
    small: int  # bytes; decoding such a file takes less time than handing it to a thread


@cache
def plain_png(image: ImageSpec) -> PlainPng:
    """The first and last bytes of such a file."""
    mode, colour = ("L", 0) if image.channels == 1 else ("RGB", 2)
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s13sI", 13, b"IHDR", header, zlib.crc32(b"IHDR" + header))
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return PlainPng(mode, start, end, min(4 * image.height * image.width + SPARE, MAX_SMALL))


def read_photo(content: bytes, contract: DataContract, field: str = "file") -> Images:
    """The first view of `read_views`, images (1,), used for display and training."""
    return read_views(content, contract, field)[:1]


def read_views(content: bytes, contract: DataContract, field: str = "file") -> Images:
    """Decode a picture and prepare it.

    Args:
        content: a complete PNG, JPEG, WebP, GIF or BMP file; only the first frame of a GIF is decoded.
        contract: of the image and its preparation.
        field: name for errors.

    Returns:
        The views that the preparation makes, n >= 1: uint8 (n, height, width[, 3]), or records of `contract.dtype`.

    Raises:
        InputError: an unsupported format, a damaged file, or an animated PNG or WebP.
        InputTooLarge: more than 25 million pixels.
        SettingsError: the preparation does not exist.
        ModelError: the contract's network is missing or changed.
    """
    preparation = preparation_of(contract)
    plain = read_plain(content, contract.image) if is_small(content, contract) else None
    if plain is not None and preparation.passes(plain[0]):
        return plain
    return preparation.views(decode_picture(content, field, preparation.edge(contract)), contract)


def read_plain(content: bytes, image: ImageSpec) -> Images | None:
    """Decode a `PlainPng` without Pillow's chunk reader, twice as fast. None for any other file, and for a damaged one,
    so that the chunk reader reports the error."""
    mode, first, last, _ = plain_png(image)
    start, end = len(first), len(content) - len(last)
    if not (content.startswith(first) and content.endswith(last)):
        return None
    if content[start : start + 8] != struct.pack(">I4s", end - start - 12, b"IDAT"):
        return None
    try:
        picture = Image.frombytes(mode, (image.width, image.height), content[start + 8 : end - 4], "zip", mode, 0)
    except ValueError:
        return None
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(1, *image.shape)


def is_small(content: bytes, contract: DataContract) -> bool:
    """Whether a file is a PNG of the image's size that takes less time to read than to hand to a thread."""
    if contract.embedding:
        return False
    first = plain_png(contract.image)
    return len(content) <= first.small and content[12:24] == first.start[12:24]


def write_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode one picture, uint8 (height, width[, 3]), as PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
