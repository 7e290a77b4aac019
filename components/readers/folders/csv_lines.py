"""CSV files of pixels, split into parts at line ends."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

from components.contract import DataContract
from components.errors import InputError
from components.readers.blocks import Block
from components.readers.folders.parts import Input, InputPart, TableReading
from components.readers.folders.unpacking import as_input_error, compression_of, open_decompressed
from components.readers.tables.csv import read_pixel_lines
from components.readers.tables.encodings import as_utf8, ends_with_cr, find_encoding, read_first
from components.readers.tables.layout import LONGEST_LINE, longest_line, read_head, texts_of
from components.storage import locate

CHUNK = 1 << 20  # bytes per read


def is_plain_utf8(path: Path) -> bool:
    """Whether a file is uncompressed UTF-8 with line feeds, so that parts can be read at their offsets."""
    if compression_of(path):
        return False
    with path.open("rb") as stream:
        head = read_first(stream, LONGEST_LINE)
    return not find_encoding(head) and not ends_with_cr(head)


def open_text(path: Path) -> BinaryIO:
    """Open a file as UTF-8 with line feeds, decompressed."""
    return as_utf8(open_decompressed(path), path.name)


class CsvInput(Input):
    """A CSV file of pixels, compressed or not."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        super().__init__(path, reading, contract)
        self.hash, self.rows, self.longest = hashlib.sha256(), 0, longest_line(contract.image)
        self.recoded = not is_plain_utf8(path)
        self.part = reading.part if self.recoded else reading.part_of(path.stat().st_size)
        with closing(open_text(path)) as stream, as_input_error(path.name):
            head = read_first(stream, self.longest + 1)
        self.layout, start = read_head(head, path.name, self.wanted, reading.delimiter)
        self.header, self.notes = head[:start], self.layout.notes
        self.columns, self.extra = self.layout.columns, texts_of(reading.kept)

    def parts(self) -> Iterator[InputPart]:
        """See `Input`. The file is read once; recoded lines are passed along in the part."""
        number, first, offset = 0, 1, len(self.header)
        with closing(open_text(self.path)) as stream:
            self.hash = hashlib.sha256(read_first(stream, len(self.header)))
            for rows, size, lines in self._cut(stream):
                yield InputPart(number, str(self.path), first, offset, offset + size, lines)
                number, first, offset = number + 1, first + rows, offset + size
        self.rows = first - 1

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        line = part.first + self.layout.before
        if part.lines is not None:
            yield from read_pixel_lines(io.BytesIO(part.lines), self.layout, line, self.path.name)
            return
        with locate(part.file).open("rb") as stream:
            stream.seek(part.start)
            lines = cast(BinaryIO, Slice(stream, part.stop - part.start))
            yield from read_pixel_lines(lines, self.layout, line, self.path.name)

    def share(self, part: InputPart) -> float | None:
        """See `Input`."""
        return None if self.recoded else part.stop / self.path.stat().st_size

    def digest(self) -> str:
        """See `Input`: SHA-256 of the decompressed file."""
        return self.hash.hexdigest()

    def _cut(self, stream: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
        """Yield the number of rows, the bytes and, if recoded, the lines of each part."""
        kept: list[bytes] = []
        rows = size = rest = 0  # of the part; `rest` is the size of the unfinished last line
        for chunk in self._chunks(stream):
            end = chunk.rfind(b"\n") + 1
            kept.append(chunk)
            rows, size, rest = rows + chunk.count(b"\n"), size + len(chunk), len(chunk) - end + (0 if end else rest)
            if rest > self.longest:
                raise InputError(self.path.name, f"a line is longer than {self.longest:,} bytes. Is this a CSV file?")
            if size - rest >= self.part:
                content = b"".join(kept) if self.recoded else b""
                yield rows, size - rest, content[: size - rest] if self.recoded else None
                kept, rows, size = [content[size - rest :]], 0, rest
            elif not self.recoded:
                kept.clear()
        if size:
            yield rows + (rest > 0), size, b"".join(kept) if self.recoded else None

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        with as_input_error(self.path.name):
            while chunk := stream.read(min(CHUNK, self.part)):
                self.hash.update(chunk)
                yield chunk


class Slice:
    """A view of the next `size` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.left = stream, size

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" at the end."""
        content = self.stream.read(min(size, self.left))
        self.left -= len(content)
        return content
