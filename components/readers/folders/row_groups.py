"""Parquet files, split into parts at row groups."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow as pa

from components.contract import DataContract
from components.errors import InputError
from components.files import sha256_of
from components.readers.blocks import Block
from components.readers.folders.names import LeftOut
from components.readers.folders.parts import Input, InputPart, TableReading, join_digests
from components.readers.tables.embedded import holds_pictures, measure_pictures, read_picture_rows
from components.readers.tables.parquet import Rows, measure_groups, read_pixel_rows
from components.storage import is_remote, locate

NO_FILES = LeftOut()
CHUNK = 1 << 20  # bytes per read
MIN_PARTS = 4  # of an input with one large row group, as pandas writes it
ROW_ALIGNMENT = 4096  # rows
PARALLEL_FOOTERS = 16  # footers read at once; in S3 each takes some 50 ms, nearly all of it latency


class ParquetInput(Input):
    """The row groups of one file or of all files in a folder, with pixels or pictures."""

    def __init__(
        self, paths: list[Path], reading: TableReading, contract: DataContract, left_out: LeftOut = NO_FILES
    ) -> None:
        super().__init__(paths[0], reading, contract)
        self.paths, self.left_out = paths, left_out
        self.of_pictures = holds_pictures(paths[0], self.wanted)
        measure = measure_pictures if self.of_pictures else measure_groups
        with ThreadPoolExecutor(PARALLEL_FOOTERS) as pool:
            measured = list(pool.map(partial(measure, wanted=self.wanted), paths))
        found = dict(zip(map(str, paths), measured, strict=True))
        self.groups = {path: groups for path, (groups, _, _) in found.items()}
        self.extra = self._agree({path: extra for path, (_, extra, _) in found.items()})
        _refuse_mixed_columns({path: own for path, (_, _, own) in found.items()})
        self.rows = sum(rows for groups in self.groups.values() for rows, _ in groups)
        self.part = reading.part_of(sum(size for groups in self.groups.values() for _, size in groups))
        self.hashed: dict[str, str] = {}  # path -> SHA-256 of files hashed while reading

    def parts(self) -> Iterator[InputPart]:
        """See `Input`. Hashing runs ahead of the parts, so that workers find them in the disk cache."""
        number, first = 0, 1
        for path in self.paths:
            groups = self.groups[str(path)]
            with closing(PrefetchHasher(path)) as ahead:
                for start, stop, skip, count in self._cut(groups):
                    ahead.read_to(stop / len(groups))
                    part = InputPart(number, str(path), first, start, stop, skip=skip, count=count)
                    yield part
                    number, first = number + 1, first + self._rows_of(part)
                ahead.read_to(1)
                if ahead.stream:
                    self.hashed[str(path)] = ahead.content.hexdigest()

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        with locate(part.file).open("rb") as stream:
            rows = Rows(range(part.start, part.stop), part.first, part.skip, part.count)
            read = read_picture_rows if self.of_pictures else read_pixel_rows
            yield from read(stream, rows, Path(part.file).name, self.wanted)

    def share(self, part: InputPart) -> float | None:
        """See `Input`."""
        return (part.first - 1 + self._rows_of(part)) / max(self.rows, 1)

    def files(self) -> Iterator[Path]:
        """See `Input`."""
        yield from self.paths

    def digest(self) -> str:
        """See `Input`: the digest of the only file, or a digest of all digests."""
        with ThreadPoolExecutor() as pool:
            return join_digests(list(pool.map(self._digest_of, self.paths)))

    def _cut(self, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int, int, int | None]]:
        """Yield (start, stop) row groups of each part; for a slice of a row group, also the rows to skip and read."""
        start = size = 0
        for group, (rows, group_size) in enumerate(groups):
            size += group_size
            if start == group and size > self.part and (piece := self._piece_of(rows)) < rows:
                for skip in range(0, rows, piece):
                    yield group, group + 1, skip, min(piece, rows - skip)
            elif size >= self.part or group == len(groups) - 1:
                yield start, group + 1, 0, None
            else:
                continue
            start, size = group + 1, 0

    def _piece_of(self, rows: int) -> int:
        """Rows per part of a large row group: all of them, or fewer if the input has only a few row groups.

        Parts are few, because reading the end of a row group decompresses everything before it.
        """
        pieces = -(-MIN_PARTS // sum(map(len, self.groups.values())))
        return -(-rows // pieces // ROW_ALIGNMENT) * ROW_ALIGNMENT

    def _rows_of(self, part: InputPart) -> int:
        return part.count or sum(rows for rows, _ in self.groups[part.file][part.start : part.stop])

    def _digest_of(self, path: Path) -> str:
        return self.hashed.get(str(path)) or sha256_of(path)

    def _agree(self, extras: dict[str, pa.Schema]) -> pa.Schema:
        (first, agreed), *rest = extras.items()
        for path, extra in rest:
            if extra != agreed:
                expected = f"those of {Path(first).name}: {agreed.to_string()!r}"
                message = f"found columns {extra.to_string()!r}, expected {expected}"
                raise InputError(Path(path).name, message.replace("\\n", ", "))
        return agreed


def _refuse_mixed_columns(names: dict[str, set[str]]) -> None:
    """Refuse files that differ in their id or label column: ids of one could equal row numbers of another."""
    (first, agreed), *rest = names.items()
    for path, own in rest:
        if differing := sorted(own ^ agreed):
            message = f"only one of this file and {Path(first).name} has column {differing[0]!r}. Score them one by one"
            raise InputError(Path(path).name, message)


class PrefetchHasher:
    """Hashes a local file ahead of its readers, which then find it in the disk cache.

    S3 objects are skipped: fetching them twice in one thread would slow down all workers.
    """

    def __init__(self, path: Path) -> None:
        self.stream = None if is_remote(path) else path.open("rb")
        self.content = hashlib.sha256()
        self.size = self.stream.seek(0, io.SEEK_END) if self.stream else 0
        if self.stream:
            self.stream.seek(0)

    def read_to(self, share: float) -> None:
        """Read up to this fraction of the file, 0 to 1."""
        offset = round(self.size * share)
        while self.stream and (chunk := self.stream.read(max(0, min(offset - self.stream.tell(), CHUNK)))):
            self.content.update(chunk)

    def close(self) -> None:
        """Close the file."""
        if self.stream:
            self.stream.close()
