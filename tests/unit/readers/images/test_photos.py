"""Photos: each gives one image or an error."""

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from noises import Bytes, noise
from numpy.typing import NDArray
from PIL import Image

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.preparation.fashion_mnist import WORKING, prepare
from components.errors import InputError, InputTooLarge
from components.readers.images import photos
from components.readers.images.decoding import decode_picture
from components.readers.images.photos import read_photo, read_views


def encode(pixels: NDArray[Any], form: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """A picture file of uint8 or uint16 pixels."""
    picture = Image.fromarray(pixels)
    content = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(content, form, **options)
    return content.getvalue()


def column(side: int, background: int, garment: int) -> Bytes:
    """A `garment` in the centre of `background`, half as high, and half as wide as high."""
    pixels = np.full((side, side), background, np.uint8)
    pixels[side // 4 : -side // 4, 3 * side // 8 : -3 * side // 8] = garment
    return pixels


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG with a valid header and undecodable pixel data."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"not pixels") + png_chunk(b"IEND", b"")


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An Exif block of (tag, type, count, four bytes of value)."""
    packed = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4)


def test_a_greyscale_28_x_28_picture_on_black_is_unchanged() -> None:
    pixels = noise(28, 28)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    photo = read_photo(encode(pixels), CONTRACT)
    assert photo.dtype == np.uint8
    assert np.array_equal(photo, pixels[None])


def test_a_28_x_28_picture_is_only_converted_to_greyscale() -> None:
    red = np.zeros((28, 28, 3), np.uint8)
    red[..., 0] = 255
    assert np.unique(read_photo(encode(red), CONTRACT)).tolist() == [76]  # 0.299 * 255, ITU-R 601-2


MODES = {"PNG": ("L", "RGB", "P", "RGBA", "LA", "1", "I;16"), "JPEG": ("L", "RGB", "CMYK")}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form in MODES for mode in MODES[form]])
@pytest.mark.parametrize(("background", "garment"), [(0, 255), (255, 0)])
def test_a_garment_is_bright_on_black_in_any_mode(form: str, mode: str, background: int, garment: int) -> None:
    pixels = column(112, background, garment)
    content = encode(pixels.astype(np.uint16) * 257) if mode == "I;16" else encode(pixels, form, mode)
    photo = read_photo(content, CONTRACT)
    assert photo.shape == (1, 28, 28)
    assert photo[0, 1:-1, 8:20].min() > 230, "trimmed: it is as high as it can be"
    assert photo[0, :, :6].max() < 15
    assert photo[0, :, -6:].max() < 15


def test_a_transparent_background_becomes_black() -> None:
    garment = column(56, 0, 255)
    photo = read_photo(encode(np.dstack([np.full((56, 56, 3), 90, np.uint8), garment])), CONTRACT)
    assert photo[0, :, :6].max() < 5, "white behind what is transparent, then negated"
    assert np.unique(photo[0, 10:18, 10:18]).tolist() == [255 - 90]


def test_a_transparent_palette_colour_becomes_black() -> None:
    pixels = column(56, 0, 1)
    picture = Image.fromarray(pixels).convert("P")
    picture.putpalette([0, 0, 0, 90, 90, 90])
    content = io.BytesIO()
    picture.save(content, "PNG", transparency=0)
    photo = read_photo(content.getvalue(), CONTRACT)
    assert photo[0, :, :6].max() < 5
    assert np.unique(photo[0, 10:18, 10:18]).tolist() == [255 - 90]


def test_16_bits_are_scaled_not_clipped() -> None:
    pixels = noise(28, 28)
    assert np.array_equal(read_photo(encode(pixels.astype(np.uint16) << 8 | 0x5A), CONTRACT), pixels[None])


@pytest.mark.parametrize(
    ("orientation", "turns", "mirrored"), [(1, 0, False), (2, 0, True), (3, 2, False), (6, 3, False), (8, 1, False)]
)
def test_the_exif_orientation_is_applied(orientation: int, turns: int, mirrored: bool) -> None:
    pixels = noise(28, 28)
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = np.rot90(np.fliplr(pixels) if mirrored else pixels, turns)
    assert np.array_equal(read_photo(encode(pixels, exif=exif), CONTRACT), expected[None])


@pytest.mark.parametrize(
    "odd",
    [
        (0x0100, 2, 4, b"abc\0"),  # the width as text
        (0x011A, 2, 4, b"abc\0"),  # the resolution as text
        (0x0102, 11, 1, struct.pack("<f", 1.5)),  # bits per sample as a float
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_with_odd_metadata_is_still_turned_upright(form: str, odd: tuple[int, int, int, bytes]) -> None:
    pixels = np.zeros((56, 56), np.uint8)
    pixels[4:52, 4:16] = pixels[40:52, 4:52] = 255
    photo = read_photo(encode(pixels, form, exif=exif_of((0x0112, 3, 1, b"\6\0\0\0"), odd)), CONTRACT)
    assert min(photo[0, 1:5, 1:-2].min(), photo[0, 1:-2, 1:5].min()) > 230, "the angle of the L is now at the top left"
    assert photo[0, 10:, 10:].max() < 15


@pytest.mark.parametrize("margin", [10, 30, 200])
@pytest.mark.parametrize("background", [0, 60, 200, 255])
def test_a_picture_is_trimmed_and_centred_on_black(margin: int, background: int) -> None:
    """At any margin: the paper's steps assume cut-outs, but photographers leave margins."""
    photo = read_photo(encode(np.pad(np.full((40, 98), 130, np.uint8), margin, constant_values=background)), CONTRACT)
    lit = np.argwhere(photo[0] > 40)
    assert lit.min(axis=0).tolist() == [8, 0]
    assert lit.max(axis=0).tolist() == [18, 27]
    assert not photo[0, [7, 19]].any()


@pytest.mark.parametrize("margin", [0, 40])
def test_an_enlarged_picture_of_the_dataset_is_almost_restored(margin: int) -> None:
    """Even if the garment touches the border of the picture."""
    original = np.zeros((28, 28), np.uint8)
    original[:, 8:20] = 180
    original[3:10] = 120
    large = 255 - np.asarray(Image.fromarray(original).resize((280, 280), Image.Resampling.BICUBIC))
    views = read_views(encode(np.pad(large, margin, constant_values=255), mode="RGB"), CONTRACT)
    assert views.shape == (1, 28, 28)
    assert abs(views[0] - original.astype(float)).mean() < 5
    assert abs(views[0, 12:, 9:19] - 180.0).max() < 20


def test_slight_noise_on_a_plain_background_is_background() -> None:
    random = np.random.default_rng(0)
    pixels = (column(224, 235, 60) + random.integers(-4, 5, (224, 224))).astype(np.uint8)
    photo = read_photo(encode(pixels), CONTRACT)
    assert photo[0, :, 8:20].min() > 100
    assert photo[0, :, :6].max() < 10


def test_a_plain_background_is_read() -> None:
    assert np.unique(read_photo(encode(np.full((90, 120), 200, np.uint8)), CONTRACT)[0, 4:-4]).tolist() == [55]
    assert np.unique(read_photo(encode(np.full((90, 120), 70, np.uint8)), CONTRACT)[0, 4:-4]).tolist() == [70]


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (2, 100), (1, 28), (28, 1), (1, 56), (57, 1), (1, 1000), (5000, 1), (3, 900)]
)
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_any_aspect_ratio_is_read(form: str, rows: int, columns: int) -> None:
    photo = read_photo(encode(np.full((rows, columns), 100, np.uint8), form), CONTRACT)
    assert photo.shape == (1, 28, 28)
    assert photo.max() > 90


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_a_truncated_picture_is_refused(form: str, share: float) -> None:
    content = encode(noise(90, 90, 3), form)
    with pytest.raises(InputError, match=r"^photo\.png: a damaged picture: ") as refused:
        read_photo(content[: int(len(content) * share)], CONTRACT, "photo.png")
    assert refused.value.field == "photo.png"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"label,pixel1\n",
        b"\0" * 784,
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"GIF89a",
        encode(noise(28, 28), "TIFF"),
        encode(noise(28, 28), "PPM"),
        encode(noise(28, 28), "ICO"),
    ],
    ids=[
        "empty",
        "text",
        "zeros",
        "PNG's name",
        "JPEG's name",
        "SVG",
        "WebP's name",
        "GIF's name",
        "TIFF",
        "PPM",
        "ICO",
    ],
)
def test_an_unsupported_format_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^file: (not a PNG, JPEG, WEBP, GIF or BMP|a damaged) picture"):
        read_photo(content, CONTRACT)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_a_28_x_28_picture_is_unchanged(form: str) -> None:
    assert np.array_equal(read_photo(encode(noise(28, 28), form), CONTRACT)[0], noise(28, 28))


def test_a_28_x_28_webp_is_unchanged() -> None:
    assert np.array_equal(read_photo(encode(noise(28, 28), "WEBP", lossless=True), CONTRACT)[0], noise(28, 28))


def test_the_first_picture_of_a_gif_is_read() -> None:
    more = [Image.fromarray(noise(28, 28, seed=1))]
    assert np.array_equal(
        read_photo(encode(noise(28, 28), "GIF", save_all=True, append_images=more), CONTRACT)[0], noise(28, 28)
    )


def test_an_animated_webp_is_refused() -> None:
    more = [Image.fromarray(noise(28, 28, seed=1))]
    with pytest.raises(InputError, match="found an animated picture"):
        read_photo(encode(noise(28, 28), "WEBP", save_all=True, append_images=more), CONTRACT)


def test_an_animated_picture_is_refused_instead_of_its_first_frame_read() -> None:
    content = encode(noise(28, 28), save_all=True, append_images=[Image.fromarray(noise(28, 28, seed=1))])
    with pytest.raises(InputError, match=r"^file: found an animated picture"):
        read_photo(content, CONTRACT)


@pytest.mark.parametrize(("width", "height"), [(7072, 7072), (12_000, 12_000), (60_000, 60_000), (1, 2**31 - 1)])
def test_an_oversized_picture_is_refused_before_decoding(width: int, height: int) -> None:
    with pytest.raises(InputTooLarge, match=r"pixels, expected at most 25,000,000$"):
        read_photo(png_that_declares(width, height), CONTRACT)


def test_a_large_picture_within_the_limit_is_decoded() -> None:
    with pytest.raises(InputError, match="a damaged picture"):
        read_photo(png_that_declares(5000, 5000), CONTRACT)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of corrupt metadata
def test_a_damaged_photo_gives_an_image_or_an_input_error() -> None:
    generator = random.Random(0)
    exif = exif_of((0x0112, 3, 1, b"\6\0\0\0"), (0x0128, 3, 1, b"\2\0\0\0"))
    whole = [encode(noise(24, 31, 3), "JPEG", exif=exif), encode(noise(24, 31, 3)), encode(noise(24, 31), mode="P")]
    outcomes = set()
    for _ in range(2000):
        content = bytearray(generator.choice(whole))
        for _ in range(generator.randint(1, 3)):
            content[generator.randrange(min(len(content), 400))] = generator.randrange(256)
        try:
            outcomes.add(read_photo(bytes(content), CONTRACT).shape)
        except InputError:
            outcomes.add(())
    assert outcomes == {(1, 28, 28), ()}


def test_the_fast_path_of_plain_pngs_agrees_with_pillow_on_damaged_files() -> None:
    """Bytes are replaced, inserted and removed, and a chunk of pixels is truncated or extended."""
    generator = random.Random(0)
    whole = [encode(noise(28, 28)), encode(np.zeros((28, 28), np.uint8)), encode(noise(28, 28) // 64, optimize=True)]
    read = 0
    for number in range(4000):
        content = whole[number % 3]
        place = generator.randrange(len(content))
        if number % 2:
            pixels = content[41:-16][:place] + generator.randbytes(generator.randrange(3))
            content = content[:33] + struct.pack(">I4s", len(pixels), b"IDAT") + pixels + bytes(4) + content[-12:]
        else:
            lost = generator.randrange(2)
            content = content[:place] + generator.randbytes(generator.randint(1, 2)) + content[place + lost :]
        plain = photos.read_plain(content, CONTRACT.image)
        if plain is not None:
            assert np.array_equal(plain, prepare(decode_picture(content, "file", WORKING), CONTRACT.image))
            read += 1
    assert read > 100
    assert all(photos.read_plain(content, CONTRACT.image) is not None for content in whole)
