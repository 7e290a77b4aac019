"""Parquet files of labelled pictures, as Hugging Face `datasets` writes them.

A column `image` of bytes or of struct<bytes, path>, and a column `label`: whole numbers, or names of classes. The
schema may say what the numbers mean (`ClassLabel`), see `name_classes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.catalogues.fashion_mnist import CLASSES, CONTRACT, label_of
from components.errors import InputError
from components.readers.tables.class_names import name_classes

BATCH = 512  # rows


@dataclass(frozen=True)
class PictureRow:
    """One row, not decoded yet."""

    number: int  # from 1
    content: bytes  # of a picture file; empty where the row has none
    label: int | None  # None: no class of ours
    told: str  # its label as the file has it


def has_pictures(path: Path) -> bool:
    """Whether a Parquet file has pictures with labels.

    Raises:
        InputError: it cannot be read.
    """
    return {"image", "label"} <= set(_open(path).schema_arrow.names)


def read_picture_table(path: Path) -> Iterator[PictureRow]:
    """Every row of such a file, in order.

    Raises:
        InputError: it is damaged, or its columns are of other types.
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
            labels = name_classes(batch["label"], schema, CONTRACT)
            for picture, label in zip(images.to_pylist(), labels.to_pylist(), strict=True):
                number += 1
                told = _name_of(label)
                yield PictureRow(number, picture or b"", None if told is None else label_of(told), str(told or label))
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, f"damaged: {str(error).splitlines()[0]}") from error


def _name_of(label: Any) -> str | None:
    """The class that a cell names, by name or by number."""
    if isinstance(label, bool) or not isinstance(label, int):
        return label if isinstance(label, str) else None
    return CLASSES[label] if 0 <= label < len(CLASSES) else None


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(path.name, f"not a Parquet file, or damaged: {str(error).splitlines()[0]}") from error
