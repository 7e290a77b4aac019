"""Parquet of pixels: parsing, rejects, and limits on memory."""

import dataclasses
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from networks import contract_with, embedding_of, make_network
from PIL import Image
from readings import PIXEL_COLUMNS, WANTED

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Images
from components.dataset.manifest import to_table
from components.errors import InputError, InputTooLarge
from components.readers.blocks import Block
from components.readers.images.photos import write_png
from components.readers.tables import parquet as pixel_parquet
from components.readers.tables.embedded import PictureWork, read_picture_rows
from components.readers.tables.parquet import Rows, describe_layouts, read_pixel_parquet

IMAGES = np.random.default_rng(5).integers(0, 256, (6, 28, 28), np.uint8)
IDS = [f"shoe-{number}" for number in range(6)]
LABELS = np.arange(6, dtype=np.uint8)


def write(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **{"write_page_checksum": True, **options})
    return file.getvalue()


def wide(kind: pa.DataType | None = None, images: Images = IMAGES, **columns: Any) -> pa.Table:
    """A column a pixel, the last pixel first, before the other columns."""
    flat = images.reshape(-1, 784)
    pixels = {name: pa.array(flat[:, 783 - place], kind) for place, name in enumerate(reversed(PIXEL_COLUMNS))}
    return pa.table({**pixels, **columns})


def narrow(pixels: Any, **columns: Any) -> pa.Table:
    return pa.table({"pixels": pa.array(pixels, pa.binary(784)), **columns})


def read(content: bytes) -> list[Block]:
    return list(read_pixel_parquet(io.BytesIO(content), "body", WANTED))


def flat(images: Images) -> list[bytes]:
    return [image.tobytes() for image in images]


# --- what is read ---


def test_our_own_dataset_is_read() -> None:
    (block,) = read(write(to_table(IDS, "train", LABELS, IMAGES, CONTRACT)))
    assert np.array_equal(block.images, IMAGES)
    assert block.images.dtype == np.uint8
    assert list(block.ids) == IDS
    assert block.labels is not None
    assert block.labels.tolist() == LABELS.tolist()
    assert block.lines.tolist() == [1, 2, 3, 4, 5, 6]
    assert block.rejects == ()


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_pixel_columns_may_have_any_order_and_integer_type(kind: str) -> None:
    images = IMAGES // 2  # int8 has no more
    (block,) = read(write(wide(pa.type_for_alias(kind), images, label=pa.array(LABELS, pa.type_for_alias(kind)))))
    assert np.array_equal(block.images, images)
    assert list(block.ids) == ["1", "2", "3", "4", "5", "6"]
    assert block.labels is not None
    assert block.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "ids", [pa.array(IDS, pa.large_string()), pa.array(IDS).dictionary_encode(), pa.array(IDS, pa.string_view())]
)
def test_ids_may_have_any_text_type(ids: pa.Array) -> None:
    assert list(read(write(narrow(flat(IMAGES), id=ids)))[0].ids) == IDS


def test_ids_may_be_numbers() -> None:
    (block,) = read(write(narrow(flat(IMAGES), id=pa.array(range(10, 16)))))
    assert list(block.ids) == ["10", "11", "12", "13", "14", "15"]


@pytest.mark.parametrize("rows", [0, 1, 4096, 10_000])
def test_every_row_is_in_one_block(rows: int) -> None:
    images = np.resize(IMAGES, (rows, 28, 28))
    blocks = read(write(narrow(flat(images)), row_group_size=3000))
    assert [line for block in blocks for line in block.lines] == list(range(1, rows + 1))
    assert np.array_equal(np.concatenate([np.empty((0, 28, 28), np.uint8), *(b.images for b in blocks)]), images)
    assert all(len(block.ids) <= 4096 for block in blocks)


# --- rows that are rejected ---


def test_rejects_have_a_number_a_reason_and_the_original_row() -> None:
    table = wide(pa.int16(), id=IDS, label=pa.array([0, 1, None, 10, -1, 5]))
    column = table.schema.names.index("pixel7")
    values = [IMAGES.reshape(6, 784)[0, 6], 256, 3, 4, 5, None]
    table = table.set_column(column, "pixel7", pa.array(values, pa.int16()))
    (block,) = read(write(table))
    assert (list(block.ids), block.lines.tolist()) == (IDS[:1], [1])
    assert [(reject.line, reject.id, reject.reason) for reject in block.rejects] == [
        (2, "shoe-1", "pixel7: 256 is not a whole number from 0 to 255"),
        (3, "shoe-2", "label: null, expected a whole number from 0 to 9"),
        (4, "shoe-3", "label: 10 is not a whole number from 0 to 9"),
        (5, "shoe-4", "label: -1 is not a whole number from 0 to 9"),
        (6, "shoe-5", "pixel7: null, expected a whole number from 0 to 255"),
    ]
    content = orjson.loads(block.rejects[0].row)
    assert (content["id"], content["label"], content["pixel7"], len(content)) == ("shoe-1", 1, 256, 786)


def test_a_row_without_pixels_or_id_is_rejected() -> None:
    pixels = [IMAGES[0].tobytes(), None, IMAGES[2].tobytes()]
    (block,) = read(write(narrow(pixels, id=["a", "b", None])))
    assert list(block.ids) == ["a"]
    assert [(reject.line, reject.id, reject.reason) for reject in block.rejects] == [
        (2, "b", "pixels: null, expected 784 bytes"),
        (3, "", "id: null, expected an id"),
    ]
    assert orjson.loads(block.rejects[1].row) == {"pixels": IMAGES[2].tobytes().hex(), "id": None}


# --- files that are refused ---

GOOD = write(to_table(IDS, "train", LABELS, IMAGES, CONTRACT), compression="none")


def damaged() -> bytes:
    content = bytearray(GOOD)
    content[content.index(IMAGES[3].tobytes()) + 5] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "not a Parquet file", id="empty"),
        pytest.param(b"id,label\n1,2\n", "not a Parquet file", id="CSV"),
        pytest.param(GOOD[:-20], "not a Parquet file", id="cut short"),
        pytest.param(GOOD[-1000:], "damaged", id="only its end"),
        pytest.param(GOOD[:-4] + b"PARE", "encrypted", id="encrypted"),
        pytest.param(GOOD[:-8] + struct.pack("<I", 1 << 30) + b"PAR1", "footer", id="an endless footer"),
        pytest.param(damaged(), "damaged", id="a bit flipped in a page"),
        pytest.param(write(pa.table({"a": [1]})), "missing 784 column(s)", id="other columns"),
        pytest.param(write(narrow(flat(IMAGES), extra=IDS)), "unknown 1 column(s) 'extra'", id="one too many"),
        pytest.param(write(wide().append_column("pixels", pa.nulls(6))), "ambiguous columns", id="both layouts"),
        pytest.param(write(wide().drop_columns("pixel9")), "missing 1 column(s) 'pixel9'", id="one too few"),
        pytest.param(write(wide().append_column("pixel1", pa.array(LABELS))), "repeated 1 column", id="one twice"),
        pytest.param(write(wide(label=pa.array([[1]] * 6))), "column label: found list", id="a list of labels"),
        pytest.param(write(narrow(flat(IMAGES), id=[[1]] * 6)), "column id: found list", id="nested"),
        pytest.param(write(pa.table({"pixels": ["1"]})), "found string, expected fixed_size", id="pixels as text"),
        pytest.param(
            write(pa.table({"pixels": [b"1" * 9000]})),
            "a cell longer than 2,048",
            id="pixels of any length",
        ),
        pytest.param(write(pa.table({"pixels": [["a"]]})), "expected lists of 784 whole numbers", id="lists of text"),
        pytest.param(write(narrow(flat(IMAGES), id=["x" * 2000] * 6)), "an id longer than 1,024", id="a long id"),
        pytest.param(GOOD[:4] + bytes(len(GOOD) - 200) + GOOD[-196:], "", id="zeros"),
    ],
)
def test_invalid_files_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match="body") as caught:
        read(content)
    assert reason in str(caught.value), describe_layouts(CONTRACT.image)


def test_too_many_rows_are_refused_before_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_parquet, "MAX_ROWS", 5)
    with pytest.raises(InputTooLarge, match="found 6 rows, expected at most 5"):
        read(GOOD)


# --- a small file that would take gigabytes: Thrift's compact protocol by hand, since no writer lies ---

Field = tuple[int, int, bytes]  # id, kind, value


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def number(place: int, value: int, kind: int = 5) -> Field:
    return place, kind, varint(value << 1 if value >= 0 else (-value << 1) - 1)


def text(place: int, value: bytes) -> Field:
    return place, 8, varint(len(value)) + value


def items(place: int, kind: int, *values: bytes) -> Field:
    return place, 9, bytes([0xF0 | kind]) + varint(len(values)) + b"".join(values)


def struct_of(*fields: Field) -> bytes:
    return b"".join(bytes([kind]) + varint(place << 1) + value for place, kind, value in fields) + b"\0"


def forge(content: bytes, rows: int = 10, packed: int | None = None, copies: int = 1) -> bytes:
    """A file of int64 pixel columns that share one page, whose footer hides its decompressed size."""
    body: bytes = pa.compress(content, codec="zstd", asbytes=True)
    kind = struct_of(number(1, rows), number(2, 0), number(3, 3), number(4, 3))
    head = struct_of(number(1, 0), number(2, len(content)), number(3, packed or len(body)), (5, 12, kind))
    page = head + body

    def chunk(name: str) -> bytes:
        path = items(3, 8, varint(len(name)) + name.encode())
        sizes = (number(5, rows, 6), number(6, rows * 8, 6), number(7, len(page), 6), number(9, 4, 6))
        return struct_of(
            number(2, 4, 6),
            (3, 12, struct_of(number(1, 2), items(2, 5, b"\0"), path, number(4, 6), *sizes)),
        )

    group = struct_of(items(1, 12, *map(chunk, PIXEL_COLUMNS)), number(2, rows * 8, 6), number(3, rows, 6))
    leaves = [struct_of(number(1, 2), number(3, 0), text(4, name.encode())) for name in PIXEL_COLUMNS]
    schema = items(2, 12, struct_of(text(4, b"schema"), number(5, 784)), *leaves)
    footer = struct_of(number(1, 2), schema, number(3, rows, 6), items(4, 12, group))
    return b"PAR1" + page * copies + footer + struct.pack("<I", len(footer)) + b"PAR1"


def test_a_forged_file_of_normal_size_is_read() -> None:
    """`forge` writes valid files, so the refusals below are due to its false sizes."""
    (block,) = read(forge(bytes(80), copies=784))
    assert not block.images.any()
    assert len(block.images) == 10


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        pytest.param(
            lambda: forge(bytes(500_000), copies=784), InputTooLarge, "a row group is larger than 256 MiB", id="much"
        ),
        pytest.param(lambda: forge(bytes(300 << 20), copies=784), InputTooLarge, "256 MiB", id="a column alone"),
        pytest.param(lambda: forge(IMAGES.tobytes()), InputError, "overlap", id="columns that share their bytes"),
        pytest.param(
            lambda: forge(bytes(80), packed=1 << 20, copies=784),
            InputError,
            "exceeds its column chunk",
            id="a page too long",
        ),
        pytest.param(
            lambda: forge(bytes(80), packed=-5, copies=784),
            InputError,
            "invalid page header",
            id="a page that goes back",
        ),
    ],
)
def test_oversized_pages_are_never_decompressed(
    content: Callable[[], bytes], kind: type[InputError], reason: str
) -> None:
    forged = content()
    before = psutil.Process().memory_info().rss
    with pytest.raises(kind, match=reason):
        read(forged)
    assert psutil.Process().memory_info().rss - before < 50e6


def equal_rows(count: int, **columns: pa.Array) -> pa.Table:
    pixels = pa.FixedSizeBinaryArray.from_buffers(pa.binary(784), count, [None, pa.py_buffer(bytes(784 * count))])
    return pa.table({"pixels": pixels, **columns})


def one_value(value: object, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(lambda: equal_rows(200_000, id=one_value("x" * 1024, 200_000)), id="the same id in each row"),
        pytest.param(
            lambda: pa.table(
                {"pixels": pa.ListArray.from_arrays([0, 70_000_000], pa.array(np.zeros(70_000_000, np.uint8)))}
            ),
            id="a list of millions",
        ),
        pytest.param(lambda: equal_rows(10, label=one_value("x" * (80 << 20), 10)), id="a label of 80 MB"),
    ],
)
def test_a_decompression_bomb_is_refused_before_reading(table: Callable[[], pa.Table]) -> None:
    content = write(table(), compression="zstd")
    assert len(content) < 100_000
    before = psutil.Process().memory_info().rss
    with pytest.raises(InputTooLarge, match="more than 100 times its size"):
        read(content)
    assert psutil.Process().memory_info().rss - before < 50e6


def test_the_decoding_work_of_a_request_is_limited() -> None:
    large = io.BytesIO()
    Image.new("L", (4000, 4000)).save(large, "PNG")
    content = write(pa.table({"image": pa.array([large.getvalue()] * 9, pa.binary())}))
    with pytest.raises(InputTooLarge, match="the pictures take more than a minute"):
        list(
            read_picture_rows(
                io.BytesIO(content), Rows(range(1), 1), "body", WANTED, PictureWork(50_000_000, "body", CONTRACT)
            )
        )


def test_a_network_counts_for_the_work_of_small_pictures() -> None:
    """Otherwise a request of 300,000 tiny pictures would keep a core busy for an hour."""
    contract = contract_with(dataclasses.replace(embedding_of(make_network()), side=224))
    work, small = PictureWork(3_000_000, "body", contract), write_png(np.zeros((2, 2, 3), np.uint8))
    for _ in range(3):
        work.take(small)
    with pytest.raises(InputTooLarge, match="the pictures take more than a minute"):
        work.take(small)


SMALL = write(narrow(flat(IMAGES), id=IDS, label=LABELS))


@examples(max_examples=1000, deadline=None, database=None, derandomize=True)
@example(0.7501961460275763, b"\x00\x80", 2)  # a column name that is not UTF-8
@given(st.floats(0, 1, allow_subnormal=False), st.binary(max_size=4), st.integers(0, 4))
def test_no_file_breaks_the_reader(place: float, patch: bytes, lost: int) -> None:
    """Every row of what is read is there, or the file is refused."""
    start = int(place * len(SMALL))
    try:
        blocks = read(SMALL[:start] + patch + SMALL[start + lost :])
    except InputError:
        return
    assert sum(len(block.ids) + len(block.rejects) for block in blocks) in {0, 6}
