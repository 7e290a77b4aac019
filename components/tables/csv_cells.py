"""Lines of CSV with anything in them: by Arrow where it refuses just what we refuse, else one by one."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.contract import CLASSES, IMAGE_SHAPE, PIXELS
from components.errors import InputError
from components.tables.blocks import Block, Reject
from components.tables.csv_digits import assemble
from components.tables.layout import BOM, NUMBERS, PIXEL_COLUMNS, Layout, texts_of


def parse_with_arrow(chunk: bytes, layout: Layout, first_line: int) -> Block | None:
    """Parse whole lines with Arrow, or None where `parse_slowly` must look."""
    if not _is_plain(chunk):
        return None
    types = {column: pa.uint8() if column in NUMBERS else pa.string() for column in layout.columns}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(chunk),
            read_options=pa.csv.ReadOptions(column_names=layout.columns, block_size=len(chunk) + 1, use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter=layout.delimiter),
            convert_options=pa.csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != _count_lines(chunk):
        return None  # Arrow leaves out empty lines; we reject them
    pixels = np.empty((PIXELS, table.num_rows), np.uint8)
    for row, column in zip(pixels, layout.pixels.tolist(), strict=True):
        row[:] = table.column(column).chunk(0).to_numpy()
    images = np.ascontiguousarray(pixels.T).reshape(-1, *IMAGE_SHAPE)
    return assemble(layout, images, table, table["label"].to_numpy() if layout.has_labels else None, first_line)


def _is_plain(chunk: bytes) -> bool:
    """Whether Arrow refuses exactly what the slow parser refuses: no quotes, no hexadecimal numbers, no lone CR."""
    return not (
        b'"' in chunk
        or chunk.startswith(BOM)  # Arrow takes it for the beginning of a file
        or (b"x" in chunk and b"0x" in chunk)
        or (b"X" in chunk and b"0X" in chunk)
        or (b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n"))
    )


def _count_lines(chunk: bytes) -> int:
    return chunk.count(b"\n") + (not chunk.endswith(b"\n"))


def parse_slowly(chunk: bytes, layout: Layout, first_line: int) -> Block:
    """Parse whole lines by themselves: those that cannot be read are rejects."""
    lines, ids, labels, rejects = [], [], [], []
    images: list[bytes] = []
    extra: list[list[str]] = []
    kept = [layout.columns.index(column) for column in layout.kept]
    rows = chunk.removesuffix(b"\n").split(b"\n")
    for line, row in enumerate((row.removesuffix(b"\r") for row in rows), first_line):
        row_id = "" if layout.has_ids else str(line - 1)
        try:
            cells = _split(row, layout)
            row_id = cells[layout.columns.index("id")] if layout.has_ids else row_id
            pixels = _read_pixels(cells, layout)
            label = _read_label(cells[layout.columns.index("label")]) if layout.has_labels else 0
        except InputError as error:
            rejects.append(Reject(line, str(error), row, row_id))
            continue
        lines.append(line)
        ids.append(row_id)
        labels.append(label)
        images.append(pixels)
        extra.append([cells[place] for place in kept])
    return Block(
        np.array(lines, np.int64),
        ids,
        np.frombuffer(b"".join(images), np.uint8).reshape(-1, *IMAGE_SHAPE),
        np.array(labels, np.uint8) if layout.has_labels else None,
        tuple(rejects),
        pa.table([[row[place] for row in extra] for place in range(len(kept))], texts_of(layout.kept))
        if kept
        else None,
    )


def _split(row: bytes, layout: Layout) -> list[str]:
    if not row.strip():
        raise InputError("row", "an empty line")
    if b"\r" in row:
        raise InputError("row", "a carriage return inside the line")
    try:
        cells = next(csv.reader([row.decode("utf-8")], delimiter=layout.delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise InputError("row", "not UTF-8 text") from error
    except csv.Error as error:
        raise InputError("row", f"not a CSV row on one line: {error}") from error
    if len(cells) != len(layout.columns):
        raise InputError("row", f"{len(cells)} cells, expected {len(layout.columns)}")
    return cells


def _read_pixels(cells: list[str], layout: Layout) -> bytes:
    ordered = [cells[column].strip(" \t") for column in layout.pixels]
    try:
        if all(map(_is_number, ordered)):
            return bytes(map(int, ordered))
    except ValueError:
        pass  # one is above 255
    for column, cell in zip(PIXEL_COLUMNS, ordered, strict=True):
        if not _is_number(cell) or int(cell) > 255:
            raise InputError(column, f"{cell[:20]!r} is not a whole number from 0 to 255")
    raise AssertionError("unreachable: one of the cells is bad")


def _read_label(cell: str) -> int:
    text = cell.strip(" \t")
    if not _is_number(text) or int(text) >= len(CLASSES):
        raise InputError("label", f"{text[:20]!r} is not a whole number from 0 to 9")
    return int(text)


def _is_number(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) <= 4000  # int() itself refuses more than 4300 digits
