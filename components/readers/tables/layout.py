"""Read the column layout of a CSV of pixels from its first lines."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import DataContract, ImageSpec
from components.errors import InputError
from components.readers.blocks import Wanted
from components.readers.tables.columns import (
    FILES,
    Columns,
    find_remedies,
    find_wrong_columns,
    pixel_column_set,
    pixel_columns,
    read_columns,
    require_pixels,
)
from components.readers.tables.numbers import LARGEST_NUMBER, whole_number

LONGEST_LINE = 64 << 10  # bytes, or 8 per pixel if that is more: a small image with a label and an id takes 4,000
OF_A_PIXEL = 8
BOM = b"\xef\xbb\xbf"
COMMA = ","
DELIMITERS = (",", ";", "\t", "|")  # tried if the header does not fit the configured one
SEPARATOR = re.compile(rb'"?sep=([ -~\t])"?\r?\n', re.IGNORECASE)  # first line that Excel writes and reads
ARFF = re.compile(rb"\s*(%[^\n]*\n\s*)*@relation\b", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)""", re.IGNORECASE)


@dataclass(frozen=True)
class TableLayout:
    """The columns of a file, in file order."""

    columns: tuple[str, ...]  # normalised names, see `read_columns`
    pixels: NDArray[np.intp] = field(repr=False)  # (values per image,) column index of each pixel
    names: tuple[str, ...] = field(repr=False)  # (values per image,) original name of each pixel column
    wanted: Wanted = field(repr=False)
    delimiter: str = COMMA
    before: int = 1  # lines before the first row
    notes: tuple[str, ...] = ()  # assumptions to report to the user

    @property
    def numbers(self) -> tuple[int, int] | None:
        """Column range of the pixels and an adjacent label, end exclusive; None if there are other columns between."""
        first, last = int(self.pixels.min()), int(self.pixels.max()) + 1
        first -= first > 0 and self.columns[first - 1] == "label"
        last += self.columns[last : last + 1] == ("label",)
        return (first, last) if (self._pixels | {"label"}).issuperset(self.columns[first:last]) else None

    @property
    def pixels_alone(self) -> tuple[int, int] | None:
        """As `numbers`, without the label."""
        first, last = int(self.pixels.min()), int(self.pixels.max()) + 1
        return (first, last) if self._pixels.issuperset(self.columns[first:last]) else None

    @property
    def _pixels(self) -> frozenset[str]:
        return pixel_column_set(self.wanted.contract.image)

    @property
    def has_ids(self) -> bool:
        """Whether the file has an id column."""
        return "id" in self.columns

    @property
    def has_labels(self) -> bool:
        """Whether the file has a label column."""
        return "label" in self.columns


@dataclass(frozen=True)
class TableHeader:
    """The column names of a CSV, and the extent of its header."""

    cells: tuple[str, ...]
    delimiter: str
    size: int  # bytes before the first row
    lines: int  # lines before the first row


def longest_line(image: ImageSpec) -> int:
    """Maximum bytes per CSV line."""
    return max(LONGEST_LINE, OF_A_PIXEL * image.size)


def read_head(head: bytes, name: str, wanted: Wanted, delimiter: str = COMMA) -> tuple[TableLayout, int]:
    """Read the layout from the first lines of a file; also returns the number of bytes before the first row.

    Args:
        head: first bytes of the file: one more than the longest line, or the complete file.
        name: file name for errors.
        wanted: what to read.
        delimiter: one character, see `TableReading`; if the header does not fit, others are tried.

    Raises:
        InputError: as for `read_pixel_csv`.
    """
    require_pixels(wanted.contract, name)
    header = find_header(head, name, wanted.contract.image, delimiter)
    found = _read_without_header(head, header, name, wanted) if _is_numbers(header.cells, wanted.contract) else None
    layout = found or _to_layout(header, name, wanted)
    return layout, 0 if found and not found.before else header.size


def find_header(head: bytes, name: str, image: ImageSpec, delimiter: str = COMMA) -> TableHeader:
    """Find the header of a CSV or ARFF file.

    Raises:
        InputError: the header is empty, too long or malformed.
    """
    start = len(BOM) if head.startswith(BOM) else 0
    if ARFF.match(head, start):
        return _read_attributes(head, name)
    lines = 1
    if separator := SEPARATOR.match(head, start):
        start, delimiter, lines = separator.end(), separator[1].decode(), 2
    end = head.find(b"\n", start) + 1 or len(head)
    text = head[start:end].decode("utf-8", "replace").rstrip("\r\n")
    if not text.strip():
        message = f"found no header, expected [id,][label,]pixel1,...,pixel{image.size}"
        raise InputError(name, message)
    refuse_long_lines(head[start:end], name, longest_line(image))
    others = [] if separator else [mark for mark in DELIMITERS if mark != delimiter and mark in text]
    cells = _split(text, delimiter, name)
    for mark in others if not _could_be_header(cells, image) else ():
        if _could_be_header(other := _split(text, mark, name), image):
            return TableHeader(other, mark, end, lines)
    return TableHeader(cells, delimiter, end, lines)


def _could_be_header(cells: Sequence[str], image: ImageSpec) -> bool:
    """Whether these cells can be a header: enough for pixels, or with a column of picture files."""
    return len(cells) >= image.size or not set(FILES).isdisjoint(cells)


def _split(text: str, delimiter: str, name: str) -> tuple[str, ...]:
    try:
        return tuple(cell.strip() for cell in next(csv.reader([text], delimiter=delimiter)))
    except csv.Error as error:
        raise InputError(name, f"cannot parse the header: {error}") from error


def _to_layout(header: TableHeader, name: str, wanted: Wanted) -> TableLayout:
    image = wanted.contract.image
    try:
        columns = read_columns(header.cells, image, wanted.kept, wanted.dropped)
    except InputError as error:
        raise InputError(name, f"{error.field}: {error.reason}").suggesting(*error.remedies) from error
    needed, optional = (*pixel_columns(image), *wanted.kept), ("id", "label", *wanted.dropped)
    if wrong := find_wrong_columns(columns.names, needed, optional):
        remedies = find_remedies(columns.names, needed, optional)
        expected = f"[id,][label,]pixel1,...,pixel{image.size}"
        raise InputError(name, f"header: {wrong}; expected {expected}").suggesting(*remedies)
    return _place(columns, header.cells, header, wanted)


def _place(columns: Columns, cells: Sequence[str], header: TableHeader, wanted: Wanted) -> TableLayout:
    at = {column: index for index, column in enumerate(columns.names)}
    indices = np.array([at[column] for column in pixel_columns(wanted.contract.image)])
    names = tuple(cells[index] for index in indices)
    return TableLayout(columns.names, indices, names, wanted, header.delimiter, header.lines, columns.notes)


def _read_attributes(head: bytes, name: str) -> TableHeader:
    """Read an ARFF header: a line `@attribute NAME TYPE` per column, then `@data`; CSV lines follow."""
    found = re.search(rb"^\s*@data[^\n]*\n", head, re.IGNORECASE | re.MULTILINE)
    if not found:
        raise InputError(name, "found an ARFF file without an @data line in its first 64 KiB")
    text = head[: found.start()].decode("utf-8", "replace")
    if re.match(rb"\s*\{", head[found.end() :]):
        raise InputError(name, "found a sparse ARFF file, expected a dense one, or CSV")
    cells = tuple(match[1].strip("'\"") for match in ATTRIBUTE.finditer(text))
    return TableHeader(cells, COMMA, found.end(), head[: found.end()].count(b"\n"))


# --- files without a header ---


def _is_numbers(cells: Sequence[str], contract: DataContract) -> bool:
    """Whether a line is a row of pixels with or without a label, or numbers the columns from 0."""
    size = contract.image.size
    if len(cells) not in (size, size + 1):
        return False
    if cells == tuple(map(str, range(size + 1))):
        return True
    ends = (whole_number(cell, LARGEST_NUMBER) for cell in (cells[0], cells[-1]))
    return all(whole_number(cell, 255) is not None for cell in cells[1:-1]) and all(
        value is not None and (value <= 255 or contract.label_of_number(value) is not None) for value in ends
    )


def _read_without_header(head: bytes, header: TableHeader, name: str, wanted: Wanted) -> TableLayout:
    """Infer the layout of rows without column names.

    Raises:
        InputError: the label column is ambiguous.
    """
    pixels = pixel_columns(wanted.contract.image)
    is_numbered = header.cells == tuple(map(str, range(len(pixels) + 1)))
    before = header.lines if is_numbered else header.lines - 1
    skipped = header.size if is_numbered else 0
    label = ""
    if len(header.cells) > len(pixels):
        label = _find_label(_first_rows(head[skipped:], header), name, wanted.contract)
    names = {"": pixels, "first": ("label", *pixels), "last": (*pixels, "label")}[label]
    meaning = f"{len(pixels)} pixels, with the label {label}" if label else f"{len(pixels)} pixels"
    note = f"no header: the {len(header.cells)} numbers of each row are read as {meaning}"
    columns = Columns(names, (note,))
    return replace(_place(columns, names, header, wanted), before=before)


def _first_rows(head: bytes, header: TableHeader) -> Iterator[list[str]]:
    """Yield the cells of the complete lines in the first bytes of a file."""
    lines = head.removeprefix(BOM).decode("utf-8", "replace").splitlines()
    for line in lines[:-1] if len(lines) > 2 else lines:  # the last may be truncated
        cells = line.split(header.delimiter)
        if len(cells) == len(header.cells):
            yield [cell.strip(' \t"') for cell in cells]


def _find_label(rows: Iterator[list[str]], name: str, contract: DataContract) -> str:
    """Decide whether the first or the last number of each row is the label.

    A corner pixel is nearly always 0, and a label rarely 0 in every row. So of two candidate columns, the one that is
    always 0 is the corner. If both are, the label comes first.
    """
    found = list(rows)
    edges = [[whole_number(row[index], LARGEST_NUMBER) for row in found] for index in (0, -1)]
    first, last = (
        all(value is not None and contract.label_of_number(value) is not None for value in edge) for edge in edges
    )
    counts_up = len(found) > 2 and edges[0] in (list(range(len(found))), list(range(1, len(found) + 1)))
    if first and not any(edges[1]) and not counts_up:
        return "first"
    if last and any(edges[1]) and not any(edges[0]):
        return "last"
    if first and not last and not counts_up:
        return "first"
    size = contract.image.size
    message = f"found {size + 1} numbers per row without a header: the label could be the first or the last"
    raise InputError(name, f"{message}. Add a header: label,pixel1,...,pixel{size}")


def texts_of(names: Sequence[str]) -> pa.Schema:
    """The schema of kept CSV columns."""
    return pa.schema([(name, pa.string()) for name in names])


def refuse_long_lines(chunk: bytes, name: str, most: int) -> None:
    """Refuse lines longer than `most` bytes.

    Args:
        chunk: bytes from the start of a line.
        name: file name for errors.
        most: see `longest_line`.

    Raises:
        InputError: a line is longer, even if its end is not in `chunk`.
    """
    start = 0
    while len(chunk) - start > most:
        end = chunk.rfind(b"\n", start, start + most + 1)
        if end < 0:
            raise InputError(name, f"a line is longer than {most:,} bytes. Is this a CSV file?")
        start = end + 1
