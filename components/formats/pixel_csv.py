"""CSV with a column a pixel: `label,pixel1,...,pixel784`, the layout that Fashion-MNIST is shared in.

`id` and `label` are optional, columns come in any order, and no others are allowed. A row is a line. A block of lines
that is digits, commas and line ends is parsed with NumPy in a few passes over its bytes, three times as fast as by
Arrow; another one by Arrow; and where neither can be trusted to refuse exactly what we refuse, line by line.
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
ZERO, NINE, COMMA, LINE_END = b"09,\n"


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

    @property
    def order(self) -> NDArray[np.intp] | slice:
        """The pixels' places; as a slice where they follow each other, as they nearly always do."""
        first = int(self.pixels[0])
        follow = np.array_equal(self.pixels, np.arange(first, first + PIXELS))
        return slice(first, first + PIXELS) if follow else self.pixels

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
    images: Images  # uint8 (n, 28, 28)
    labels: NDArray[np.uint8] | None  # (n,) where the file has them
    rejects: tuple[Reject, ...]


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


def read_header(header: bytes, name: str) -> Layout:
    """The layout that a header line declares.

    Raises:
        InputError: as for `read_pixel_csv`.
    """
    text = header.removeprefix(BOM).decode("utf-8", "replace").strip()
    if not text:
        raise InputError(name, "empty; expected a header: label,pixel1,...,pixel784, with or without id and label")
    _refuse_long_lines(header, name)
    try:
        columns = tuple(cell.strip() for cell in next(csv.reader([text])))
    except csv.Error as error:
        raise InputError(name, f"header: {error}") from error
    wrong = find_wrong_columns(columns, PIXEL_COLUMNS, ("id", "label"))
    if wrong:
        raise InputError(name, f"header: {wrong}; expected [id,][label,]pixel1,...,pixel784")
    return Layout(columns, np.array([columns.index(column) for column in PIXEL_COLUMNS]))


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
    """Parse numbers of one to three digits after an id, if there is one, or None where another parser must look."""
    if b'"' in chunk or (layout.has_ids and layout.columns[0] != "id"):
        return None
    if b"\r" in chunk:
        if chunk.count(b"\r") != chunk.count(b"\r\n"):
            return None
        chunk = chunk.replace(b"\r\n", b"\n")
    found, names = [], list[bytes]()
    for piece in _split_pieces(chunk):
        heads, digits = _take_ids(piece) if layout.has_ids else ([], piece)
        numbers = _read_digits(digits, len(layout.columns))
        if numbers is None:
            return None
        found.append(numbers)
        names += heads
    cells = np.concatenate(found)
    labels = cells[:, layout.columns.index("label")].copy() if layout.has_labels else None
    if labels is not None and labels.max() >= len(CLASSES):
        return None
    lines = np.arange(first_line, first_line + len(cells))
    try:
        ids = [name.decode() for name in names] if layout.has_ids else (lines - 1).astype(str).tolist()
    except UnicodeDecodeError:
        return None
    return Block(lines, ids, np.ascontiguousarray(cells[:, layout.order]).reshape(-1, *IMAGE_SHAPE), labels, ())


def _take_ids(piece: bytes) -> tuple[list[bytes], bytes]:
    """The first cell of each line, and the lines with a 0 in its place."""
    cells = [line.partition(b",") for line in piece.removesuffix(b"\n").split(b"\n")]
    return [name for name, _, _ in cells], b"".join(b"0%b%b\n" % (comma, rest) for _, comma, rest in cells)


def _split_pieces(chunk: bytes) -> Iterator[bytes]:
    """Whole lines, few enough for a processor's cache to hold what is worked out for them."""
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", min(start + PIECE, len(chunk)) - 1) + 1 or len(chunk)
        yield chunk[start:end]
        start = end


def _read_digits(piece: bytes, columns: int) -> NDArray[np.uint8] | None:
    """Whole lines of numbers -> uint8 (n, columns), or None where anything else is among them."""
    text = np.frombuffer(piece if piece.endswith(b"\n") else piece + b"\n", np.uint8)
    ends = np.flatnonzero(text < ZERO)  # of cells: where a comma or a line end stands, and nothing else
    if len(ends) % columns or text.max() > NINE:
        return None
    marks = text[ends].reshape(-1, columns)
    widths = np.diff(ends, prepend=-1) - 1
    if (marks[:, :-1] != COMMA).any() or (marks[:, -1] != LINE_END).any() or widths.min() < 1 or widths.max() > 3:
        return None
    values = (text[ends - 1] - ZERO).astype(np.uint16)
    for place, weight in ((2, 10), (3, 100)):
        digits = (text[ends - place] - ZERO).astype(np.uint16)  # of a shorter cell: of the one before, and not counted
        values += digits * (widths >= place) * np.uint16(weight)
    return values.astype(np.uint8).reshape(-1, columns) if values.max() <= 255 else None


def _parse_fast(chunk: bytes, layout: Layout, first_line: int) -> Block | None:
    """Parse with Arrow, or None where the slow parser must look."""
    if not _is_plain(chunk):
        return None
    types = {column: pa.uint8() for column in layout.columns} | {"id": pa.string()}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(chunk),
            read_options=pa.csv.ReadOptions(column_names=layout.columns, block_size=len(chunk) + 1, use_threads=False),
            convert_options=pa.csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != _count_lines(chunk):
        return None  # Arrow leaves out empty lines; we reject them
    pixels = np.empty((PIXELS, table.num_rows), np.uint8)
    for row, column in zip(pixels, layout.pixels.tolist(), strict=True):
        row[:] = table.column(column).chunk(0).to_numpy()
    labels = table["label"].to_numpy() if layout.has_labels else None
    if labels is not None and labels.max() >= len(CLASSES):
        return None
    lines = np.arange(first_line, first_line + table.num_rows)
    ids = table["id"].to_pylist() if layout.has_ids else (lines - 1).astype(str).tolist()
    return Block(lines, ids, np.ascontiguousarray(pixels.T).reshape(-1, *IMAGE_SHAPE), labels, ())


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
    return Block(
        np.array(lines, np.int64),
        ids,
        np.frombuffer(b"".join(images), np.uint8).reshape(-1, *IMAGE_SHAPE),
        np.array(labels, np.uint8) if layout.has_labels else None,
        tuple(rejects),
    )


def _split(row: bytes, layout: Layout) -> list[str]:
    if not row.strip():
        raise InputError("row", "an empty line")
    if b"\r" in row:
        raise InputError("row", "a carriage return inside the line")
    try:
        cells = next(csv.reader([row.decode("utf-8")], strict=True))
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
