"""CSV and Parquet files of labelled examples: `label,pixel1,...,pixel784`, or Parquet of pixels or of pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.catalogues.fashion_mnist import CLASSES, CONTRACT, PIXELS
from components.contract import DataContract, Images, Labels, Split
from components.dataset.picture_tables import PictureRow, has_pictures, read_picture_table
from components.dataset.pictures import read_pictures
from components.errors import InputError, SourceError
from components.files import sha256_of
from components.readers.blocks import Block, Wanted
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.parquet import read_pixel_parquet

SHOWN = 3  # bad rows in a message


@dataclass(frozen=True)
class LabelledTables:
    """Examples in tables, one file or more a split."""

    files: dict[Split, tuple[Path, ...]]
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]
    contract: DataContract = CONTRACT
    left_out: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, files: dict[Split, tuple[Path, ...]], name: str = "", left_out: tuple[str, ...] = ()
    ) -> "LabelledTables":
        """Name files; they are read later."""
        digests: dict[Split, dict[str, str]] = {
            split: {path.name: sha256_of(path) for path in paths} for split, paths in files.items()
        }
        first = files["train"][0]
        kind = first.suffix.lower().removeprefix(".")
        return cls(files, f"{kind}:{name or first.name}", "as its owner says", digests, left_out=left_out)

    @property
    def extends(self) -> bool:
        """Without a test split the examples are added to a dataset that has one."""
        return "test" not in self.files

    def read(self, split: Split) -> tuple[Images, Labels]:
        """All rows, or SourceError with the bad ones."""
        read = [_read_table(path) for path in self.files[split]]
        return np.concatenate([images for images, _ in read]), np.concatenate([labels for _, labels in read])


def _read_table(path: Path) -> tuple[Images, Labels]:
    try:
        if path.suffix.lower() == ".csv":
            with path.open("rb") as stream:
                return _join(path, list(read_pixel_csv(stream, path.name, Wanted(CONTRACT))), "line")
        if has_pictures(path):
            return _read_picture_rows(path)
        with path.open("rb") as stream:
            return _join(path, list(read_pixel_parquet(stream, path.name, Wanted(CONTRACT))), "row")
    except InputError as error:
        raise SourceError(f"{path}: {error}") from error


def _join(path: Path, blocks: list[Block], word: str) -> tuple[Images, Labels]:
    _refuse(path, [f"{word} {reject.line}: {reject.reason}" for block in blocks for reject in block.rejects])
    labels = [block.labels for block in blocks if block.labels is not None]
    if not labels:
        raise SourceError(f"{path}: no labelled rows; expected label,pixel1,...,pixel{PIXELS}")
    return np.concatenate([block.images for block in blocks]), np.concatenate(labels)


def _read_picture_rows(path: Path) -> tuple[Images, Labels]:
    rows = list(read_picture_table(path))
    _refuse(path, [told for row in rows for told in _find_faults(row)])
    images = read_pictures([(f"{path}: row {row.number}", row.content) for row in rows], CONTRACT)
    return images, np.array([row.label for row in rows], np.uint8)


def _find_faults(row: PictureRow) -> Iterator[str]:
    if row.label is None:
        yield f"row {row.number}: label {row.told[:40]!r}, expected 0 to 9 or one of {', '.join(CLASSES)}"
    if not row.content:
        yield f"row {row.number}: no picture in it; a file that it names is not read"


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        raise SourceError(f"{path}: {len(faults)} bad row(s), nothing was taken: {'; '.join(faults[:SHOWN])}")
