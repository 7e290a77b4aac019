"""Parquet files, cut into parts between row groups."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa

from components.errors import InputError
from components.files import sha256_of
from components.formats.pixel_csv import Block
from components.formats.pixel_parquet import Others, measure_groups, read_pixel_groups
from components.inputs.parts import Part, Reading, fingerprint
from components.pictures.embedded import holds_pictures, measure_pictures, read_picture_groups
from components.pictures.names import LeftOut
from components.storage import locate

NONE = LeftOut()
FOOTERS = 16  # that are read at a time: in S3 one takes some 50 ms, nearly all of it waiting


class ParquetInput:
    """Row groups of one file or of all in a folder, of pixels or of pictures."""

    def __init__(self, paths: list[Path], reading: Reading, left_out: LeftOut = NONE) -> None:
        self.paths, self.reading, self.left_out = paths, reading, left_out
        self.others = Others(reading.kept, reading.dropped)
        self.of_pictures = holds_pictures(paths[0])
        measure = measure_pictures if self.of_pictures else measure_groups
        with ThreadPoolExecutor(FOOTERS) as pool:
            measured = list(pool.map(partial(measure, others=self.others), paths))
        found = dict(zip(map(str, paths), measured, strict=True))
        self.groups = {path: groups for path, (groups, _) in found.items()}
        self.extra = self._agree({path: extra for path, (_, extra) in found.items()})
        self.rows = sum(rows for groups in self.groups.values() for rows, _ in groups)

    def parts(self) -> Iterator[Part]:
        """See `Input`."""
        number, first = 0, 1
        for path, groups in self.groups.items():
            start = rows = size = 0
            for group, (group_rows, group_size) in enumerate(groups):
                rows, size = rows + group_rows, size + group_size
                if size >= self.reading.part or group == len(groups) - 1:
                    yield Part(number, path, first, start, group + 1)
                    number, first, start, rows, size = number + 1, first + rows, group + 1, 0, 0

    def read(self, part: Part) -> Iterator[Block]:
        """See `Input`."""
        with locate(part.file).open("rb") as stream:
            groups, name = range(part.start, part.stop), Path(part.file).name
            read = read_picture_groups if self.of_pictures else read_pixel_groups
            yield from read(stream, groups, part.first, name, self.others)

    def share(self, part: Part) -> float | None:
        """See `Input`."""
        own = sum(rows for rows, _ in self.groups[part.file][part.start : part.stop])
        return (part.first - 1 + own) / max(self.rows, 1)

    def files(self) -> Iterator[Path]:
        """See `Input`."""
        yield from self.paths

    def fingerprint(self) -> str:
        """See `Input`."""
        return fingerprint(self.paths)

    def digest(self) -> str:
        """See `Input`: of one file; of several, of their digests."""
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(sha256_of, self.paths))
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def _agree(self, extras: dict[str, pa.Schema]) -> pa.Schema:
        (first, agreed), *rest = extras.items()
        for path, extra in rest:
            if extra != agreed:
                told = f"columns {extra.to_string()!r}, but {Path(first).name} has {agreed.to_string()!r}"
                raise InputError(Path(path).name, told.replace("\\n", ", "))
        return agreed
