"""CSV with one column per pixel: `label,pixel1,...,pixel784`.

`id` and `label` are optional. Columns may be in any order and use the names of common tools (see `columns`). Kept
columns are passed through as text; any other column must be dropped explicitly. A row is one line. Three parsers are
tried in order, fastest first.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from components.readers.blocks import Block, Wanted
from components.readers.tables.csv_cells import parse_slowly, parse_with_arrow
from components.readers.tables.csv_digits import parse_digits
from components.readers.tables.encodings import as_utf8, read_first
from components.readers.tables.layout import TableLayout, longest_line, read_head, refuse_long_lines

BLOCK = 4 << 20  # bytes per read: about 2,000 rows
MAX_LINES = 8192  # per block, to bound the memory of short lines, all of them rejects


def read_pixel_csv(stream: BinaryIO, name: str, wanted: Wanted) -> Iterator[Block]:
    """Parse a CSV of pixels in blocks, with bounded memory.

    Args:
        stream: the file, decompressed.
        name: file name for errors.
        wanted: what to read.

    Yields:
        Blocks in order. Every line after the header is in exactly one, as an image or as a reject.

    Raises:
        InputError: no header; a missing, unknown or repeated column; or a line longer than `longest_line`.
    """
    lines = as_utf8(stream, name)
    head = read_first(lines, longest_line(wanted.contract.image) + 1)
    layout, start = read_head(head, name, wanted)
    yield from read_pixel_lines(lines, layout, layout.before + 1, name, head[start:])


def read_pixel_lines(
    stream: BinaryIO, layout: TableLayout, line: int, name: str, before: bytes = b""
) -> Iterator[Block]:
    """Parse lines after a header that was read elsewhere.

    Args:
        stream: complete lines.
        layout: from the header.
        line: number of the first line, 1 being the first of the file.
        name: file name for errors.
        before: bytes already read from the stream.

    Raises:
        InputError: a line longer than `longest_line`.
    """
    for chunk in _whole_lines(stream, name, before, longest_line(layout.wanted.contract.image)):
        for block in _parse(chunk, layout, line):
            line += len(block.lines) + len(block.rejects)
            yield block


def _parse(chunk: bytes, layout: TableLayout, line: int) -> Iterator[Block]:
    """Parse complete lines with the first parser that supports them."""
    if block := parse_digits(chunk, layout, line):
        yield block
        return
    for lines in _split_lines(chunk):
        block = parse_with_arrow(lines, layout, line) or parse_slowly(lines, layout, line)
        line += len(block.lines) + len(block.rejects)
        yield block


def _whole_lines(stream: BinaryIO, name: str, rest: bytes, longest: int) -> Iterator[bytes]:
    """Yield chunks of complete lines; the last may lack its line end."""
    while chunk := stream.read(BLOCK):
        rest += chunk
        refuse_long_lines(rest, name, longest)
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
        rest = rest[end:]
    if rest:
        yield rest


def _split_lines(chunk: bytes) -> Iterator[bytes]:
    """Yield pieces of at most `MAX_LINES` complete lines."""
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))[MAX_LINES - 1 :: MAX_LINES] + 1
    edges = [0, *ends.tolist(), len(chunk)]
    for start, end in pairwise(edges):
        if start < end:
            yield chunk[start:end]
