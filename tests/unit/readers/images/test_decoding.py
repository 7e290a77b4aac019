"""Decoding any picture file: one of four modes, or an error."""

import struct
import zlib

import numpy as np
import pytest
from harmed_pictures import (
    bmp,
    encode,
    exif,
    join_jpeg,
    join_png,
    join_webp,
    noise,
    png,
    png_chunk,
    split_jpeg,
    split_png,
    split_webp,
)
from PIL import Image

from components.errors import InputError, InputTooLarge
from components.readers.images.decoding import decode_picture
from components.readers.images.headers import NAMES

GREY, COLOUR, PALETTE = 0, 2, 3  # PNG's colour types


def decode(content: bytes) -> Image.Image:
    return decode_picture(content, "a.png", 160)


def same(content: bytes, other: bytes) -> bool:
    """Whether two files show the same picture."""
    return np.array_equal(np.asarray(decode(content)), np.asarray(decode(other)))


# --- what is returned ---

OPAQUE = {
    "PNG": {"1": "L", "L": "L", "LA": "L", "I;16": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB"},
    "JPEG": {"L": "L", "RGB": "RGB", "CMYK": "RGB"},
    "WEBP": {"RGB": "RGB", "RGBA": "RGB"},
    "GIF": {"L": "RGB", "P": "RGB", "RGB": "RGB"},
    "BMP": {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"},
}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in OPAQUE.items() for mode in modes])
def test_an_opaque_picture_is_decoded_as_greyscale_or_rgb(form: str, mode: str) -> None:
    picture = noise("RGB").convert("I" if mode == "I;16" else mode).convert(mode)
    assert decode(encode(picture, form)).mode == OPAQUE[form][mode]


@pytest.mark.parametrize(("mode", "form"), [("LA", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP")])
def test_an_alpha_channel_is_kept_if_a_pixel_is_not_opaque(mode: str, form: str) -> None:
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
def test_a_transparent_colour_is_applied_at_any_depth(depth: int, kind: int, rows: bytes, key: tuple[int, ...]) -> None:
    """Pillow scales the pixels to eight bits, but not the transparent colour."""
    picture = decode(png((2, 1), depth, kind, rows, (b"tRNS", struct.pack(f">{len(key)}H", *key))))
    assert np.asarray(picture.getchannel("A")).tolist() == [[0, 255]]


def test_a_transparent_colour_out_of_range_is_ignored() -> None:
    assert decode(png((2, 1), 8, GREY, b"\0\x2c\0", (b"tRNS", struct.pack(">H", 0x12C)))).mode == "L"


@pytest.mark.parametrize("alpha", [b"\0", b"\0\x80"])
def test_a_transparent_palette_colour_becomes_an_alpha_channel(alpha: bytes) -> None:
    picture = decode(png((3, 1), 8, PALETTE, b"\0\0\1\2", (b"PLTE", bytes(range(9))), (b"tRNS", alpha)))
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[0].tolist() == [
        [0, 1, 2, 0],
        [3, 4, 5, alpha[1] if len(alpha) > 1 else 255],
        [6, 7, 8, 255],
    ]


def test_a_large_picture_is_returned_smaller() -> None:
    picture = decode(encode(Image.new("RGB", (4200, 300), (1, 2, 3)), "PNG"))
    assert picture.size == (1400, 100)
    assert picture.getpixel((700, 50)) == (1, 2, 3)


# --- what phones and programs write ---

PHOTO = encode(noise("RGB"), "JPEG", quality=90)


def with_segment(marker: bytes, content: bytes) -> bytes:
    """The photo with a segment in front."""
    return join_jpeg([(marker, struct.pack(">H", len(content) + 2) + content), *split_jpeg(PHOTO)])


PHONE_PHOTOS = {
    "several pictures": encode(noise("RGB"), "MPO", quality=90, save_all=True, append_images=[noise("L", 99, 9)] * 3),
    "a gain map behind it": with_segment(b"\xe2", b"MPF\0MM\0*\0\0\0\x08\0\0") + encode(noise("L", 20, 15), "JPEG"),
    "a video behind it": PHOTO + b"\0\0\0\x18ftypmp42" + noise("RGBA", 300, 300).tobytes(),
    "bytes behind it": PHOTO + b"\0" * 1000,
    "a preview": with_segment(b"\xe1", exif(1) + encode(noise("L", 160, 120), "JPEG")),
    "a depth map in XMP": with_segment(b"\xe1", b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 60_000),
    "a wide gamut": with_segment(b"\xe2", b"ICC_PROFILE\0\1\1" + b"Display P3" * 50),
    "fill bytes": b"\xff\xd8" + b"\xff" * 3_000_000 + PHOTO[2:],
}


@pytest.mark.parametrize("kind", PHONE_PHOTOS)
def test_the_first_picture_of_a_phone_photo_is_decoded(kind: str) -> None:
    assert same(PHONE_PHOTOS[kind], PHOTO)


def test_the_first_picture_of_a_progressive_photo_is_decoded() -> None:
    progressive = encode(noise("RGB"), "JPEG", progressive=True)
    assert same(progressive + progressive * 100, progressive)


def raw_profile(orientation: int) -> bytes:
    block = exif(orientation)
    return f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()


SIDEWAYS = b"<rdf:Description tiff:Orientation='6'/>"
PNG, WEBP = encode(noise("RGB"), "PNG"), encode(noise("RGB"), "WEBP", lossless=True)
HELD_SIDEWAYS = {
    "JPEG": (PHOTO, with_segment(b"\xe1", exif(6))),
    "JPEG, XMP": (PHOTO, with_segment(b"\xe1", b"http://ns.adobe.com/xap/1.0/\0" + SIDEWAYS)),
    "JPEG, both": (PHOTO, with_segment(b"\xe1", exif(6) + SIDEWAYS.replace(b"6", b"3"))),
    "PNG": (PNG, encode(noise("RGB"), "PNG", exif=exif(6))),
    "PNG, XMP": (PNG, PNG[:33] + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + SIDEWAYS) + PNG[33:]),
    "PNG, a text": (PNG, PNG[:33] + png_chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(6)) + PNG[33:]),
    "PNG, a compressed text": (
        PNG,
        PNG[:33] + png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(6))) + PNG[33:],
    ),
    "WebP": (WEBP, encode(noise("RGB"), "WEBP", lossless=True, exif=exif(6))),
    "WebP, XMP": (WEBP, encode(noise("RGB"), "WEBP", lossless=True, xmp=SIDEWAYS)),
}


@pytest.mark.parametrize("kind", HELD_SIDEWAYS)
def test_a_picture_is_turned_upright_by_any_orientation_metadata(kind: str) -> None:
    upright, sideways = HELD_SIDEWAYS[kind]
    assert np.array_equal(np.asarray(decode(sideways)), np.rot90(np.asarray(decode(upright)), -1))


@pytest.mark.parametrize(
    "orientation", [b"", b"MM\0*", b"II*\0\xff\xff\xff\xff", exif(6)[:30], exif(9), b"\0" * 60_000]
)
def test_unreadable_orientation_is_ignored(orientation: bytes) -> None:
    assert same(with_segment(b"\xe1", b"Exif\0\0" + orientation), PHOTO)


# --- bounds ---


@pytest.mark.parametrize("size", [(1, 25_000_000), (25_000_000, 1), (32_769, 1), (1, 32_769)])
def test_the_longest_side_is_limited(size: tuple[int, int]) -> None:
    with pytest.raises(InputTooLarge, match=r"pixels, expected at most 32,768 per side$"):
        decode(png(size, 8, GREY, b""))


@pytest.mark.parametrize("size", [(32_768, 3), (3, 32_768)])
def test_a_picture_may_be_long_and_thin(size: tuple[int, int]) -> None:
    assert max(decode(encode(Image.new("L", size, 9), "PNG")).size) == 2048


def test_webp_has_a_lower_limit() -> None:
    """The decoder holds the picture in memory four times."""
    chunks = [(b"VP8X", b"\0\0\0\0" + (4999).to_bytes(3, "little") * 2), *split_webp(WEBP)]
    with pytest.raises(InputTooLarge, match=r"^a\.png: found 5000 x 5000 pixels, expected at most 16,777,216 for WebP"):
        decode(join_webp(chunks))


def test_the_limit_of_a_gif_includes_its_screen_size() -> None:
    gif = bytearray(encode(noise("L"), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(InputTooLarge, match="65535 x 65535 pixels"):
        decode(bytes(gif))


def test_a_jpeg_with_a_scan_repeated_thousands_of_times_is_refused() -> None:
    """Each scan decodes every pixel again, and takes only 42 bytes."""
    photo = encode(Image.new("RGB", (1000, 1000)), "JPEG", progressive=True)
    *segments, scan = split_jpeg(photo)
    assert same(join_jpeg([*segments, scan, scan]), photo)
    with pytest.raises(InputTooLarge, match="a JPEG of 1000 x 1000 pixels and 1509 scans"):
        decode(join_jpeg([*segments, *[scan] * 1500]))


@pytest.mark.parametrize(
    ("chunk", "number"), [((b"IDAT", b""), 10_000), ((b"abcd", b""), 10_000), ((b"tEXt", b"a\0b"), 10**6)]
)
def test_a_png_with_too_many_chunks_is_refused(chunk: tuple[bytes, bytes], number: int) -> None:
    with pytest.raises(InputTooLarge, match="more than 10,000 chunks"):
        decode(PNG[:33] + png_chunk(*chunk) * number + PNG[33:])


@pytest.mark.parametrize(
    "content",
    [
        PHOTO[:2] + b"\xff\xfe\0\2" * 10_001 + PHOTO[2:],
        PHOTO[:2] + b"\xff\0" * 1_000_000 + PHOTO[2:],
        encode(noise("RGB"), "JPEG", progressive=True)[:-2] + b"\xff\xff\0" * 1_000_000,
        join_webp([*split_webp(WEBP), *[(b"abcd", b"")] * 10_000]),
        encode(noise("L"), "GIF").replace(b",", b"!\xfe" + b"\1a" * 1_000_000 + b"\0,", 1),
    ],
    ids=["comments", "escapes", "fill bytes", "chunks", "blocks"],
)
def test_other_files_with_too_many_parts_are_refused(content: bytes) -> None:
    with pytest.raises(InputTooLarge, match=r"more than 10,000 (segments|chunks|blocks)"):
        decode(content)


BOMB = zlib.compress(bytes(100 << 20))


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iCCP", b"a\0\0" + BOMB),
        (b"zTXt", b"a\0\0" + BOMB),
        (b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        (b"iTXt", b"a\0\1\0\0\0" + BOMB),
        (b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + struct.pack(">HHII", 1, 7, 60_000, 8) * 65_535),
        (b"gAMA", b""),
        (b"tIME", b"\xff" * 7),
    ],
    ids=["profile", "text", "EXIF text", "international text", "EXIF", "no gamma", "no time"],
)
def test_metadata_is_dropped_before_decoding(chunk: tuple[bytes, bytes]) -> None:
    header, *others = split_png(PNG)
    assert same(join_png([header, *[chunk] * 50, *others]), PNG)


def test_a_run_length_encoded_bmp_is_limited_because_python_decodes_it() -> None:
    assert decode(bmp(1, b"\x08\1\0\0" * 8 + b"\0\1")).size == (8, 8)
    for content in (bmp(1, b"\0\0", size=(2001, 2000)), bmp(2, b"\1\1" * 600_000, bits=4)):
        with pytest.raises(InputTooLarge, match="a run-length encoded BMP of more than 1 MiB or 4,000,000 pixels"):
            decode(content)


# --- refusals ---


@pytest.mark.parametrize(
    ("marker", "kind"),
    [(0xC3, "lossless"), (0xC5, "hierarchical"), (0xC9, "arithmetic coding"), (0xCA, "arithmetic coding")],
)
def test_an_unsupported_jpeg_type_is_named(marker: int, kind: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.png: an unsupported JPEG type \({kind}\). Save it as"):
        decode(PHOTO.replace(b"\xff\xc0", bytes([0xFF, marker])))


def test_a_twelve_bit_jpeg_is_named() -> None:
    with pytest.raises(InputError, match=r"an unsupported JPEG type \(12 bits per sample\)"):
        decode(PHOTO.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (encode(noise("RGB"), "AVIF"), "AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (encode(noise("RGB"), "TIFF"), "TIFF or a camera raw file"),
        (encode(noise("RGB"), "JPEG2000"), "JPEG 2000"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\1" + bytes(20), "a Photoshop file"),
        (encode(noise("RGB"), "ICO"), "an icon"),
        (encode(noise("RGB"), "PPM"), "a Netpbm picture"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<?xml version='1.0'?>\n<!-- by hand -->\n<svg width='9'/>", "SVG"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>404</title>", "a web page"),
        (b"PK\3\4" + bytes(20), "a zip archive"),
    ],
)
def test_other_file_types_are_named(content: bytes, kind: str) -> None:
    expected = f"a.png: not a PNG, JPEG, WEBP, GIF or BMP picture: found {kind}. Save the picture as JPEG or PNG"
    with pytest.raises(InputError) as refused:
        decode(content)
    assert str(refused.value) == expected


@pytest.mark.parametrize("content", [b"", b"label,pixel1\n", bytes(784)])
def test_a_file_that_is_not_a_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^a\.png: not a PNG, JPEG, WEBP, GIF or BMP picture(: the file is empty)?$"):
        decode(content)


@pytest.mark.parametrize("form", NAMES)
def test_a_truncated_picture_is_refused(form: str) -> None:
    content = encode(noise("RGB"), form)
    with pytest.raises(
        InputError, match=r"^a\.png: a damaged picture: the file is truncated\. Send the complete file$"
    ):
        decode(content[: len(content) * 3 // 4])


def test_a_palette_picture_without_a_palette_is_damaged() -> None:
    with pytest.raises(InputError, match=r"^a\.png: a damaged picture: it uses palette colours but has no palette$"):
        decode(png((3, 1), 8, PALETTE, b"\0\0\1\2"))
