"""The file formats: IDX archives, photos, pixels as CSV and as JSON."""

import gzip
import io
import random
import re
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from readings import PIXEL_COLUMNS, WANTED

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.preparation.fashion_mnist import WORKING, prepare
from components.errors import InputError, InputTooLarge, SourceError
from components.readers.blocks import RowReject
from components.readers.images import photos
from components.readers.images.decoding import decode_picture
from components.readers.images.idx import encode_idx, read_idx
from components.readers.images.photos import read_photo, read_views
from components.readers.images.pixel_json import MOST_IMAGES, _read_fast, read_pixel_json
from components.readers.tables import csv as pixel_csv
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.layout import LONGEST_LINE

Bytes = NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# --- IDX ---


def write_idx(folder: Path, content: bytes) -> Path:
    """An archive whose unpacked bytes are `content`."""
    path = folder / "some-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    return path


def idx_header(*dimensions: int) -> bytes:
    return bytes((0, 0, 8, len(dimensions))) + struct.pack(f">{len(dimensions)}I", *dimensions)


@pytest.mark.parametrize("shape", [(5, 28, 28), (0, 28, 28), (7,), (0,)])
def test_an_idx_file_is_read_as_it_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = noise(*shape)
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(encode_idx(values))
    read = read_idx(path, shape[1:])
    assert read.dtype == np.uint8
    assert read.shape == shape
    assert np.array_equal(read, values)


def test_the_header_is_that_of_the_mnist_family() -> None:
    assert gzip.decompress(encode_idx(noise(3, 28, 28)))[:16].hex() == "00000803000000030000001c0000001c"
    assert gzip.decompress(encode_idx(noise(3)))[:8].hex() == "0000080100000003"


def test_the_same_values_give_the_same_idx_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode_idx(noise(5, 28, 28))
    monkeypatch.setattr(time, "time", lambda: 1.0)  # gzip would write the time of day
    assert encode_idx(noise(5, 28, 28)) == first
    assert encode_idx(noise(5, 28, 28, seed=1)) != first


@pytest.mark.parametrize(("kept", "appended"), [(-9, b""), (-1, b""), (20, b""), (5, b""), (None, b"garbage")], ids=str)
def test_a_damaged_gzip_is_refused(tmp_path: Path, kept: int | None, appended: bytes) -> None:
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(encode_idx(noise(5, 28, 28))[:kept] + appended)
    with pytest.raises(SourceError, match=r"some-ubyte\.gz: not a whole gzip file"):
        read_idx(path, (28, 28))


def test_a_flipped_bit_in_a_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(encode_idx(noise(5, 28, 28)))
    content[len(content) // 2] ^= 1
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="not a whole gzip file"):
        read_idx(path, (28, 28))


def test_what_is_not_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(idx_header(1) + b"\0")
    with pytest.raises(SourceError, match="not a whole gzip file"):
        read_idx(path, ())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "magic number is , expected 00000803"),
        (idx_header(784) + bytes(784), "magic number is 00000801, expected 00000803"),
        (b"\0\0\x0d\3" + idx_header(1, 28, 28)[4:] + bytes(784), "magic number is 00000d03"),
        (b"\x89PNG" + bytes(800), "magic number is 89504e47"),
        (idx_header(1, 28, 28)[:15], "ends inside its header"),
        (idx_header(1, 28, 28)[:4], "ends inside its header"),
        (idx_header(1, 28, 27) + bytes(756), r"items have the shape \(28, 27\), expected \(28, 28\)"),
        (idx_header(2, 28, 28) + bytes(2 * 784 - 1), "found 1,567 bytes of data, its header says 1,568"),
        (idx_header(2, 28, 28) + bytes(2 * 784 + 1), "found 1,569 bytes of data, its header says 1,568"),
        (idx_header(2**32 - 1, 28, 28) + bytes(784), "found 784 bytes of data, its header says 3,367"),
    ],
)
def test_a_foreign_idx_file_says_what_was_found_and_expected(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(SourceError, match=rf"some-ubyte\.gz: {told}"):
        read_idx(write_idx(tmp_path, content), (28, 28))


# --- photos ---


def encode(pixels: NDArray[Any], form: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """A picture file of uint8 or uint16 pixels."""
    picture = Image.fromarray(pixels)
    content = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(content, form, **options)
    return content.getvalue()


def column(side: int, background: int, garment: int) -> Bytes:
    """A `garment` in the middle of `background`, half as high, and half as wide as high."""
    pixels = np.full((side, side), background, np.uint8)
    pixels[side // 4 : -side // 4, 3 * side // 8 : -3 * side // 8] = garment
    return pixels


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG with a right header and nothing that could be decoded."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"not pixels") + png_chunk(b"IEND", b"")


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An Exif block of (tag, type, count, four bytes of value)."""
    packed = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4)


def test_a_grey_28_by_28_picture_on_black_is_not_touched() -> None:
    pixels = noise(28, 28)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    photo = read_photo(encode(pixels), CONTRACT)
    assert photo.dtype == np.uint8
    assert np.array_equal(photo, pixels[None])


def test_a_28_by_28_picture_loses_only_its_colour() -> None:
    red = np.zeros((28, 28, 3), np.uint8)
    red[..., 0] = 255
    assert np.unique(read_photo(encode(red), CONTRACT)).tolist() == [76]  # 0.299 * 255, ITU-R 601-2


MODES = {"PNG": ("L", "RGB", "P", "RGBA", "LA", "1", "I;16"), "JPEG": ("L", "RGB", "CMYK")}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form in MODES for mode in MODES[form]])
@pytest.mark.parametrize(("background", "garment"), [(0, 255), (255, 0)])
def test_a_garment_is_bright_on_black_whatever_the_mode(form: str, mode: str, background: int, garment: int) -> None:
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


def test_a_transparent_colour_of_a_palette_becomes_black() -> None:
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
def test_the_orientation_that_a_camera_notes_is_applied(orientation: int, turns: int, mirrored: bool) -> None:
    pixels = noise(28, 28)
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = np.rot90(np.fliplr(pixels) if mirrored else pixels, turns)
    assert np.array_equal(read_photo(encode(pixels, exif=exif), CONTRACT), expected[None])


@pytest.mark.parametrize(
    "odd",
    [
        (0x0100, 2, 4, b"abc\0"),  # the width as a text
        (0x011A, 2, 4, b"abc\0"),  # the resolution as a text
        (0x0102, 11, 1, struct.pack("<f", 1.5)),  # bits a sample as a float
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
    """Whatever is around it: the paper's steps are for cut-outs, and photographers leave margins."""
    photo = read_photo(encode(np.pad(np.full((40, 98), 130, np.uint8), margin, constant_values=background)), CONTRACT)
    lit = np.argwhere(photo[0] > 40)
    assert lit.min(axis=0).tolist() == [8, 0]
    assert lit.max(axis=0).tolist() == [18, 27]
    assert not photo[0, [7, 19]].any()


@pytest.mark.parametrize("margin", [0, 40])
def test_an_enlarged_picture_of_the_dataset_is_seen_almost_as_it_was(margin: int) -> None:
    """Also where the garment touches the border of the picture."""
    original = np.zeros((28, 28), np.uint8)
    original[:, 8:20] = 180
    original[3:10] = 120
    large = 255 - np.asarray(Image.fromarray(original).resize((280, 280), Image.Resampling.BICUBIC))
    views = read_views(encode(np.pad(large, margin, constant_values=255), mode="RGB"), CONTRACT)
    assert views.shape == (1, 28, 28)
    assert abs(views[0] - original.astype(float)).mean() < 5
    assert abs(views[0, 12:, 9:19] - 180.0).max() < 20


def test_a_little_noise_on_a_plain_background_is_background() -> None:
    random = np.random.default_rng(0)
    pixels = (column(224, 235, 60) + random.integers(-4, 5, (224, 224))).astype(np.uint8)
    photo = read_photo(encode(pixels), CONTRACT)
    assert photo[0, :, 8:20].min() > 100
    assert photo[0, :, :6].max() < 10


def test_nothing_but_background_is_read_too() -> None:
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
def test_what_is_none_of_five_kinds_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^file: (not a PNG, JPEG, WEBP, GIF or BMP|a damaged) picture"):
        read_photo(content, CONTRACT)


@pytest.mark.parametrize("form", ["GIF", "BMP", "WEBP"])
def test_a_kind_that_was_not_asked_for_is_refused(form: str) -> None:
    with pytest.raises(InputError, match=r"^file: not a PNG or JPEG picture$"):
        read_photo(encode(noise(28, 28), form), CONTRACT, formats=("PNG", "JPEG"))


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_a_28_x_28_picture_passes_untouched(form: str) -> None:
    assert np.array_equal(read_photo(encode(noise(28, 28), form), CONTRACT)[0], noise(28, 28))


def test_a_28_x_28_webp_passes_untouched() -> None:
    assert np.array_equal(read_photo(encode(noise(28, 28), "WEBP", lossless=True), CONTRACT)[0], noise(28, 28))


def test_the_first_picture_of_a_gif_is_read() -> None:
    more = [Image.fromarray(noise(28, 28, seed=1))]
    assert np.array_equal(
        read_photo(encode(noise(28, 28), "GIF", save_all=True, append_images=more), CONTRACT)[0], noise(28, 28)
    )


def test_an_animated_webp_is_refused() -> None:
    more = [Image.fromarray(noise(28, 28, seed=1))]
    with pytest.raises(InputError, match="an animated picture"):
        read_photo(encode(noise(28, 28), "WEBP", save_all=True, append_images=more), CONTRACT)


def test_an_animated_picture_is_refused_not_cut_to_its_first_frame() -> None:
    content = encode(noise(28, 28), save_all=True, append_images=[Image.fromarray(noise(28, 28, seed=1))])
    with pytest.raises(InputError, match=r"^file: an animated picture"):
        read_photo(content, CONTRACT)


@pytest.mark.parametrize(("width", "height"), [(7072, 7072), (12_000, 12_000), (60_000, 60_000), (1, 2**31 - 1)])
def test_a_gigantic_picture_is_too_large_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(InputTooLarge, match="at most 25,000,000 pixels"):
        read_photo(png_that_declares(width, height), CONTRACT)


def test_a_large_picture_within_the_limit_gets_as_far_as_its_pixels() -> None:
    with pytest.raises(InputError, match="a damaged picture"):
        read_photo(png_that_declares(5000, 5000), CONTRACT)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of corrupt metadata
def test_no_damage_makes_a_photo_anything_but_an_image_or_an_input_error() -> None:
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


def test_no_damage_makes_the_short_way_of_plain_pngs_differ_from_pillow() -> None:
    """Of bytes exchanged, put in and lost, and of a chunk of pixels that is cut or goes on."""
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
            assert np.array_equal(plain, prepare(decode_picture(content, "file", ("PNG",), WORKING), CONTRACT.image))
            read += 1
    assert read > 100
    assert all(photos.read_plain(content, CONTRACT.image) is not None for content in whole)


# --- CSV of pixels ---

HEADER = ",".join(PIXEL_COLUMNS)
ROW = ",".join(["1"] * 784)


def read(content: str | bytes) -> tuple[dict[int, Bytes], list[RowReject]]:
    """Read a table: line -> image, and the rejects; every line after the header is in one of the two, in order."""
    content = content.encode() if isinstance(content, str) else content
    images: dict[int, Bytes] = {}
    rejects: list[RowReject] = []
    for block in read_pixel_csv(io.BytesIO(content), "a.csv", WANTED):
        images |= dict(zip(block.lines.tolist(), block.images, strict=True))
        rejects += block.rejects
        assert block.labels is None or len(block.labels) == len(block.lines)
        assert len(block.ids) == len(block.lines)
    reject_lines = [reject.line for reject in rejects]
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    assert sorted([*images, *reject_lines]) == list(range(2, lines + 1))
    assert (list(images), reject_lines) == (sorted(images), sorted(reject_lines)), "in the file's order"
    return images, rejects


def ids_and_labels(content: str) -> tuple[list[str], list[int] | None]:
    blocks = list(read_pixel_csv(io.BytesIO(content.encode()), "file", WANTED))
    labels = [label for block in blocks if block.labels is not None for label in block.labels.tolist()]
    return [row_id for block in blocks for row_id in block.ids], labels or None


def row_with(cell: str | bytes, column: int = 5) -> bytes:
    cells = [b"1"] * 784
    cells[column] = cell.encode() if isinstance(cell, str) else cell
    return b",".join(cells)


def is_image(row: bytes) -> bool:
    """What a row without quotes must be, said in another way than the parsers do."""
    cells = row.split(b",")
    return len(cells) == 784 and all(re.fullmatch(rb"[ \t]*0*(25[0-5]|2[0-4]\d|1?\d?\d)[ \t]*", cell) for cell in cells)


NUMBERS = st.integers(-2, 300).map(str)
PADDED = [
    "",
    " ",
    " 7 ",
    "\t7",
    "007",
    "0" * 30 + "9",
    "9" * 30,
    "2 5",
    "\x00",
    "7\x00",
    "\x0b7",
    "7\x85",
    "7\u00a0",
    "\ufeff7",
]
LIKE_NUMBERS = ["+7", "-0", "1e2", "1.0", "0x1F", "0X1f", "1_0", "NaN", "inf", "null", "true", "=", "\u0663"]
ODD = st.sampled_from(PADDED + LIKE_NUMBERS)
TEXT = st.text(st.characters(exclude_characters='"\r\n', exclude_categories=["Cs"]), max_size=6)
CELLS = st.one_of(NUMBERS, ODD, TEXT).map(str.encode) | st.binary(max_size=4).filter(
    lambda cell: not any(char in cell for char in b'"\r\n')
)
ROWS = st.one_of(
    st.just(ROW.encode()),
    st.builds(row_with, CELLS, st.sampled_from([0, 1, 400, 783])),
    st.sampled_from([b"", b" ", b"1,2,3", row_with("1")[:-2], row_with("1") + b",1", row_with("1") + b","]),
    CELLS,
)


@examples(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(ROWS, min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n"]))
@example([row_with("\ufeff1", 0)], b"\n")
@example([ROW.encode(), b""], b"\n")
@example([row_with("0x1F")], b"\n")
@example([row_with("1")[:-2], row_with("1") + b",1"], b"\n")
def test_the_fast_and_the_slow_parser_agree(rows: list[bytes], end: bytes) -> None:
    """The file is read again with a quote at its end, which only the slow parser reads."""
    table = HEADER.encode() + end + b"".join(row + end for row in rows)
    images, rejects = read(table)
    slow_images, slow_rejects = read(table + b'"\n')
    assert slow_images.keys() == images.keys()
    assert all(np.array_equal(slow_images[line], images[line]) for line in images)
    assert slow_rejects[:-1] == rejects
    assert [line in images for line in range(2, len(rows) + 2)] == [is_image(row) for row in rows]
    assert [reject.row for reject in rejects] == [row for row in rows if not is_image(row)]


def test_pixels_keep_their_places() -> None:
    pixels = noise(3, 28, 28)
    rows = [",".join(map(str, image.ravel())) for image in pixels]
    assert np.array_equal(np.stack(list(read("\n".join([HEADER, *rows]))[0].values())), pixels)


def test_columns_come_in_any_order() -> None:
    order = np.random.default_rng(0).permutation(784)
    pixels = noise(784)
    header = ",".join(["label", *(PIXEL_COLUMNS[column] for column in order), "id"])
    rows = [",".join(["3", *map(str, pixels[order]), name]) for name in ("fast", '"slow, with a comma"')]
    images, rejects = read("\n".join([header, *rows]))
    assert rejects == []
    assert all(np.array_equal(image.ravel(), pixels) for image in images.values())
    assert ids_and_labels("\n".join([header, *rows])) == (["fast", "slow, with a comma"], [3, 3])
    assert ids_and_labels("\n".join([header, rows[0]])) == (["fast"], [3])


@examples(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(TEXT.filter(lambda text: "," not in text), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_an_id_in_front_may_be_any_text(ids: list[str], end: str) -> None:
    pixels = noise(len(ids), 784)
    rows = [",".join([name, "7", *map(str, row)]) for name, row in zip(ids, pixels, strict=True)]
    table = end.join([f"id,label,{HEADER}", *rows, ""])
    images, rejects = read(table)
    assert rejects == []
    assert np.array_equal(np.stack(list(images.values())).reshape(-1, 784), pixels)
    assert ids_and_labels(table) == (ids, [7] * len(ids))


def test_rows_without_an_id_are_numbered_from_1() -> None:
    assert ids_and_labels(f"{HEADER}\n{ROW}\n{ROW}\n") == (["1", "2"], None)
    assert ids_and_labels(f"{HEADER}\n{ROW}\nbad\n{ROW}\n") == (["1", "3"], None)
    assert ids_and_labels(f"label,{HEADER}\n9,{ROW}\n") == (["1"], [9])
    assert ids_and_labels(f"id,{HEADER}\nseven,{ROW}\n") == (["seven"], None)


@pytest.mark.parametrize("bad", ["10", "255", "256", "-1", "1.5", "", "T-shirt"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_label_that_is_no_class_is_a_reject(bad: str, quote: str) -> None:
    content = f"label,{HEADER}\n9,{ROW}\n{quote}{bad}{quote},{ROW}\n"
    images, rejects = read(content)
    assert list(images) == [2]
    assert rejects[0].reason == f"label: {bad!r} is not a whole number from 0 to 9, nor the name of a class"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", "a.csv: empty; expected a header"),
        ("\n", "a.csv: empty; expected a header"),
        ("\ufeff\n", "a.csv: empty; expected a header"),
        ("label", r"missing 784 column\(s\) 'pixel1', 'pixel2', 'pixel3', \.\.\.; expected \[id,\]\[label,\]pixel1"),
        (HEADER.removesuffix(",pixel784"), r"missing 1 column\(s\) 'pixel784'"),
        (HEADER + ",pixel785", r"unknown 1 column\(s\) 'pixel785'"),
        (HEADER + ",pixel1", r"repeated 1 column\(s\) 'pixel1'"),
        ("id,id," + HEADER, r"repeated 1 column\(s\) 'id'"),
        (ROW.replace("1", "x"), r"missing 784 .* unknown 784 .* repeated 1 column\(s\) 'x'"),
        ("<script>" + "x" * 99 + "," + HEADER, r"unknown 1 column\(s\) '<script>xxxxxxxxxxxx';"),
        (HEADER + "\0", "missing 1"),
        (HEADER.replace(",", ",\r", 1), "a.csv: "),
        ('"' + HEADER, "missing 784"),
    ],
)
def test_a_header_that_does_not_fit_says_how(header: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        read(header)
    assert refused.value.field == "a.csv"
    assert len(str(refused.value)) < 400


def test_a_header_of_nothing_but_commas_is_refused_at_once() -> None:
    began = time.perf_counter()
    with pytest.raises(InputError, match="missing 784"):
        read(b"," * 60_000)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("header", [f"\ufeff{HEADER}", f" {HEADER} ", HEADER.replace(",", " , "), f'"{HEADER}'])
def test_a_header_may_have_a_byte_order_mark_spaces_and_quotes(header: str) -> None:
    if header.startswith('"'):
        header = '"' + HEADER.replace(",", '","') + '"'
    assert list(read(f"{header}\n{ROW}\n")[0]) == [2]


@pytest.mark.parametrize("content", [HEADER, HEADER + "\n", HEADER + "\r\n"])
def test_a_header_alone_is_a_table_without_rows(content: str) -> None:
    assert list(read_pixel_csv(io.BytesIO(content.encode()), "file", WANTED)) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bad", [[], ["bad"]])
def test_line_ends_are_not_part_of_a_row(end: str, last: bool, bad: list[str]) -> None:
    images, rejects = read(end.join([HEADER, ROW, *bad, ROW]) + end * last)
    assert list(images) == ([2, 4] if bad else [2, 3])
    assert [reject.row for reject in rejects] == [row.encode() for row in bad]


@pytest.mark.parametrize("blank", ["", " ", "\t ", "\r"])
def test_a_blank_line_is_a_reject_wherever_it_stands(blank: str) -> None:
    images, rejects = read("\n".join([HEADER, blank, ROW, blank, blank, ROW, blank]) + "\n")
    assert list(images) == [3, 6]
    assert [(reject.line, reject.reason) for reject in rejects] == [(n, "row: an empty line") for n in (2, 4, 5, 7)]


@pytest.mark.parametrize("cell", ["256", "-1", "1.5", "NaN", "nan", "", "white", "1e3", "0x1F", "\0", "1 2", "=1+1"])
@pytest.mark.parametrize("column", [0, 5, 783])
def test_a_cell_that_is_no_pixel_is_named(cell: str, column: int) -> None:
    row = row_with(cell, column)
    images, rejects = read(b"\n".join([HEADER.encode(), ROW.encode(), row, ROW.encode()]))
    assert list(images) == [2, 4]
    reason = f"{PIXEL_COLUMNS[column]}: {cell!r} is not a whole number from 0 to 255"
    assert rejects == [RowReject(3, reason, row, "2")]


@pytest.mark.parametrize(("row", "cells"), [(ROW[:-2], 783), (ROW + ",1", 785), (ROW + ",", 785), ("1;2", 1)])
def test_a_row_of_another_length_is_a_reject(row: str, cells: int) -> None:
    images, rejects = read(f"{HEADER}\n{row}\n{ROW}\n")
    assert list(images) == [3]
    assert rejects == [RowReject(2, f"row: {cells} cells, expected 784", row.encode(), "1")]


def test_a_quoted_row_is_read() -> None:
    images, rejects = read(HEADER + "\n" + ",".join(f'"{number % 256}"' for number in range(784)) + "\n")
    assert rejects == []
    assert np.array_equal(images[2].ravel(), np.arange(784) % 256)


@pytest.mark.parametrize("row", ['"' + ROW, ROW[:-1] + '"1', ROW[:-1] + '"1"x', '"1\n1",' + ROW[4:]])
def test_a_quote_that_is_not_closed_ends_with_its_line(row: str) -> None:
    images, rejects = read(f"{HEADER}\n{row}\n{ROW}\n")
    assert list(images) == [2 + len(row.split("\n"))]
    assert [reject.row.decode() for reject in rejects] == row.split("\n")
    assert "not a CSV row on one line" in rejects[0].reason


@pytest.mark.parametrize("tail", ["hello", ROW, '"'])
@pytest.mark.parametrize("inside", ["\r", "\r\r"])
def test_what_follows_a_lone_carriage_return_is_not_lost(tail: str, inside: str) -> None:
    row = ROW + inside + tail
    images, rejects = read(f"{HEADER}\n{row}\n{ROW}\n")
    assert list(images) == [3], "half of a line is not a row"
    assert [reject.row for reject in rejects] == [row.encode()]


@pytest.mark.parametrize("row", [b"\xff\xfe" + ROW.encode(), row_with(b"\xe9"), b"Stra\xdfe", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf8_are_kept(row: bytes) -> None:
    images, rejects = read(b"\n".join([HEADER.encode(), row, ROW.encode()]))
    assert list(images) == [3]
    assert rejects == [RowReject(2, "row: not UTF-8 text", row, "1")]


def test_an_id_may_be_any_text() -> None:
    names = ["", " ", "=1+1", "Straße", "\x00", "null", "0x1F", "NaN", "\u2028", "a b"]
    content = "\n".join([f"id,{HEADER}", *(f"{name},{ROW}" for name in names)])
    assert ids_and_labels(content)[0] == names
    assert ids_and_labels(content + '\n"quoted",' + ROW)[0] == [*names, "quoted"]


LONG = ",".join(["0" * 100 + "1"] * 784)  # whole numbers from 0 to 255, in 80,000 bytes


@pytest.mark.parametrize(
    "lines", [[LONG], [LONG, ""], [LONG, ROW, ""], [ROW, LONG, ROW, ""], [LONG, "bad", ROW], ["x" * 70_000, ROW, ""]]
)
def test_a_line_of_more_than_64_kib_is_refused_wherever_it_stands(lines: list[str]) -> None:
    with pytest.raises(InputError, match="line of more than 65,536 bytes"):
        read("\n".join([HEADER, *lines]))


def test_a_header_of_more_than_64_kib_is_refused() -> None:
    with pytest.raises(InputError, match=r"a\.csv: "):
        read(HEADER + " " * LONGEST_LINE + f"\n{ROW}\n")


class Endless(io.RawIOBase):
    """A header, and a line that never ends."""

    def __init__(self) -> None:
        self.header, self.given = io.BytesIO(HEADER.encode() + b"\n"), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if count := self.header.readinto(buffer):
            return count
        buffer[:] = b"1" * len(buffer)
        self.given += len(buffer)
        return len(buffer)


def test_a_line_that_does_not_end_is_given_up_early() -> None:
    endless = Endless()
    with pytest.raises(InputError, match="line of more than 65,536 bytes"):
        list(read_pixel_csv(io.BufferedReader(endless), "file", WANTED))
    assert endless.given < 3 * pixel_csv.BLOCK


def test_lines_are_counted_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [",".join(map(str, image)) for image in noise(40, 784)]
    rows[7], rows[8], rows[39] = "bad", "", rows[39] + ",1"
    content = "\n".join([HEADER, *rows]) + "\n"
    images, rejects = read(content)
    assert [reject.line for reject in rejects] == [9, 10, 41]
    for size in (3001, 10_000):
        monkeypatch.setattr(pixel_csv, "BLOCK", size)
        blocks = list(read_pixel_csv(io.BytesIO(content.encode()), "file", WANTED))
        assert len(blocks) > len(content) // size // 4
        small_images, small_rejects = read(content)
        assert small_rejects == rejects
        assert all(np.array_equal(small_images[line], images[line]) for line in images)


def test_a_table_of_more_than_one_block_of_4_mib() -> None:
    rows = [ROW.replace("1", str(100 + number % 150)) for number in range(3000)]
    rows[2999] = "bad"
    content = "\n".join([HEADER, *rows]).encode()
    assert len(content) > 2 * pixel_csv.BLOCK
    images, rejects = read(content)
    assert [image[0, 0] for image in images.values()] == [100 + number % 150 for number in range(2999)]
    assert [reject.line for reject in rejects] == [3001]


# --- JSON of pixels ---


def body(*images: Any) -> bytes:
    return orjson.dumps({"images": images})


def flat(*changes: tuple[int, Any]) -> list[Any]:
    values: list[Any] = [1] * 784
    for place, value in changes:
        values[place] = value
    return values


def in_rows(*changes: tuple[int, Any]) -> list[list[Any]]:
    values = flat(*changes)
    return [values[start : start + 28] for start in range(0, 784, 28)]


def test_rows_and_a_flat_list_are_the_same_image() -> None:
    images = noise(3, 28, 28)
    rows, lists = (
        read_pixel_json(body(*images.tolist()), CONTRACT.image),
        read_pixel_json(body(*images.reshape(3, 784).tolist()), CONTRACT.image),
    )
    assert rows.dtype == np.uint8
    assert np.array_equal(rows, images)
    assert np.array_equal(lists, images)
    assert np.array_equal(
        read_pixel_json(body(images[0].tolist(), images[1].ravel().tolist()), CONTRACT.image), images[:2]
    )


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (b"", "body", "not JSON"),
        (b"images", "body", "not JSON"),
        (b'{"images": [', "body", "not JSON"),
        (b'{"images": [[\xff]]}', "body", "not JSON"),
        (b'{"images": [[NaN]]}', "body", "not JSON"),
        (b'{"images": [[Infinity]]}', "body", "not JSON"),
        (b'{"images": [[-Infinity]]}', "body", "not JSON"),
        (b'{"images": [[1e400]]}', "body", "not JSON"),
        (b'{"images": ' + b"[" * 30_000, "body", "not JSON"),
        (b'{"images": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "body", "not JSON"),
        (b'{"images": [[1]], "images": [[1]]}', "images[0]", "1 items"),
        (b"[[1, 2]]", "body", r"found a list, expected \{\"images\""),
        (b"null", "body", "found nothing"),
        (b'"images"', "body", "found a text"),
        (b"{}", "images", "found nothing, expected a list"),
        (b'{"images": null}', "images", "found nothing"),
        (b'{"images": {}}', "images", "found an object"),
        (b'{"images": "1"}', "images", "found a text"),
        (b'{"images": true}', "images", "found a boolean"),
        (b'{"images": 1}', "images", "found a number"),
        (b'{"images": []}', "images", "found an empty list, expected a list of at least one image"),
        (b'{"images": [[1]], "image": 1}', "image", "an unknown field; the only one is images"),
        (b'{"' + b"x" * 999 + b'": 1}', "x" * 40, "an unknown field"),
    ],
)
def test_a_body_that_does_not_fit_names_the_field(content: bytes, field: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        read_pixel_json(content, CONTRACT.image)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("image", "field", "reason"),
    [
        (None, "", "found nothing, expected 28 rows"),
        (7, "", "found a number, expected 28 rows"),
        ("abc", "", "found a text, expected 28 rows"),
        ({}, "", "found an object, expected 28 rows"),
        ([], "", "0 items, expected 28 rows"),
        (flat()[:-1], "", "783 items, expected 28 rows of 28 numbers, or 784 numbers"),
        ([*flat(), 1], "", "785 items"),
        (in_rows()[:-1], "", "27 items"),
        ([*in_rows(), [1] * 28], "", "29 items"),
        ([*in_rows()[:-1], 5], "", "28 items"),
        ([*in_rows()[:-1], []], "[27]", "0 numbers, expected 28"),
        ([[1] * 27, *in_rows()[1:]], "[0]", "27 numbers, expected 28"),
        ([in_rows()[0], [1] * 29, *in_rows()[2:]], "[1]", "29 numbers, expected 28"),
    ],
)
def test_an_image_of_another_shape_is_named(image: Any, field: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        read_pixel_json(body(flat(), in_rows(), image), CONTRACT.image)
    assert refused.value.field == f"images[2]{field}"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (256, "256"),
        (-1, "-1"),
        (2**64 - 1, "18446744073709551615"),
        (1.5, "1.5"),
        (1.0, "1.0"),
        ("5", "a text"),
        (True, "a boolean"),
        (False, "a boolean"),
        (None, "nothing"),
        ([1], "a list"),
        ([], "an empty list"),
        ({}, "an object"),
    ],
)
def test_a_value_that_is_no_pixel_is_named(value: Any, found: str) -> None:
    advice = "; multiply pixels of 0 to 1 by 255, and round" if isinstance(value, float) else ""
    reason = f"^{{}}: found {re.escape(found)}, expected a whole number from 0 to 255{advice}$"
    with pytest.raises(InputError, match=reason.format(r"images\[0\]\[70\]")):
        read_pixel_json(body(flat((70, value))), CONTRACT.image)
    with pytest.raises(InputError, match=reason.format(r"images\[1\]\[2\]\[14\]")):
        read_pixel_json(body(in_rows(), in_rows((70, value), (71, value))), CONTRACT.image)


@pytest.mark.parametrize(
    ("crowd", "sign"),
    [
        (b"[],", r"\["),
        (b"{},", r"\{"),
        (b'"",', '"'),
        (b"0,", ","),
        (b"null,", ","),
        (b"[" * 400 + b"]" * 400 + b",", r"\["),
        (b'"key":0,', '"'),
    ],
)
def test_what_would_take_long_to_parse_is_not_parsed(crowd: bytes, sign: str) -> None:
    """Eight megabytes of it took a second or more, in which no one else was answered."""
    number = 1_000_000 // len(crowd) if sign != "," else 900_000
    content = b'{"images":[' + crowd * number + b"0]}"
    with pytest.raises(InputTooLarge, match=f"^body: more than [0-9,]+ times {sign}; 1,024 images have fewer$"):
        read_pixel_json(content, CONTRACT.image)


@pytest.mark.parametrize("image", [flat(), in_rows()])
def test_an_image_beside_a_boolean_is_not_looked_at_value_by_value(image: list[Any]) -> None:
    """A boolean somewhere made all images of a request so: a thousand took half a second."""
    assert _read_fast(image, CONTRACT.image, only_numbers=False) == bytes([1] * 784)
    for wrong in (True, 1.0, 256, None):
        assert _read_fast(flat((5, wrong)), CONTRACT.image, only_numbers=False) is None
        assert _read_fast(in_rows((5, wrong)), CONTRACT.image, only_numbers=False) is None


def test_the_images_are_given_once() -> None:
    """A parser takes the last of several; another one in front may have read the first."""
    image = orjson.dumps(flat())
    for content in (b'{"images":[%b],"images":[%b]}', b'{"images":[%b], "im\\u0061ges" : [%b]}'):
        with pytest.raises(InputError, match=r"^images: found more than once, expected once$"):
            read_pixel_json(content % (image, image), CONTRACT.image)
    for content in (b'{"im\\u0061ges":[%b]}', b'\xef\xbb\xbf{"images":[%b]}', b'\n{ "images"\t:[%b]}\r\n'):
        assert read_pixel_json(content % image, CONTRACT.image).shape == (1, 28, 28)


def test_a_request_has_at_most_1024_images() -> None:
    image = orjson.dumps(flat())
    full = b'{"images": [' + b",".join([image] * MOST_IMAGES) + b"]}"
    assert read_pixel_json(full, CONTRACT.image).shape == (1024, 28, 28)
    with pytest.raises(InputTooLarge, match="images: 1,025 images, at most 1,024 a request"):
        read_pixel_json(full.replace(b"[", b"[" + image + b",", 1), CONTRACT.image)
