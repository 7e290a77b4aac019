"""A picture file -> images as the contract has them, by the preparation that it names."""

import io
import struct
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from components.catalogues.preparation import preparation_of
from components.contract import DataContract, Images, ImageSpec
from components.readers.images.decoding import decode_picture

SPARE = 960  # bytes of a small file beyond a picture's pixels in four colours
MAX_SMALL = 16 << 10  # bytes of a small file, whatever the size of its picture


class PlainPng(NamedTuple):
    """A PNG of the image's size and mode, eight bits deep, in one chunk of pixels and nothing else."""

    mode: str  # Pillow's
    start: bytes  # PNG, third edition, 5 and 11
    end: bytes
    small: int  # bytes; such a file takes less to decode than to hand to a thread


@cache
def plain_png(image: ImageSpec) -> PlainPng:
    """How such a file begins and ends."""
    mode, colour = ("L", 0) if image.channels == 1 else ("RGB", 2)
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s13sI", 13, b"IHDR", header, zlib.crc32(b"IHDR" + header))
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return PlainPng(mode, start, end, min(4 * image.height * image.width + SPARE, MAX_SMALL))


def read_photo(content: bytes, contract: DataContract, field: str = "file") -> Images:
    """The first view of `read_views`, uint8 (1, height, width[, 3]): what a person is shown, and what is trained on."""
    return read_views(content, contract, field)[:1]


def read_views(content: bytes, contract: DataContract, field: str = "file") -> Images:
    """Decode one picture.

    Args:
        content: a whole PNG, JPEG, WebP, GIF or BMP file; of a GIF's pictures the first is read.
        contract: of its image, and how it is prepared.
        field: what to call it in an error.

    Returns:
        uint8 (n, height, width[, 3]), n from 1: the views that its preparation makes.

    Raises:
        InputError: none of these, damaged, or an animated PNG or WebP.
        InputTooLarge: more than 25 million pixels.
        SettingsError: no such preparation.
    """
    preparation, image = preparation_of(contract), contract.image
    plain = read_plain(content, image) if is_small(content, image) else None
    if plain is not None and preparation.passes(plain[0]):
        return plain
    return preparation.views(decode_picture(content, field, preparation.edge(image)), image)


def read_plain(content: bytes, image: ImageSpec) -> Images | None:
    """The pixels of a `PlainPng`, by Pillow's decoder without its reader of chunks, which takes twice as long; None of
    any other, and of a damaged one, for which the reader has the words."""
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


def is_small(content: bytes, image: ImageSpec) -> bool:
    """Whether a file is a PNG of the image's size, in so few bytes that decoding it takes less than handing it to a
    thread."""
    first = plain_png(image)
    return len(content) <= first.small and content[12:24] == first.start[12:24]


def write_png(image: Images) -> bytes:
    """One image, uint8 (height, width[, 3]), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
