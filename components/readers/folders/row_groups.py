"""Parquet files, cut into parts between row groups."""

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

NONE = LeftOut()
CHUNK = 1 << 20  # bytes that are hashed at a time
FEWEST = 4  # parts of an input of one large row group, as pandas writes it
ALIGNED = 4096  # rows
FOOTERS = 16  # that are read at a time: in S3 one takes some 50 ms, nearly all of it waiting


class ParquetInput(Input):
    """Row groups of one file or of all in a folder, of pixels or of pictures."""

    def __init__(
        self, paths: list[Path], reading: TableReading, contract: DataContract, left_out: LeftOut = NONE
    ) -> None:
        super().__init__(paths[0], reading, contract)
        self.paths, self.left_out = paths, left_out
        self.of_pictures = holds_pictures(paths[0], self.wanted)
        measure = measure_pictures if self.of_pictures else measure_groups
        with ThreadPoolExecutor(FOOTERS) as pool:
            measured = list(pool.map(partial(measure, wanted=self.wanted), paths))
        found = dict(zip(map(str, paths), measured, strict=True))
        self.groups = {path: groups for path, (groups, _, _) in found.items()}
        self.extra = self._agree({path: extra for path, (_, extra, _) in found.items()})
        _refuse_other_names({path: own for path, (_, _, own) in found.items()})
        self.rows = sum(rows for groups in self.groups.values() for rows, _ in groups)
        self.part = reading.part_of(sum(size for groups in self.groups.values() for _, size in groups))
        self.hashed: dict[str, str] = {}  # path -> SHA-256, of those that were hashed on the way

    def parts(self) -> Iterator[InputPart]:
        """See `Input`. A file is hashed ahead of its parts: their workers find it in the disk's cache."""
        number, first = 0, 1
        for path in self.paths:
            groups = self.groups[str(path)]
            with closing(Ahead(path)) as ahead:
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
        """See `Input`: of one file; of several, of their digests."""
        with ThreadPoolExecutor() as pool:
            return join_digests(list(pool.map(self._digest_of, self.paths)))

    def _cut(self, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int, int, int | None]]:
        """The first row group of each part and the one after its last; of a piece of one, rows before it and in it."""
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
        """Rows of a part of a large row group: all, or what makes a few parts of an input of one or two such groups.

        Few, because whoever reads the end of a row group unpacks all of it before.
        """
        pieces = -(-FEWEST // sum(map(len, self.groups.values())))
        return -(-rows // pieces // ALIGNED) * ALIGNED

    def _rows_of(self, part: InputPart) -> int:
        return part.count or sum(rows for rows, _ in self.groups[part.file][part.start : part.stop])

    def _digest_of(self, path: Path) -> str:
        return self.hashed.get(str(path)) or sha256_of(path)

    def _agree(self, extras: dict[str, pa.Schema]) -> pa.Schema:
        (first, agreed), *rest = extras.items()
        for path, extra in rest:
            if extra != agreed:
                told = f"columns {extra.to_string()!r}, but {Path(first).name} has {agreed.to_string()!r}"
                raise InputError(Path(path).name, told.replace("\\n", ", "))
        return agreed


def _refuse_other_names(names: dict[str, set[str]]) -> None:
    """Ids of some files and row numbers of others could be the same."""
    (first, agreed), *rest = names.items()
    for path, own in rest:
        if differing := sorted(own ^ agreed):
            told = f"column {differing[0]!r}: only one of it and {Path(first).name} has it; score them one by one"
            raise InputError(Path(path).name, told)


class Ahead:
    """The hash of a file on a disk here, made ahead of those who read it: what they want is in the disk's cache then.

    An object elsewhere is left alone: to fetch it twice in one thread would hold them all up.
    """

    def __init__(self, path: Path) -> None:
        self.stream = None if is_remote(path) else path.open("rb")
        self.content = hashlib.sha256()
        self.size = self.stream.seek(0, io.SEEK_END) if self.stream else 0
        if self.stream:
            self.stream.seek(0)

    def read_to(self, share: float) -> None:
        """Read on to this share of the file, 0 to 1."""
        place = round(self.size * share)
        while self.stream and (chunk := self.stream.read(max(0, min(place - self.stream.tell(), CHUNK)))):
            self.content.update(chunk)

    def close(self) -> None:
        """Read no more."""
        if self.stream:
            self.stream.close()
