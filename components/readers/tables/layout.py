"""The columns of a CSV of pixels, as its first lines declare them."""

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
    every_pixel,
    find_remedies,
    find_wrong_columns,
    pixel_columns,
    read_columns,
)
from components.readers.tables.numbers import LARGEST_NUMBER, whole_number

LONGEST_LINE = 64 << 10  # bytes, or so many for each pixel: a small image, a label and an id take 4,000
OF_A_PIXEL = 8
BOM = b"\xef\xbb\xbf"
COMMA = ","
DELIMITERS = (",", ";", "\t", "|")  # that are tried where a header does not fit
SEPARATOR = re.compile(rb'"?sep=([ -~\t])"?\r?\n', re.IGNORECASE)  # the first line that Excel writes and reads
ARFF = re.compile(rb"\s*(%[^\n]*\n\s*)*@relation\b", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)""", re.IGNORECASE)


@dataclass(frozen=True)
class TableLayout:
    """The columns of one file, in its order."""

    columns: tuple[str, ...]  # what they stand for, see `read_columns`
    pixels: NDArray[np.intp] = field(repr=False)  # (numbers of an image,) where each pixel's column stands
    names: tuple[str, ...] = field(repr=False)  # likewise, what the file calls it
    wanted: Wanted = field(repr=False)
    delimiter: str = COMMA
    before: int = 1  # lines before the first row
    notes: tuple[str, ...] = ()  # what was assumed

    @property
    def numbers(self) -> tuple[int, int] | None:
        """The first column of the pixels, a label beside them included, and the one after the last; None where a
        text stands among them."""
        first, last = int(self.pixels.min()), int(self.pixels.max()) + 1
        first -= first > 0 and self.columns[first - 1] == "label"
        last += self.columns[last : last + 1] == ("label",)
        return (first, last) if (self._pixels | {"label"}).issuperset(self.columns[first:last]) else None

    @property
    def pixels_alone(self) -> tuple[int, int] | None:
        """As `numbers`, without a label beside them."""
        first, last = int(self.pixels.min()), int(self.pixels.max()) + 1
        return (first, last) if self._pixels.issuperset(self.columns[first:last]) else None

    @property
    def _pixels(self) -> frozenset[str]:
        return every_pixel(self.wanted.contract.image)

    @property
    def has_ids(self) -> bool:
        """Whether rows name themselves."""
        return "id" in self.columns

    @property
    def has_labels(self) -> bool:
        """Whether rows have a class."""
        return "label" in self.columns


@dataclass(frozen=True)
class TableHeader:
    """The cells that name the columns of a CSV, and what stands before its rows."""

    cells: tuple[str, ...]
    delimiter: str
    size: int  # bytes from the start of the file to its first row
    lines: int  # likewise


def longest_line(image: ImageSpec) -> int:
    """Bytes of a line of CSV, at most."""
    return max(LONGEST_LINE, OF_A_PIXEL * image.size)


def read_head(head: bytes, name: str, wanted: Wanted, delimiter: str = COMMA) -> tuple[TableLayout, int]:
    """The layout that the first lines of a file declare, and how many bytes stand before the first row.

    Args:
        head: the first bytes of the file, one more than a line may have, or all of it.
        name: what to call the file in an error.
        wanted: what is read of it.
        delimiter: one character, see `TableReading`; where the header does not fit, others are tried.

    Raises:
        InputError: as for `read_pixel_csv`.
    """
    image = wanted.contract.image
    header = find_header(head, name, image, delimiter)
    found = _read_without_header(head, header, name, wanted) if _is_numbers(header.cells, wanted.contract) else None
    layout = found or _to_layout(header, name, wanted)
    return layout, 0 if found and not found.before else header.size


def find_header(head: bytes, name: str, image: ImageSpec, delimiter: str = COMMA) -> TableHeader:
    """The header of a CSV or an ARFF file.

    Raises:
        InputError: it is empty, longer than a line may be, or cannot be read.
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
        told = f"empty; expected a header: label,pixel1,...,pixel{image.size}, with or without id and label"
        raise InputError(name, told)
    refuse_long_lines(head[start:end], name, longest_line(image))
    others = [] if separator else [mark for mark in DELIMITERS if mark != delimiter and mark in text]
    cells = _split(text, delimiter, name)
    for mark in others if not _may_fit(cells, image) else ():
        if _may_fit(other := _split(text, mark, name), image):
            return TableHeader(other, mark, end, lines)
    return TableHeader(cells, delimiter, end, lines)


def _may_fit(cells: Sequence[str], image: ImageSpec) -> bool:
    """Whether these can be the columns of a table: enough for pixels, or one of picture files."""
    return len(cells) >= image.size or not set(FILES).isdisjoint(cells)


def _split(text: str, delimiter: str, name: str) -> tuple[str, ...]:
    try:
        return tuple(cell.strip() for cell in next(csv.reader([text], delimiter=delimiter)))
    except csv.Error as error:
        raise InputError(name, f"header: {error}") from error


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
    at = {column: place for place, column in enumerate(columns.names)}
    places = np.array([at[column] for column in pixel_columns(wanted.contract.image)])
    names = tuple(cells[place] for place in places)
    return TableLayout(columns.names, places, names, wanted, header.delimiter, header.lines, columns.notes)


def _read_attributes(head: bytes, name: str) -> TableHeader:
    """ARFF: a line `@attribute NAME TYPE` a column, then `@data`, then lines of CSV."""
    found = re.search(rb"^\s*@data[^\n]*\n", head, re.IGNORECASE | re.MULTILINE)
    if not found:
        raise InputError(name, "an ARFF file without a line @data in its first 64 KiB")
    text = head[: found.start()].decode("utf-8", "replace")
    if re.match(rb"\s*\{", head[found.end() :]):
        raise InputError(name, "a sparse ARFF file, which is not read here; expected a dense one, or CSV")
    cells = tuple(match[1].strip("'\"") for match in ATTRIBUTE.finditer(text))
    return TableHeader(cells, COMMA, found.end(), head[: found.end()].count(b"\n"))


# --- files without a header ---


def _is_numbers(cells: Sequence[str], contract: DataContract) -> bool:
    """Whether a line is a row of pixels with a label or without one, or numbers their columns from 0."""
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
    """The layout of rows that no line names.

    Raises:
        InputError: the label could be the first or the last column, or neither.
    """
    pixels = pixel_columns(wanted.contract.image)
    is_numbered = header.cells == tuple(map(str, range(len(pixels) + 1)))
    before = header.lines if is_numbered else header.lines - 1
    skipped = header.size if is_numbered else 0
    label = ""
    if len(header.cells) > len(pixels):
        label = _find_label(_first_rows(head[skipped:], header), name, wanted.contract)
    names = {"": pixels, "first": ("label", *pixels), "last": (*pixels, "label")}[label]
    taken = f"the label, which comes {label}, and {len(pixels)} pixels" if label else f"{len(pixels)} pixels"
    note = f"no header names the columns: the {len(header.cells)} numbers of a row are taken for {taken}"
    columns = Columns(names, (note,))
    return replace(_place(columns, names, header, wanted), before=before)


def _first_rows(head: bytes, header: TableHeader) -> Iterator[list[str]]:
    """The whole lines among the first bytes of a file."""
    lines = head.removeprefix(BOM).decode("utf-8", "replace").splitlines()
    for line in lines[:-1] if len(lines) > 2 else lines:  # the last may be cut off
        cells = line.split(header.delimiter)
        if len(cells) == len(header.cells):
            yield [cell.strip(' \t"') for cell in cells]


def _find_label(rows: Iterator[list[str]], name: str, contract: DataContract) -> str:
    """Whether the first number of each row is the label, or the last.

    A corner of an image is nearly always black, and a label rarely 0 in every row: of two columns that could be labels,
    the one that is always 0 is the corner. The label comes first where both are.
    """
    found = list(rows)
    edges = [[whole_number(row[place], LARGEST_NUMBER) for row in found] for place in (0, -1)]
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
    told = f"{size + 1} numbers a row and no header: the first and the last could both be the label, or neither"
    raise InputError(name, f"{told}; add a header: label,pixel1,...,pixel{size}")


def texts_of(names: Sequence[str]) -> pa.Schema:
    """The columns of a CSV that come along."""
    return pa.schema([(name, pa.string()) for name in names])


def refuse_long_lines(chunk: bytes, name: str, most: int) -> None:
    """Look for a line end at least every so many bytes.

    Args:
        chunk: bytes that begin where a line does.
        name: what to call the file in an error.
        most: see `longest_line`.

    Raises:
        InputError: a line, or what is there of the last one, is longer.
    """
    start = 0
    while len(chunk) - start > most:
        end = chunk.rfind(b"\n", start, start + most + 1)
        if end < 0:
            raise InputError(name, f"a line of more than {most:,} bytes; is this a CSV file?")
        start = end + 1
