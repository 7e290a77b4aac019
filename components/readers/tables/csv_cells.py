"""Parse CSV lines with any content: with Arrow if it rejects the same rows as we do, otherwise one by one."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.csv

from components.contract import DataContract
from components.errors import InputError
from components.readers.blocks import Block, RowReject
from components.readers.tables.columns import pixel_column_set
from components.readers.tables.csv_digits import assemble
from components.readers.tables.layout import BOM, TableLayout, texts_of
from components.readers.tables.numbers import (
    UNLABELLED,
    describe_labels,
    is_pixels,
    number,
    read_label,
    read_labels,
    whole_number,
)


def parse_with_arrow(chunk: bytes, layout: TableLayout, first_line: int) -> Block | None:
    """Parse complete lines with Arrow; None if `parse_slowly` is needed."""
    if not _is_plain(chunk):
        return None
    table = _read_table(chunk, layout, pa.uint8())
    if table is None and b"." in chunk:
        table = _read_table(chunk, layout, pa.float64())
    if table is None or table.num_rows != _count_lines(chunk):
        return None  # Arrow skips empty lines; we reject them
    pixels = np.empty((len(layout.pixels), table.num_rows), np.uint8)
    for row, column in zip(pixels, layout.pixels.tolist(), strict=True):
        values = table.column(column).chunk(0).to_numpy()
        if values.dtype != np.uint8 and not is_pixels(values).all():
            return None
        row[:] = values
    images = np.ascontiguousarray(pixels.T).reshape(-1, *layout.wanted.contract.image.shape)
    return assemble(layout, images, table, None, first_line)


def _read_table(chunk: bytes, layout: TableLayout, kind: pa.DataType) -> pa.Table | None:
    """Read lines with pixels of type `kind` and text in other columns; None if Arrow cannot."""
    pixels = pixel_column_set(layout.wanted.contract.image)
    types = {column: kind if column in pixels else pa.string() for column in layout.columns}
    try:
        return pa.csv.read_csv(
            pa.BufferReader(chunk),
            read_options=pa.csv.ReadOptions(column_names=layout.columns, block_size=len(chunk) + 1, use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter=layout.delimiter),
            convert_options=pa.csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except pa.ArrowInvalid:
        return None


def _is_plain(chunk: bytes) -> bool:
    """Whether Arrow rejects the same rows as `parse_slowly`: no quotes, no hexadecimal numbers, no lone CR."""
    return not (
        b'"' in chunk
        or chunk.startswith(BOM)  # Arrow would skip it
        or (b"x" in chunk and b"0x" in chunk)
        or (b"X" in chunk and b"0X" in chunk)
        or (b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n"))
    )


def _count_lines(chunk: bytes) -> int:
    return chunk.count(b"\n") + (not chunk.endswith(b"\n"))


def parse_slowly(chunk: bytes, layout: TableLayout, first_line: int) -> Block:
    """Parse complete lines one by one; unreadable lines become rejects."""
    lines, ids, labels, rejects = [], [], list[str](), []
    images: list[bytes] = []
    extra: list[list[str]] = []
    contract, wanted = layout.wanted.contract, layout.wanted
    kept = [layout.columns.index(column) for column in wanted.kept]
    rows = chunk.removesuffix(b"\n").split(b"\n")
    for line, row in enumerate((row.removesuffix(b"\r") for row in rows), first_line):
        row_id = "" if layout.has_ids else str(line - layout.before)
        try:
            cells = _split(row, layout)
            row_id = cells[layout.columns.index("id")] if layout.has_ids else row_id
            pixels = _read_pixels(cells, layout)
            label = cells[layout.columns.index("label")] if layout.has_labels else ""
            if layout.has_labels and wanted.strict:
                _check_label(label, contract)
        except InputError as error:
            rejects.append(RowReject(line, str(error), row, row_id))
            continue
        lines.append(line)
        ids.append(row_id)
        labels.append(label)
        images.append(pixels)
        extra.append([cells[index] for index in kept])
    numbers, unread = read_labels(pa.array(labels, pa.string()), contract)
    kept_columns = pa.table([[row[index] for row in extra] for index in range(len(kept))], texts_of(wanted.kept))
    return Block(
        np.array(lines, np.int64),
        ids,
        np.frombuffer(b"".join(images), np.uint8).reshape(-1, *contract.image.shape),
        numbers if layout.has_labels else None,
        tuple(rejects),
        kept_columns if kept else None,
        unread=unread if layout.has_labels else {},
    )


def _split(row: bytes, layout: TableLayout) -> list[str]:
    if not row.strip():
        raise InputError("row", "empty line")
    if b"\r" in row:
        raise InputError("row", "carriage return within the line")
    try:
        cells = next(csv.reader([row.decode("utf-8")], delimiter=layout.delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise InputError("row", "not UTF-8 text") from error
    except csv.Error as error:
        raise InputError("row", f"cannot parse the line as one CSV row: {error}") from error
    if len(cells) != len(layout.columns):
        raise InputError("row", f"found {len(cells)} cells, expected {len(layout.columns)}")
    return cells


def _read_pixels(cells: list[str], layout: TableLayout) -> bytes:
    ordered = [cells[column].strip(" \t") for column in layout.pixels]
    if not any(ordered):
        raise InputError("row", "all cells are empty")
    try:
        if all(map(_is_digits, ordered)):
            return bytes(map(int, ordered))
        return bytes(_to_byte(cell) for cell in ordered)
    except ValueError:
        pass  # a cell is above 255 or not a whole number
    for column, cell in zip(layout.names, ordered, strict=True):
        if whole_number(cell, 255) is None:
            raise InputError(column, f"{cell[:20]!r} is not a whole number from 0 to 255{_advise(cell)}")
    raise AssertionError("unreachable: one of the cells is bad")


def _to_byte(cell: str) -> int:
    value = whole_number(cell, 255)
    if value is None:
        raise ValueError(cell)
    return value


def _advise(cell: str) -> str:
    value = number(cell)
    return ". Multiply pixels from 0 to 1 by 255" if value is not None and 0 < value < 1 else ""


def _check_label(cell: str, contract: DataContract) -> None:
    if read_label(cell, contract) == UNLABELLED:
        text = cell.strip(" \t")[:20]
        raise InputError("label", f"{text!r} is not {describe_labels(contract)}")


def _is_digits(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) <= 4000  # int() itself refuses more than 4300 digits
