"""CSV with a column a pixel: `label,pixel1,...,pixel784`, the layout that Fashion-MNIST is shared in.

`id` and `label` are optional, columns come in any order, and others only where they were named: kept ones come along
as text, dropped ones do not. A row is a line. A block of lines that is digits, delimiters and line ends between its
texts is parsed with NumPy in a few passes over its bytes, three times as fast as by Arrow; another one by Arrow; and
where neither can be trusted to refuse exactly what we refuse, line by line.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from components.contract import CLASSES, IMAGE_SHAPE, PIXELS, Images
from components.errors import InputError

PIXEL_COLUMNS = tuple(f"pixel{number}" for number in range(1, PIXELS + 1))
BLOCK = 4 << 20  # bytes read at a time: about 2,000 rows
PIECE = 256 << 10  # bytes that are parsed at a time: of larger ones half as many a second
MOST_LINES = 8192  # a block: short lines, all of them rejects, must not fill the memory
LONGEST_LINE = 64 << 10  # bytes; 784 pixels, a label and an id take 4,000
BOM = b"\xef\xbb\xbf"
ZERO, LINE_END = b"0\n"
COMMA = ","
DELIMITERS = (",", ";", "\t", "|")  # that are thought of where a header does not fit
EXPECTED = "[id,][label,]pixel1,...,pixel784"
NUMBERS = {*PIXEL_COLUMNS, "label"}


@dataclass(frozen=True)
class Reject:
    """A line that could not be read as an image."""

    line: int  # in the file, the header being 1
    reason: str
    row: bytes  # as it stood, without its line end
    id: str = ""  # as `Block.ids` has it; "" where it cannot be read either


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


@dataclass(frozen=True)
class Block:
    """Consecutive lines of a file, parsed."""

    lines: NDArray[np.int64]  # (n,) where each image stood
    ids: Sequence[str]  # (n,) the id column, or the row's number counted from 1 where there is none
    images: Images  # uint8 (n, 28, 28); with `views`, as many as these come to
    labels: NDArray[np.uint8] | None  # (n,) where the file has them
    rejects: tuple[Reject, ...]
    extra: pa.Table | None = None  # n rows of the columns that come along; None where none do
    views: NDArray[np.intp] | None = None  # (n,) how many images are each row's, one row after the other; None: one

    @property
    def shown(self) -> Images:
        """The first image of each row, uint8 (n, 28, 28)."""
        return self.images if self.views is None else self.images[self.views.cumsum() - self.views]


def read_pixel_csv(stream: BinaryIO, name: str = "file") -> Iterator[Block]:
    """Parse a CSV of pixels in blocks, in bounded memory.

    Args:
        stream: the file's bytes, uncompressed.
        name: what to call it in an error.

    Yields:
        Blocks in order: every line after the header is in exactly one, as an image or as a reject.

    Raises:
        InputError: no header, a missing, unknown or repeated column, or a line longer than 64 KiB.
    """
    layout = read_header(stream.readline(LONGEST_LINE + 1), name)
    yield from read_pixel_lines(stream, layout, 2, name)


def read_pixel_lines(stream: BinaryIO, layout: Layout, line: int, name: str) -> Iterator[Block]:
    """Parse lines that follow a header somewhere.

    Args:
        stream: whole lines to its end.
        layout: what the header declared.
        line: the number of the first of them, the header being 1.
        name: what to call the file in an error.

    Raises:
        InputError: a line longer than 64 KiB.
    """
    for chunk in _whole_lines(stream, name):
        block = (
            _parse_digits(chunk, layout, line) or _parse_fast(chunk, layout, line) or _parse_slowly(chunk, layout, line)
        )
        line += len(block.lines) + len(block.rejects)
        yield block


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
    _refuse_long_lines(header, name)
    needed, optional = (*PIXEL_COLUMNS, *kept), ("id", "label", *dropped)
    try:
        columns = tuple(cell.strip() for cell in next(csv.reader([text], delimiter=delimiter)))
    except csv.Error as error:
        raise InputError(name, f"header: {error}") from error
    if wrong := find_wrong_columns(columns, needed, optional):
        raise InputError(name, f"header: {wrong}; {_guess(text, delimiter) or advise(columns, needed, optional)}")
    places = np.array([columns.index(column) for column in PIXEL_COLUMNS])
    return Layout(columns, places, delimiter, tuple(kept))


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


def _refuse_long_lines(chunk: bytes, name: str) -> None:
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
    if np.diff(ends, prepend=-1, append=len(chunk)).max() > LONGEST_LINE + 1:
        raise InputError(name, f"a line of more than {LONGEST_LINE:,} bytes; is this a CSV file?")


def _whole_lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Chunks of whole lines; the last may lack its line end."""
    rest = b""
    while chunk := stream.read(BLOCK):
        rest += chunk
        _refuse_long_lines(rest, name)
        end = rest.rfind(b"\n") + 1
        yield from _split_lines(rest[:end])
        rest = rest[end:]
    if rest:
        yield rest


def _split_lines(chunk: bytes) -> Iterator[bytes]:
    """Pieces of at most `MOST_LINES` whole lines."""
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))[MOST_LINES - 1 :: MOST_LINES] + 1
    edges = [0, *ends.tolist(), len(chunk)]
    for start, end in pairwise(edges):
        if start < end:
            yield chunk[start:end]


def _parse_digits(chunk: bytes, layout: Layout, first_line: int) -> Block | None:
    """Parse numbers of one to three digits with texts before and after, or None where another parser must look."""
    span = layout.numbers
    if b'"' in chunk or span is None:
        return None
    if b"\r" in chunk:
        if chunk.count(b"\r") != chunk.count(b"\r\n"):
            return None
        chunk = chunk.replace(b"\r\n", b"\n")
    found, texts = [], list[list[bytes]]()  # of the numbers; of the texts of each line
    for piece in _split_pieces(chunk):
        taken = _take_texts(piece, layout, span)
        numbers = None if taken is None else _read_digits(taken[1], span[1] - span[0], layout.delimiter)
        if taken is None or numbers is None:
            return None
        found.append(numbers)
        texts += taken[0]
    cells = np.concatenate(found)
    names = [*layout.columns[: span[0]], *layout.columns[span[1] :]]
    table = _to_texts(names, texts)
    if table is None:
        return None
    pixels = np.ascontiguousarray(cells[:, _as_slice(layout.pixels - span[0])]).reshape(-1, *IMAGE_SHAPE)
    label = layout.columns.index("label") - span[0] if layout.has_labels else None
    if label is None or "label" in names:
        return _assemble(layout, pixels, table, None, first_line)
    return _assemble(layout, pixels, table, cells[:, label].copy(), first_line)


def _take_texts(piece: bytes, layout: Layout, span: tuple[int, int]) -> tuple[list[list[bytes]], bytes] | None:
    """The texts of each line, and the lines without them; None where a line has too few cells."""
    before, after = span[0], len(layout.columns) - span[1]
    if not before and not after:
        return [], piece
    mark = layout.delimiter.encode()
    texts, numbers = [], []
    for line in piece.removesuffix(b"\n").split(b"\n"):
        cells = line.split(mark, before)
        cells += cells.pop().rsplit(mark, after)
        if len(cells) != before + 1 + after:
            return None
        numbers.append(cells.pop(before))
        texts.append(cells)
    return texts, b"\n".join(numbers) + b"\n"


def _to_texts(names: Sequence[str], rows: list[list[bytes]]) -> pa.Table | None:
    """Cells of n lines -> columns of text; None where one is no UTF-8."""
    try:
        columns = [pa.array(column, pa.binary()).cast(pa.string()) for column in zip(*rows, strict=True)]
    except pa.ArrowInvalid:
        return None
    return pa.table(columns, list(names))


def _assemble(
    layout: Layout, images: Images, texts: pa.Table, labels: NDArray[np.uint8] | None, first_line: int
) -> Block | None:
    """A block of lines that can all be read; None where a label cannot."""
    if layout.has_labels and labels is None:
        text = "".join(texts["label"].to_pylist()).encode()
        labels = np.frombuffer(text, np.uint8) - ZERO
        if len(labels) != len(images) or "" in texts["label"].to_pylist():
            return None
    if labels is not None and labels.max() >= len(CLASSES):
        return None
    lines = np.arange(first_line, first_line + len(images))
    ids = texts["id"].to_pylist() if layout.has_ids else (lines - 1).astype(str).tolist()
    return Block(lines, ids, images, labels, (), texts.select(layout.kept) if layout.kept else None)


def _split_pieces(chunk: bytes) -> Iterator[bytes]:
    """Whole lines, few enough for a processor's cache to hold what is worked out for them."""
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", min(start + PIECE, len(chunk)) - 1) + 1 or len(chunk)
        yield chunk[start:end]
        start = end


def _as_slice(places: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """Places that follow each other, as pixels nearly always do, as a slice."""
    first = int(places[0])
    return slice(first, first + len(places)) if (np.diff(places) == 1).all() else places


def _read_digits(piece: bytes, columns: int, delimiter: str = COMMA) -> NDArray[np.uint8] | None:
    """Whole lines of numbers -> uint8 (n, columns), or None where anything else is among them."""
    text = np.frombuffer(piece if piece.endswith(b"\n") else piece + b"\n", np.uint8)
    digits = text - ZERO  # what is below "0" becomes more than 9
    ends = np.flatnonzero(digits > 9)  # of cells: where a delimiter or a line end stands, and nothing else
    if len(ends) % columns:
        return None
    marks = text[ends].reshape(-1, columns)
    widths = np.diff(ends, prepend=-1) - 1
    if (marks[:, :-1] != ord(delimiter)).any() or (marks[:, -1] != LINE_END).any():
        return None
    if widths.min() < 1 or widths.max() > 3:
        return None
    values = digits[ends - 1].astype(np.uint16)
    for place, weight in ((2, 10), (3, 100)):
        # of a shorter cell: of the one before, and not counted
        values += digits[ends - place] * (widths >= place) * np.uint16(weight)
    return values.astype(np.uint8).reshape(-1, columns) if values.max() <= 255 else None


def _parse_fast(chunk: bytes, layout: Layout, first_line: int) -> Block | None:
    """Parse with Arrow, or None where the slow parser must look."""
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
    return _assemble(layout, images, table, table["label"].to_numpy() if layout.has_labels else None, first_line)


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


def _parse_slowly(chunk: bytes, layout: Layout, first_line: int) -> Block:
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


def texts_of(names: Sequence[str]) -> pa.Schema:
    """The columns of a CSV that come along."""
    return pa.schema([(name, pa.string()) for name in names])


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
