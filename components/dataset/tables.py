"""Read labelled tables: CSV or Parquet of pixels (`label,pixel1,pixel2,...`), or Parquet of pictures.

Pictures are stored as by Hugging Face `datasets`: a column `image` of bytes or struct<bytes, path>, and a column
`label` of integers or class names. The schema may name the integers (`ClassLabel`), see `name_classes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.contract import DataContract, Images, Labels, Split
from components.dataset.pictures import read_pictures
from components.errors import InputError, SourceError
from components.files import sha256_of
from components.readers.blocks import Block, Wanted
from components.readers.formats import PARQUET, format_of
from components.readers.tables.class_names import name_classes

SHOWN = 3  # bad rows listed in a message
BATCH = 512  # rows


@dataclass(frozen=True)
class PictureRow:
    """One row before decoding."""

    number: int  # from 1
    content: bytes  # of a picture file; empty if the row has none
    label: int | None  # None if the class is unknown
    given: str  # its label as in the file


@dataclass(frozen=True)
class LabelledTables:
    """Examples in tables, one or more files per split."""

    files: dict[Split, tuple[Path, ...]]
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]
    contract: DataContract
    left_out: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        files: dict[Split, tuple[Path, ...]],
        contract: DataContract,
        name: str = "",
        left_out: tuple[str, ...] = (),
    ) -> "LabelledTables":
        """Open tables and compute their checksums. Rows are read later."""
        digests: dict[Split, dict[str, str]] = {
            split: {path.name: sha256_of(path) for path in paths} for split, paths in files.items()
        }
        first = files["train"][0]
        kind = first.suffix.lower().removeprefix(".")
        return cls(files, f"{kind}:{name or first.name}", "as its owner says", digests, contract, left_out)

    @property
    def extends(self) -> bool:
        """True without a test split: the examples are added to a dataset that has one."""
        return "test" not in self.files

    def read(self, split: Split) -> tuple[Images, Labels]:
        """Read all rows. Raises SourceError naming the bad ones."""
        read = [_read_table(path, self.contract) for path in self.files[split]]
        return np.concatenate([images for images, _ in read]), np.concatenate([labels for _, labels in read])


def _read_table(path: Path, contract: DataContract) -> tuple[Images, Labels]:
    try:
        form = format_of(path.name) or PARQUET
        if form is PARQUET and has_pictures(path):
            return _read_picture_rows(path, contract)
        with path.open("rb") as stream:
            return _join(path, list(form.read(stream, path.name, Wanted(contract))), form.word, contract)
    except InputError as error:
        raise SourceError(f"{path}: {str(error).removeprefix(f'{path.name}: ')}") from error


def _join(path: Path, blocks: list[Block], word: str, contract: DataContract) -> tuple[Images, Labels]:
    _refuse(path, [f"{word} {reject.line}: {reject.reason}" for block in blocks for reject in block.rejects])
    labels = [block.labels for block in blocks if block.labels is not None]
    if not labels:
        raise SourceError(f"{path}: no labelled rows; expected label,pixel1,...,pixel{contract.image.size}")
    return np.concatenate([block.images for block in blocks]), np.concatenate(labels)


def _read_picture_rows(path: Path, contract: DataContract) -> tuple[Images, Labels]:
    rows = list(read_picture_table(path, contract))
    _refuse(path, [fault for row in rows for fault in _find_faults(row, contract)])
    images = read_pictures([(f"{path}: row {row.number}", row.content) for row in rows], contract)
    return images, np.array([row.label for row in rows], np.uint16)


def _find_faults(row: PictureRow, contract: DataContract) -> Iterator[str]:
    if row.label is None:
        yield f"row {row.number}: found label {row.given[:40]!r}, expected {contract.choices}"
    if not row.content:
        yield f"row {row.number}: no picture bytes; paths in the image column are not read"


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        raise SourceError(f"{path}: {len(faults)} bad row(s), nothing was ingested: {'; '.join(faults[:SHOWN])}")


def has_pictures(path: Path) -> bool:
    """Whether a Parquet file contains pictures with labels.

    Raises:
        InputError: the file cannot be read.
    """
    return {"image", "label"} <= set(_open(path).schema_arrow.names)


def read_picture_table(path: Path, contract: DataContract) -> Iterator[PictureRow]:
    """Yield every row of a Parquet file of pictures, in order.

    Raises:
        InputError: the file is damaged, or a column has the wrong type.
    """
    file = _open(path)
    schema = file.schema_arrow
    image = schema.field("image").type
    in_struct = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    content = image.field("bytes").type if in_struct else image
    if content not in (pa.binary(), pa.large_binary(), pa.binary_view()):
        raise InputError(path.name, f"column image: found {str(image)[:60]}, expected binary or struct<bytes, path>")
    number = 0
    try:
        for batch in file.iter_batches(BATCH, columns=["image.bytes" if in_struct else "image", "label"]):
            images = batch["image"].flatten()[0] if in_struct else batch["image"]
            labels = name_classes(batch["label"], schema, contract)
            for picture, label in zip(images.to_pylist(), labels.to_pylist(), strict=True):
                number += 1
                yield PictureRow(number, picture or b"", contract.label_of_cell(label), str(label))
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, f"damaged: {str(error).splitlines()[0]}") from error


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, f"not a Parquet file, or damaged: {str(error).splitlines()[0]}") from error
