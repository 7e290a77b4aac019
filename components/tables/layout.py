"""The columns of a table of pixels: which there are, which may be, and which are wrong."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import PIXELS
from components.errors import InputError

PIXEL_COLUMNS = tuple(f"pixel{number}" for number in range(1, PIXELS + 1))
LONGEST_LINE = 64 << 10  # bytes; 784 pixels, a label and an id take 4,000
BOM = b"\xef\xbb\xbf"
COMMA = ","
DELIMITERS = (",", ";", "\t", "|")  # that are thought of where a header does not fit
EXPECTED = "[id,][label,]pixel1,...,pixel784"
NUMBERS = {*PIXEL_COLUMNS, "label"}


@dataclass(frozen=True)
class Layout:
    """The columns of one file, in its order."""

    columns: tuple[str, ...]
    pixels: NDArray[np.intp] = field(repr=False)  # (784,) where each pixel's column stands
    delimiter: str = COMMA
    kept: tuple[str, ...] = ()  # columns that come along

    @property
    def numbers(self) -> tuple[int, int] | None:
        """The first column of the pixels, a label beside them included, and the one after the last; None where a
        text stands among them."""
        first, last = int(self.pixels.min()), int(self.pixels.max()) + 1
        first -= first > 0 and self.columns[first - 1] == "label"
        last += self.columns[last : last + 1] == ("label",)
        return (first, last) if NUMBERS.issuperset(self.columns[first:last]) else None

    @property
    def has_ids(self) -> bool:
        """Whether rows name themselves."""
        return "id" in self.columns

    @property
    def has_labels(self) -> bool:
        """Whether rows have a class."""
        return "label" in self.columns


def read_header(
    header: bytes,
    name: str,
    delimiter: str = COMMA,
    kept: Sequence[str] = (),
    dropped: Sequence[str] = (),
) -> Layout:
    """The layout that a header line declares.

    Args:
        header: the line.
        name: what to call the file in an error.
        delimiter: one character, see `Reading`.
        kept: columns that must be there and come along.
        dropped: columns that may be there.

    Raises:
        InputError: as for `read_pixel_csv`.
    """
    text = header.removeprefix(BOM).decode("utf-8", "replace").rstrip("\r\n")
    if not text.strip():
        raise InputError(name, "empty; expected a header: label,pixel1,...,pixel784, with or without id and label")
    refuse_long_lines(header, name)
    needed, optional = (*PIXEL_COLUMNS, *kept), ("id", "label", *dropped)
    try:
        columns = tuple(cell.strip() for cell in next(csv.reader([text], delimiter=delimiter)))
    except csv.Error as error:
        raise InputError(name, f"header: {error}") from error
    if wrong := find_wrong_columns(columns, needed, optional):
        raise InputError(name, f"header: {wrong}; {_guess(text, delimiter) or advise(columns, needed, optional)}")
    places = np.array([columns.index(column) for column in PIXEL_COLUMNS])
    return Layout(leave_out(columns, dropped), places, delimiter, tuple(kept))


def leave_out(columns: Sequence[str], dropped: Sequence[str]) -> tuple[str, ...]:
    """The columns of a CSV in their order; where one named id or label is dropped, by a name that nobody looks for."""
    return tuple(f"{column}\0" if column in dropped and column in {"id", "label"} else column for column in columns)


def _guess(header: str, delimiter: str) -> str:
    """Which other delimiter the header would fit with, as a question; empty where none."""
    for other in DELIMITERS:
        if other != delimiter and {"pixel1", "pixel784"} <= {cell.strip(' "') for cell in header.split(other)}:
            spelled = "tab" if other == "\t" else f"'{other}'"
            return f"is the delimiter {spelled}? --delimiter {spelled}"
    return ""


def advise(columns: Sequence[str], needed: Sequence[str], optional: Sequence[str], expected: str = EXPECTED) -> str:
    """What to do about columns that are not those expected."""
    known = {*needed, *optional}
    unknown = [column for column in columns if column not in known]
    if unknown and set(needed) <= set(columns):
        return f"expected {expected}; --keep {unknown[0][:20]!r} takes such a column along, --drop leaves it out"
    return f"expected {expected}"


def find_wrong_columns(columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> str:
    """Which are missing, unknown or repeated, in words; empty where all is well."""
    counts, known = Counter(columns), {*needed, *optional}
    problems = [
        _listed("missing", [c for c in needed if c not in counts]),
        _listed("unknown", [c for c in columns if c not in known]),
        _listed("repeated", [c for c, count in counts.items() if count > 1]),
    ]
    return ", ".join(filter(None, problems))


def _listed(what: str, columns: list[str]) -> str:
    shown = ", ".join(repr(column[:20]) for column in columns[:3]) + (", ..." if len(columns) > 3 else "")
    return f"{what} {len(columns)} column(s) {shown}" if columns else ""


def texts_of(names: Sequence[str]) -> pa.Schema:
    """The columns of a CSV that come along."""
    return pa.schema([(name, pa.string()) for name in names])


def refuse_long_lines(chunk: bytes, name: str) -> None:
    """Look for a line end at least every 64 KiB.

    Args:
        chunk: bytes that begin where a line does.
        name: what to call the file in an error.

    Raises:
        InputError: a line, or what is there of the last one, is longer.
    """
    start = 0
    while len(chunk) - start > LONGEST_LINE:
        end = chunk.rfind(b"\n", start, start + LONGEST_LINE + 1)
        if end < 0:
            raise InputError(name, f"a line of more than {LONGEST_LINE:,} bytes; is this a CSV file?")
        start = end + 1
