"""CSV of pixels: parsing, rejects, and agreement of the parsers."""

import io
import re
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from noises import Bytes, noise
from readings import PIXEL_COLUMNS, WANTED

from components.errors import InputError
from components.readers.blocks import RowReject
from components.readers.tables import csv as pixel_csv
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.layout import LONGEST_LINE

HEADER = ",".join(PIXEL_COLUMNS)
ROW = ",".join(["1"] * 784)


def read(content: str | bytes) -> tuple[dict[int, Bytes], list[RowReject]]:
    """Read a table: line -> image, and rejects; checks that every line is in exactly one of the two, in order."""
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
    """Independent definition of a valid row without quotes."""
    cells = row.split(b",")
    return len(cells) == 784 and all(is_pixel(cell.strip(b" \t")) for cell in cells)


def is_pixel(cell: bytes) -> bool:
    """Whether a cell is a whole number from 0 to 255 in decimal notation, such as 7, +7, 7.0 or 7e0."""
    return bool(re.fullmatch(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", cell)) and float(cell) in range(256)


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
    """A quote at the end of the file forces the slow parser."""
    table = HEADER.encode() + end + b"".join(row + end for row in rows)
    images, rejects = read(table)
    slow_images, slow_rejects = read(table + b'"\n')
    assert slow_images.keys() == images.keys()
    assert all(np.array_equal(slow_images[line], images[line]) for line in images)
    assert slow_rejects[:-1] == rejects
    assert [line in images for line in range(2, len(rows) + 2)] == [is_image(row) for row in rows]
    assert [reject.row for reject in rejects] == [row for row in rows if not is_image(row)]


def test_pixels_keep_their_positions() -> None:
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
def test_an_id_in_the_first_column_may_be_any_text(ids: list[str], end: str) -> None:
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
def test_an_invalid_label_is_a_reject(bad: str, quote: str) -> None:
    content = f"label,{HEADER}\n9,{ROW}\n{quote}{bad}{quote},{ROW}\n"
    images, rejects = read(content)
    assert list(images) == [2]
    assert rejects[0].reason == f"label: {bad!r} is not a whole number from 0 to 9, nor the name of a class"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "a.csv: found no header"),
        ("\n", "a.csv: found no header"),
        ("\ufeff\n", "a.csv: found no header"),
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
def test_an_invalid_header_is_refused(header: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(header)
    assert refused.value.field == "a.csv"
    assert len(str(refused.value)) < 400


def test_a_header_of_only_commas_is_refused_quickly() -> None:
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
def test_a_blank_line_is_a_reject(blank: str) -> None:
    images, rejects = read("\n".join([HEADER, blank, ROW, blank, blank, ROW, blank]) + "\n")
    assert list(images) == [3, 6]
    assert [(reject.line, reject.reason) for reject in rejects] == [(n, "row: empty line") for n in (2, 4, 5, 7)]


@pytest.mark.parametrize("cell", ["256", "-1", "1.5", "NaN", "nan", "", "white", "1e3", "0x1F", "\0", "1 2", "=1+1"])
@pytest.mark.parametrize("column", [0, 5, 783])
def test_an_invalid_pixel_is_named(cell: str, column: int) -> None:
    row = row_with(cell, column)
    images, rejects = read(b"\n".join([HEADER.encode(), ROW.encode(), row, ROW.encode()]))
    assert list(images) == [2, 4]
    reason = f"{PIXEL_COLUMNS[column]}: {cell!r} is not a whole number from 0 to 255"
    assert rejects == [RowReject(3, reason, row, "2")]


@pytest.mark.parametrize(("row", "cells"), [(ROW[:-2], 783), (ROW + ",1", 785), (ROW + ",", 785), ("1;2", 1)])
def test_a_row_with_another_number_of_cells_is_a_reject(row: str, cells: int) -> None:
    images, rejects = read(f"{HEADER}\n{row}\n{ROW}\n")
    assert list(images) == [3]
    assert rejects == [RowReject(2, f"row: found {cells} cells, expected 784", row.encode(), "1")]


def test_a_quoted_row_is_read() -> None:
    images, rejects = read(HEADER + "\n" + ",".join(f'"{number % 256}"' for number in range(784)) + "\n")
    assert rejects == []
    assert np.array_equal(images[2].ravel(), np.arange(784) % 256)


@pytest.mark.parametrize("row", ['"' + ROW, ROW[:-1] + '"1', ROW[:-1] + '"1"x', '"1\n1",' + ROW[4:]])
def test_an_unclosed_quote_ends_with_its_line(row: str) -> None:
    images, rejects = read(f"{HEADER}\n{row}\n{ROW}\n")
    assert list(images) == [2 + len(row.split("\n"))]
    assert [reject.row.decode() for reject in rejects] == row.split("\n")
    assert "cannot parse the line as one CSV row" in rejects[0].reason


@pytest.mark.parametrize("tail", ["hello", ROW, '"'])
@pytest.mark.parametrize("inside", ["\r", "\r\r"])
def test_a_line_with_a_lone_carriage_return_is_one_reject(tail: str, inside: str) -> None:
    row = ROW + inside + tail
    images, rejects = read(f"{HEADER}\n{row}\n{ROW}\n")
    assert list(images) == [3], "half of a line is not a row"
    assert [reject.row for reject in rejects] == [row.encode()]


@pytest.mark.parametrize("row", [b"\xff\xfe" + ROW.encode(), row_with(b"\xe9"), b"Stra\xdfe", b"\xed\xa0\x80"])
def test_a_row_that_is_not_utf8_is_a_reject_with_its_bytes(row: bytes) -> None:
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
def test_a_line_longer_than_64_kib_is_refused(lines: list[str]) -> None:
    with pytest.raises(InputError, match="line is longer than 65,536 bytes"):
        read("\n".join([HEADER, *lines]))


def test_a_header_longer_than_64_kib_is_refused() -> None:
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


def test_an_endless_line_is_refused_early() -> None:
    endless = Endless()
    with pytest.raises(InputError, match="line is longer than 65,536 bytes"):
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


def test_a_table_with_several_blocks() -> None:
    rows = [ROW.replace("1", str(100 + number % 150)) for number in range(3000)]
    rows[2999] = "bad"
    content = "\n".join([HEADER, *rows]).encode()
    assert len(content) > 2 * pixel_csv.BLOCK
    images, rejects = read(content)
    assert [image[0, 0] for image in images.values()] == [100 + number % 150 for number in range(2999)]
    assert [reject.line for reject in rejects] == [3001]
