"""A picture file of any kind: one of four modes, or an error that says what is wrong."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.errors import InputError
from components.formats.decoding import FORMATS, decode_picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE = 0, 2, 3  # PNG's colour types


def decode(content: bytes) -> Image.Image:
    return decode_picture(content, "a.png", FORMATS, 160)


def encode(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def noise(mode: str) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    return Image.fromarray(pixels).convert("I" if mode == "I;16" else mode).convert(mode)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(size: tuple[int, int], depth: int, kind: int, rows: bytes, *before: tuple[bytes, bytes]) -> bytes:
    """A PNG of these raw rows, each with its filter's byte, and these chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
    chunks = [chunk(*each) for each in before]
    return b"".join([SIGNATURE, header, *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


# --- what is returned ---

OPAQUE = {
    "PNG": {"1": "L", "L": "L", "LA": "L", "I;16": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB"},
    "JPEG": {"L": "L", "RGB": "RGB", "CMYK": "RGB"},
    "WEBP": {"RGB": "RGB", "RGBA": "RGB"},
    "GIF": {"L": "RGB", "P": "RGB", "RGB": "RGB"},
    "BMP": {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"},
}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in OPAQUE.items() for mode in modes])
def test_an_opaque_picture_is_grey_or_in_colour_whatever_its_file(form: str, mode: str) -> None:
    assert decode(encode(noise(mode), form)).mode == OPAQUE[form][mode]


@pytest.mark.parametrize(("mode", "form"), [("LA", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP")])
def test_an_alpha_channel_stays_where_a_pixel_is_not_opaque(mode: str, form: str) -> None:
    picture = noise(mode)
    picture.putalpha(Image.new("L", picture.size, 255))
    picture.putpixel((5, 7), (9, 77) if mode == "LA" else (9, 9, 9, 77))
    alpha = np.asarray(decode(encode(picture, form)).getchannel("A"))
    assert alpha[7, 5] == 77
    assert (alpha == 255).sum() == alpha.size - 1


@pytest.mark.parametrize(
    ("depth", "kind", "rows", "key"),
    [
        (1, GREY, b"\0\x80", (1,)),
        (2, GREY, b"\0\x80", (2,)),
        (4, GREY, b"\0\x90", (9,)),
        (8, GREY, b"\0\x64\0", (100,)),
        (16, GREY, b"\0\xff\x01\0\0", (0xFF01,)),
        (8, COLOUR, b"\0\1\2\3\4\5\6", (1, 2, 3)),
        (16, COLOUR, b"\0\xff\0\xfe\0\xfd\0\0\0\0\0\0\0", (0xFF00, 0xFE00, 0xFD00)),
    ],
    ids=str,
)
def test_a_transparent_colour_is_found_whatever_the_depth(
    depth: int, kind: int, rows: bytes, key: tuple[int, ...]
) -> None:
    """Pillow scales the pixels to eight bits, and not the colour."""
    picture = decode(png((2, 1), depth, kind, rows, (b"tRNS", struct.pack(f">{len(key)}H", *key))))
    assert np.asarray(picture.getchannel("A")).tolist() == [[0, 255]]


def test_a_transparent_colour_that_no_pixel_can_have_hides_none() -> None:
    assert decode(png((2, 1), 8, GREY, b"\0\x2c\0", (b"tRNS", struct.pack(">H", 0x12C)))).mode == "L"


@pytest.mark.parametrize("alpha", [b"\0", b"\0\x80"])
def test_a_transparent_colour_of_a_palette_is_one_too(alpha: bytes) -> None:
    picture = decode(png((3, 1), 8, PALETTE, b"\0\0\1\2", (b"PLTE", bytes(range(9))), (b"tRNS", alpha)))
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[0].tolist() == [
        [0, 1, 2, 0],
        [3, 4, 5, alpha[1] if len(alpha) > 1 else 255],
        [6, 7, 8, 255],
    ]


# --- damage ---


def test_a_palette_picture_without_a_palette_is_damaged() -> None:
    with pytest.raises(InputError, match=r"^a\.png: a damaged picture: it has colours by number and no palette$"):
        decode(png((3, 1), 8, PALETTE, b"\0\0\1\2"))
