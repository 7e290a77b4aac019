"""An input in parts: each is read, scored and written on its own, by whichever worker, and again after a crash."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from components.errors import InputError
from components.files import sha256_of
from components.formats.pixel_csv import LONGEST_LINE, Block, Layout, read_header, read_pixel_lines
from components.formats.pixel_parquet import measure_groups, read_pixel_groups

PART = 32 << 20  # bytes of an input, unpacked: some 14,000 rows of CSV
CHUNK = 1 << 20  # bytes that are looked through at a time
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Part:
    """Consecutive rows of an input."""

    number: int  # of the part, from 0
    file: str  # path of the file that holds it
    first: int  # number of its first row in that input, from 1
    start: int  # first byte of lines, or first row group
    stop: int  # the one after the last
    lines: bytes | None = field(default=None, repr=False)  # its lines, where the file cannot be read from the middle


class Input(Protocol):
    """What is scored."""

    def parts(self) -> Iterator[Part]:
        """All of it, in order; the same parts each time."""

    def read(self, part: Part) -> Iterator[Block]:
        """The rows of a part, in order."""

    def share(self, part: Part) -> float | None:
        """How much of the input is behind the end of a part, 0 to 1; None where nobody knows."""

    def digest(self) -> str:
        """SHA-256 of what was read, once `parts` came to its end."""


class CsvInput:
    """Lines of a file of pixels, gzip or zstd around it or not."""

    def __init__(self, path: Path, part: int = PART) -> None:
        self.path, self.part = path, part
        self.hash = hashlib.sha256()
        self.compression = COMPRESSED.get(path.suffix)
        with self._open() as stream:
            head = stream.read(LONGEST_LINE + 1)
        self.header = head[: head.find(b"\n") + 1] or head
        self.layout: Layout = read_header(self.header, path.name)

    def parts(self) -> Iterator[Part]:
        """See `Input`. The file is read once; what is compressed is handed on as it is unpacked."""
        number, first, place = 0, 1, len(self.header)
        with self._open() as stream:
            self.hash = hashlib.sha256(stream.read(len(self.header)))
            for rows, size, lines in self._cut(stream):
                yield Part(number, str(self.path), first, place, place + size, lines)
                number, first, place = number + 1, first + rows, place + size

    def read(self, part: Part) -> Iterator[Block]:
        """See `Input`."""
        if part.lines is not None:
            yield from read_pixel_lines(io.BytesIO(part.lines), self.layout, part.first + 1, self.path.name)
            return
        with self.path.open("rb") as stream:
            stream.seek(part.start)
            lines = cast(BinaryIO, Slice(stream, part.stop - part.start))
            yield from read_pixel_lines(lines, self.layout, part.first + 1, self.path.name)

    def share(self, part: Part) -> float | None:
        """See `Input`."""
        return None if self.compression else part.stop / self.path.stat().st_size

    def digest(self) -> str:
        """See `Input`: of the unpacked file."""
        return self.hash.hexdigest()

    def _open(self) -> BinaryIO:
        stream: BinaryIO = pa.input_stream(str(self.path), compression=self.compression)
        return stream

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
        try:
            while chunk := stream.read(min(CHUNK, self.part)):
                self.hash.update(chunk)
                yield chunk
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(self.path.name, f"damaged: {str(error)[:160]}") from error


class Slice:
    """The next bytes of a file, and no more."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.left = stream, size

    def read(self, size: int) -> bytes:
        """At most so many; nothing at the end."""
        content = self.stream.read(min(size, self.left))
        self.left -= len(content)
        return content


class ParquetInput:
    """Row groups of one file or of all in a folder."""

    def __init__(self, paths: list[Path], part: int = PART) -> None:
        self.paths, self.part = paths, part
        self.groups = {str(path): measure_groups(path) for path in paths}
        self.rows = sum(rows for groups in self.groups.values() for rows, _ in groups)

    def parts(self) -> Iterator[Part]:
        """See `Input`."""
        number, first = 0, 1
        for path, groups in self.groups.items():
            start = rows = size = 0
            for group, (group_rows, group_size) in enumerate(groups):
                rows, size = rows + group_rows, size + group_size
                if size >= self.part or group == len(groups) - 1:
                    yield Part(number, path, first, start, group + 1)
                    number, first, start, rows, size = number + 1, first + rows, group + 1, 0, 0

    def read(self, part: Part) -> Iterator[Block]:
        """See `Input`."""
        with Path(part.file).open("rb") as stream:
            yield from read_pixel_groups(stream, range(part.start, part.stop), part.first, Path(part.file).name)

    def share(self, part: Part) -> float | None:
        """See `Input`."""
        own = sum(rows for rows, _ in self.groups[part.file][part.start : part.stop])
        return (part.first - 1 + own) / max(self.rows, 1)

    def digest(self) -> str:
        """See `Input`: of one file; of several, of their digests."""
        digests = [sha256_of(path) for path in self.paths]
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
