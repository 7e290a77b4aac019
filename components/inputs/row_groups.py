"""Parquet files, cut into parts between row groups."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from components.formats.pixel_csv import Block
from components.formats.pixel_parquet import measure_groups, read_pixel_groups
from components.inputs.parts import Part, Reading

CHUNK = 1 << 20  # bytes that are hashed at a time


class ParquetInput:
    """Row groups of one file or of all in a folder."""

    def __init__(self, paths: list[Path], reading: Reading) -> None:
        self.paths, self.reading = paths, reading
        self.groups = {str(path): measure_groups(path) for path in paths}
        self.rows = sum(rows for groups in self.groups.values() for rows, _ in groups)
        self.digests: list[str] = []

    def parts(self) -> Iterator[Part]:
        """See `Input`. A file is hashed ahead of its parts: their workers find it in the disk's cache."""
        number, first = 0, 1
        self.digests.clear()
        for path in self.paths:
            groups = self.groups[str(path)]
            with path.open("rb") as stream:
                content, size = hashlib.sha256(), stream.seek(0, io.SEEK_END)
                stream.seek(0)
                for start, stop in self._cut(groups):
                    _hash_up_to(size * stop // len(groups), stream, content)
                    yield Part(number, str(path), first, start, stop)
                    number, first = number + 1, first + sum(rows for rows, _ in groups[start:stop])
                _hash_up_to(size, stream, content)
            self.digests.append(content.hexdigest())

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
        several = "\n".join(self.digests).encode()
        return self.digests[0] if len(self.digests) == 1 else hashlib.sha256(several).hexdigest()

    def _cut(self, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The first row group of each part, and the one after its last."""
        start = size = 0
        for group, (_, group_size) in enumerate(groups):
            size += group_size
            if size >= self.reading.part or group == len(groups) - 1:
                yield start, group + 1
                start, size = group + 1, 0


def _hash_up_to(place: int, stream: BinaryIO, content: "hashlib._Hash") -> None:
    """Read on to a place of a file."""
    while chunk := stream.read(max(0, min(place - stream.tell(), CHUNK))):
        content.update(chunk)
