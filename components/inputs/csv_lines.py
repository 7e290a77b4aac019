"""Lines of a CSV file, cut into parts at line ends."""

import contextlib
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from components.errors import InputError
from components.inputs.parts import Part, Reading, fingerprint
from components.pictures.names import LeftOut
from components.storage import locate
from components.tables.blocks import Block
from components.tables.layout import LONGEST_LINE, Layout, read_header, texts_of
from components.tables.pixel_csv import read_pixel_lines

CHUNK = 1 << 20  # bytes that are looked through at a time
COMPRESSED = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd"}


def open_lines(path: Path) -> BinaryIO:
    """A file's bytes, unpacked where its suffix says that they are packed."""
    stream: BinaryIO = pa.input_stream(path.open("rb"), compression=COMPRESSED.get(path.suffix.lower()))
    return stream


@contextlib.contextmanager
def named_damage(name: str) -> Iterator[None]:
    """Arrow's errors about what is packed as ours; those of the disk stay."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(name, f"damaged, or not what its name says: {str(error)[:160]}") from error


class CsvInput:
    """Lines of a file of pixels, gzip or zstd around it or not."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path, self.reading, self.left_out = path, reading, LeftOut()
        self.hash, self.rows = hashlib.sha256(), 0
        self.compression = COMPRESSED.get(path.suffix.lower())
        self.part = reading.part if self.compression else reading.part_of(path.stat().st_size)
        with open_lines(path) as stream, named_damage(self.path.name):
            head = stream.read(LONGEST_LINE + 1)
        self.header = head[: head.find(b"\n") + 1] or head
        self.layout: Layout = read_header(self.header, path.name, reading.delimiter, reading.kept, reading.dropped)
        self.columns, self.extra = self.layout.columns, texts_of(reading.kept)

    def parts(self) -> Iterator[Part]:
        """See `Input`. The file is read once; what is compressed is handed on as it is unpacked."""
        number, first, place = 0, 1, len(self.header)
        with open_lines(self.path) as stream:
            self.hash = hashlib.sha256(stream.read(len(self.header)))
            for rows, size, lines in self._cut(stream):
                yield Part(number, str(self.path), first, place, place + size, lines)
                number, first, place = number + 1, first + rows, place + size
        self.rows = first - 1

    def read(self, part: Part) -> Iterator[Block]:
        """See `Input`."""
        if part.lines is not None:
            yield from read_pixel_lines(io.BytesIO(part.lines), self.layout, part.first + 1, self.path.name)
            return
        with locate(part.file).open("rb") as stream:
            stream.seek(part.start)
            lines = cast(BinaryIO, Slice(stream, part.stop - part.start))
            yield from read_pixel_lines(lines, self.layout, part.first + 1, self.path.name)

    def share(self, part: Part) -> float | None:
        """See `Input`."""
        return None if self.compression else part.stop / self.path.stat().st_size

    def files(self) -> Iterator[Path]:
        """See `Input`."""
        yield self.path

    def fingerprint(self) -> str:
        """See `Input`."""
        return fingerprint([self.path])

    def digest(self) -> str:
        """See `Input`: of the unpacked file."""
        return self.hash.hexdigest()

    def _cut(self, stream: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
        """Rows, bytes and, where it is compressed, lines of one part after the other."""
        kept: list[bytes] = []
        rows = size = rest = 0  # of the part; and of the line that is not at its end yet
        for chunk in self._chunks(stream):
            end = chunk.rfind(b"\n") + 1
            kept.append(chunk)
            rows, size, rest = rows + chunk.count(b"\n"), size + len(chunk), len(chunk) - end + (0 if end else rest)
            if rest > LONGEST_LINE:
                raise InputError(self.path.name, f"a line of more than {LONGEST_LINE:,} bytes; is this a CSV file?")
            if size - rest >= self.part:
                whole = b"".join(kept) if self.compression else b""
                yield rows, size - rest, whole[: size - rest] if self.compression else None
                kept, rows, size = [whole[size - rest :]], 0, rest
            elif not self.compression:
                kept.clear()
        if size:
            yield rows + (rest > 0), size, b"".join(kept) if self.compression else None

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        with named_damage(self.path.name):
            while chunk := stream.read(min(CHUNK, self.part)):
                self.hash.update(chunk)
                yield chunk


class Slice:
    """The next bytes of a file, and no more."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.left = stream, size

    def read(self, size: int) -> bytes:
        """At most so many; nothing at the end."""
        content = self.stream.read(min(size, self.left))
        self.left -= len(content)
        return content
