"""Parquet with embedded picture files: a column `image` of bytes, or of bytes and a path, as Hugging Face writes it.

`id` and `label` are optional; other columns are ignored unless kept.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from components.contract import DataContract
from components.errors import InputError, InputTooLarge
from components.readers.blocks import Block, Wanted
from components.readers.images.blocks import BLOCK, LARGEST, Picture, to_blocks
from components.readers.images.headers import read_header
from components.readers.images.photos import is_small
from components.readers.tables.class_names import name_classes
from components.readers.tables.columns import has_file_column, read_columns
from components.readers.tables.numbers import LONGEST_SHOWN, UNLABELLED
from components.readers.tables.parquet import (
    Rows,
    as_input_error,
    check_footer,
    describe_groups,
    names_of,
    read_batches,
    read_pixel_parquet,
    refuse_many_rows,
)
from components.readers.tables.parquet_columns import (
    WHOLE_NUMBERS,
    Faults,
    is_label,
    is_text,
    leaves,
    read_class_labels,
    read_ids,
    read_others,
    value_type,
)
from components.readers.tables.parquet_pages import check_pages

MAX_WORK = 3_000_000_000  # of `PictureHeader.work`, about a minute: a thousand photos, or any number of small pictures
WORK_PER_PIXEL = 15  # that a network takes, of `PictureHeader.work`: 15 ms for EfficientNet-Lite0
SMALL_BLOCK = 64  # pictures per block while a client waits
EXPECTED = "binary, or struct<bytes: binary, path: string>"


def holds_pictures(path: Path, wanted: Wanted) -> bool:
    """Whether a Parquet file contains pictures rather than pixels.

    Raises:
        InputError: not a Parquet file, a damaged one, or ambiguous columns.
    """
    with path.open("rb") as stream:
        return has_picture_column(_open(stream, path.name).schema_arrow, path.name, wanted)


def has_picture_column(schema: pa.Schema, name: str, wanted: Wanted) -> bool:
    """As `holds_pictures`, given the schema.

    Raises:
        InputError: ambiguous columns.
    """
    image = wanted.contract.image
    columns = read_columns(names_of(schema), image, wanted.kept, wanted.dropped)
    return has_file_column(columns, image, wanted.kept, name, ("image",))


def measure_pictures(path: Path, wanted: Wanted) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
    """As `measure_groups`: rows and bytes of each row group, the kept columns, and which of id and label exist.

    Raises:
        InputError: not a Parquet file, a damaged one, or columns of other types.
    """
    with path.open("rb") as stream:
        file = _open(stream, path.name)
    _check_columns(file.schema_arrow, path.name, wanted)
    names = [column for column in file.schema_arrow.names if column not in wanted.dropped]
    return describe_groups(file, wanted, names)


def read_picture_rows(
    stream: BinaryIO, rows: Rows, name: str, wanted: Wanted, work: "PictureWork | None" = None
) -> Iterator[Block]:
    """Decode the pictures of some rows, in blocks of 512, or of 64 if `work` is limited.

    Args:
        stream: the file, seekable.
        rows: the rows to read.
        name: file name for errors.
        wanted: what to read.
        work: limit on the decoding time; None: no limit.

    Yields:
        Blocks in order. Every row is in exactly one. A reject stores the picture file, byte for byte.

    Raises:
        InputError: unexpected columns or types, or damage.
        InputTooLarge: see `check_pages`.
    """
    import pyarrow.parquet as pq

    metadata, schema = (file := _open(stream, name)).metadata, file.schema_arrow
    _check_columns(schema, name, wanted)
    read = ["image.bytes" if pa.types.is_struct(schema.field("image").type) else "image"]
    read += [column for column in schema.names if column in {"id", "label", *wanted.kept}.difference(wanted.dropped)]
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    check_pages(stream, metadata, [index for index, path in enumerate(paths) if path in read], name, rows.groups)
    texts = [field.name for field in schema if field.name in {"id", "label", *wanted.kept} and is_text(field.type)]
    file = pq.ParquetFile(stream, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)
    for first, batch in read_batches(file, rows, read, SMALL_BLOCK if work else BLOCK, name):
        yield from _to_blocks(batch, first, name, wanted, work)


class PictureWork:
    """The remaining decoding budget, in the units of `PictureHeader.work`."""

    def __init__(self, most: int, name: str, contract: DataContract) -> None:
        self.left, self.name, self.contract = most, name, contract
        self.each = WORK_PER_PIXEL * contract.embedding.side**2 if contract.embedding else 0

    def take(self, content: bytes) -> None:
        """Deduct a picture. Raises InputTooLarge if the budget is exceeded."""
        if not is_small(content, self.contract):
            with suppress(InputError):  # will become a reject
                self.left -= read_header(content, self.name).work + self.each
            if self.left < 0:
                raise InputTooLarge(self.name, "the pictures take more than a minute to decode. Send fewer at a time")


def read_parquet(stream: BinaryIO, name: str, wanted: Wanted) -> Iterator[Block]:
    """Read a complete Parquet file of pixels or pictures, in small blocks.

    Raises:
        InputError, InputTooLarge: as `read_pixel_parquet` and `read_picture_rows`.
    """
    file = _open(stream, name)
    if not has_picture_column(file.schema_arrow, name, wanted):
        yield from read_pixel_parquet(stream, name, wanted)
        return
    refuse_many_rows(file.metadata, name)
    rows = Rows(range(file.metadata.num_row_groups), 1)
    yield from read_picture_rows(stream, rows, name, wanted, PictureWork(MAX_WORK, name, wanted.contract))


def _open(stream: BinaryIO, name: str) -> Any:
    import pyarrow.parquet as pq

    check_footer(stream, name)
    with as_input_error(name):
        return pq.ParquetFile(stream)


def _check_columns(schema: pa.Schema, name: str, wanted: Wanted) -> None:
    for column in ("image", *wanted.kept):
        if schema.names.count(column) != 1:
            raise InputError(name, f"column {column}: found {schema.names.count(column)}, expected one")
    for column in schema:
        if column.name == "image":
            fits, expected = _holds_files(column.type), EXPECTED
        elif column.name in wanted.kept:
            fits, expected = leaves(value_type(column.type)) == 1 and not column.type.num_fields, "one value per row"
        elif column.name in wanted.dropped:
            continue
        elif column.name == "id":
            fits, expected = is_text(column.type) or pa.types.is_integer(column.type), "text or whole numbers"
        else:
            fits, expected = column.name != "label" or is_label(column.type), f"{WHOLE_NUMBERS} or class names"
        if not fits:
            raise InputError(name, f"column {column.name}: found {str(column.type)[:60]}, expected {expected}")


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_files(kind.field("bytes").type)
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _to_blocks(
    batch: pa.RecordBatch, first: int, name: str, wanted: Wanted, work: "PictureWork | None"
) -> Iterator[Block]:
    faults, names = Faults(len(batch)), batch.schema.names
    labels, found_labels = None, pa.nulls(len(batch))
    if "label" in names:
        found_labels = name_classes(batch["label"], batch.schema, wanted.contract)
        labels, _ = read_class_labels(found_labels, faults, wanted, name)
    ids = read_ids(batch["id"], faults, name) if "id" in names else np.arange(first, first + len(batch)).astype(str)
    images = batch["image"]
    if pa.types.is_struct(images.type):
        images = images.flatten()[0]  # where the struct is null, so are its bytes

    def pictures() -> Iterator[Picture]:
        for index, scalar in enumerate(images):
            content = scalar.as_py()
            fault = _refuse(content, faults.reasons.get(index, ""))
            if work and content:
                work.take(content)
            label = None if labels is None else _label_of(found_labels[index].as_py(), int(labels[index]))
            yield Picture(first + index, str(ids[index]), content or b"", fault or content, label)

    extra = read_others(batch, wanted.kept, name) if wanted.kept else None
    for block in to_blocks(pictures(), wanted.contract, labels is not None):
        yield block if extra is None else replace(block, extra=extra.take(block.lines - first))


def _label_of(found: object, label: int) -> int | str:
    """The class, or the shortened text if it is not a class."""
    return label if label != UNLABELLED else "" if found is None else str(found)[:LONGEST_SHOWN]


def _refuse(content: bytes | None, reason: str) -> InputError | None:
    if content is None:
        return InputError("image", "the row has no image bytes. Files at its path are not read")
    if reason:
        return InputError("image", reason)
    return InputTooLarge("image", f"the file is larger than {LARGEST >> 20} MiB") if len(content) > LARGEST else None
