"""Parquet of pixels: a column `pixels` of bytes, as our own datasets have it, or a column a pixel.

`id` and `label` are optional, columns come in any order, and others are allowed where they were named, as is `split`
beside `pixels`. What a file would take is found before it is read, so that a small one cannot fill the memory; pages
with a checksum are checked against it.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from components.contract import ImageSpec
from components.errors import InputError, InputTooLarge, Remedy
from components.readers.blocks import Block, RowReject, Wanted
from components.readers.tables.class_names import name_classes
from components.readers.tables.columns import (
    find_remedies,
    find_wrong_columns,
    is_left_out,
    pixel_columns,
    read_columns,
)
from components.readers.tables.parquet_columns import (
    WHOLE,
    Faults,
    Texts,
    depth_of,
    describe_misfit,
    is_label,
    is_number,
    is_text,
    leaves,
    read_class_labels,
    read_ids,
    read_others,
    read_pixels,
    rows_at_once,
    value_type,
)
from components.readers.tables.parquet_pages import check_pages

REJECTS_AT_ONCE = 128
MAX_ROWS = 1_000_000
LARGEST_FOOTER = 16 << 20  # bytes; some 800 columns of pixels in 25 row groups take 3 MB
MAGIC, ENCRYPTED = b"PAR1", b"PARE"


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a Parquet file."""

    groups: range  # numbers of the row groups that they are in, from 0
    first: int  # number of the first of them in the input, from 1
    skip: int = 0  # rows of those groups that come before
    count: int | None = None  # None: all that follow


def read_pixel_parquet(stream: BinaryIO, name: str, wanted: Wanted) -> Iterator[Block]:
    """Parse a Parquet file of pixels in blocks of some thousand rows, in bounded memory.

    Args:
        stream: the file, seekable.
        name: what to call it in an error.
        wanted: what is read of it.

    Yields:
        Blocks in order: every row is in exactly one, as an image or as a reject. Lines are the rows' numbers from 1.
        A reject's row is JSON, bytes in it as hexadecimal digits.

    Raises:
        InputError: no Parquet file, a damaged or encrypted one, other columns or types, an id that is no text.
        InputTooLarge: more than a million rows, an id of more than 1,024 bytes, or see `check_pages`.
    """
    check_footer(stream, name)
    with named_damage(name):
        file = _open(stream, name, wanted)
    yield from _read_rows(file, Rows(range(file.metadata.num_row_groups), 1), name, wanted)


def read_pixel_rows(stream: BinaryIO, rows: Rows, name: str, wanted: Wanted) -> Iterator[Block]:
    """Parse some rows of a Parquet file of pixels, however many it has.

    Args:
        stream: the file, seekable.
        rows: which.
        name: what to call the file in an error.
        wanted: what is read of it.

    Raises:
        InputError, InputTooLarge: as for `read_pixel_parquet`, of these row groups.
    """
    check_footer(stream, name)
    with named_damage(name):
        file = _open(stream, name, wanted, rows.groups)
    yield from _read_rows(file, rows, name, wanted)


def measure_groups(path: Path, wanted: Wanted) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
    """Rows, and bytes unpacked as the footer has them, of each row group; the columns that come along; and which of id
    and label the file has.

    Raises:
        InputError: no Parquet file, a damaged one, or other columns or types.
    """
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        check_footer(stream, path.name)
        with named_damage(path.name):
            file = pq.ParquetFile(stream)
    names = check_columns(file.schema_arrow, path.name, wanted)
    return describe_groups(file, wanted, names)


def describe_groups(
    file: Any, wanted: Wanted, names: Sequence[str]
) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
    """Of a file whose columns were checked, what `measure_groups` returns."""
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    fields = [file.schema_arrow.field(column) for column in wanted.kept]
    extra = pa.schema([(field.name, value_type(field.type)) for field in fields])
    own = {"id", "label"}.intersection(names)
    return [(group.num_rows, group.total_byte_size) for group in groups], extra, own


def _read_rows(file: Any, rows: Rows, name: str, wanted: Wanted) -> Iterator[Block]:
    names = check_columns(file.schema_arrow, name, wanted)
    read = {found: ours for found, ours in zip(file.schema_arrow.names, names, strict=True) if not is_left_out(ours)}
    for first, batch in read_batches(file, rows, list(read), rows_at_once(wanted.contract.image), name):
        yield to_block(batch, [read[found] for found in batch.schema.names], first, name, wanted)


def read_batches(
    file: Any, rows: Rows, columns: Sequence[str], size: int, name: str
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Rows of an open file, which is closed then, whole and valid.

    Yields:
        The number of the first row of a batch, and the batch: at most `size` rows of those columns.

    Raises:
        InputError: they are damaged.
    """
    held = sum(file.metadata.row_group(number).num_rows for number in rows.groups)
    seen, start = 0, rows.skip
    stop = held if rows.count is None else start + rows.count
    with contextlib.closing(file):
        batches = file.iter_batches(size, row_groups=list(rows.groups), columns=columns, use_threads=False)
        while seen < stop and (batch := _next_batch(batches, name)) is not None:
            from_here, to_here = max(start - seen, 0), min(stop - seen, len(batch))
            if from_here < to_here:
                yield rows.first + seen + from_here - start, batch.slice(from_here, to_here - from_here)
            seen += len(batch)
    if seen < stop or (stop == held and seen > held):
        raise InputError(name, f"damaged: {seen:,} rows, its footer says {held:,}")


@contextlib.contextmanager
def named_damage(name: str) -> Iterator[None]:
    """Arrow's errors about a file as ours; those of the disk stay."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = str(error).partition("\n")[0][:160]
        raise InputError(name, f"damaged, or of a kind of Parquet that is not read here: {said}") from error


def check_footer(stream: BinaryIO, name: str) -> None:
    """Refuse what no Parquet reader should see.

    Raises:
        InputError: no Parquet file, or an encrypted one.
        InputTooLarge: a footer of more than 16 MiB.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - 8, 0))
    length, magic = stream.read(4), stream.read(4)
    if magic == ENCRYPTED:
        raise InputError(name, "encrypted")
    if magic != MAGIC or size < 12:
        raise InputError(name, "not a Parquet file, or not all of one")
    if int.from_bytes(length, "little") > LARGEST_FOOTER:
        raise InputTooLarge(name, f"a footer of more than {LARGEST_FOOTER >> 20} MiB; write larger row groups")
    stream.seek(0)


def _open(stream: BinaryIO, name: str, wanted: Wanted, groups: range | None = None) -> Any:
    """The file, everything known about it before its first page checked."""
    import pyarrow.parquet as pq  # here, because it costs 10 MB that a service without such tables need not spend

    file = pq.ParquetFile(stream)
    metadata, schema = file.metadata, file.schema_arrow
    if groups is None:
        refuse_many_rows(metadata, name)
    names = check_columns(schema, name, wanted)
    owners = [ours for field, ours in zip(schema, names, strict=True) for _ in range(leaves(field.type))]
    columns = [place for place, ours in enumerate(owners) if not is_left_out(ours)]
    check_pages(stream, metadata, columns, name, range(metadata.num_row_groups) if groups is None else groups)
    # As a dictionary: a long id that stands in many rows takes its room once
    own = {"id", "label", "pixels", *wanted.kept}
    texts = [field.name for field, ours in zip(schema, names, strict=True) if ours in own and is_long(field.type)]
    return pq.ParquetFile(stream, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)


def is_long(kind: pa.DataType) -> bool:
    """Whether a value may be of any length, and Arrow can read the column as a dictionary."""
    return is_text(kind) or kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def refuse_many_rows(metadata: Any, name: str) -> None:
    """Raises InputTooLarge: more than a million rows."""
    if metadata.num_rows > MAX_ROWS:
        raise InputTooLarge(name, f"{metadata.num_rows:,} rows, at most {MAX_ROWS:,}")


def names_of(schema: pa.Schema) -> list[str]:
    """The columns of a table; `image`, where it has lists of numbers and not files, is `pixels`."""
    if schema.names.count("image") == 1 and "pixels" not in schema.names and depth_of(schema.field("image").type):
        return ["pixels" if name == "image" else name for name in schema.names]
    return list(schema.names)


def check_columns(schema: pa.Schema, name: str, wanted: Wanted) -> tuple[str, ...]:
    """What the columns of a table of pixels stand for, see `read_columns`.

    Raises:
        InputError: other columns or types, or two readings fit.
    """
    columns = pixel_columns(wanted.contract.image)
    try:
        names = read_columns(names_of(schema), wanted.contract.image, wanted.kept, wanted.dropped).names
    except InputError as error:
        raise InputError(name, f"columns: {error.reason}").suggesting(*error.remedies) from error
    if "pixels" in names and set(columns) <= set(names):
        told = f"columns: two readings fit: a column 'pixels', and {len(columns)} columns of pixels"
        raise InputError(name, told).suggesting(Remedy("drop", "pixels", f"reads the {len(columns)} columns"))
    if "pixels" in names and "split" not in wanted.kept:
        names = tuple(f"\0{ours}" if ours == "split" else ours for ours in names)
    pixels = ("pixels",) if "pixels" in names else columns
    needed, optional = (*pixels, *wanted.kept), ("id", "label", *wanted.dropped)
    if wrong := find_wrong_columns(names, needed, optional):
        remedies = find_remedies(names, needed, optional)
        raise InputError(name, f"columns: {wrong}; expected {describe_layouts(wanted.contract.image)}").suggesting(
            *remedies
        )
    for column, ours in zip(schema, names, strict=True):
        if not is_left_out(ours) and (expected := _describe_type(column.type, ours, wanted)):
            raise InputError(name, f"column {column.name}: found {str(column.type)[:60]}, expected {expected}")
    return names


def describe_layouts(image: ImageSpec) -> str:
    """The columns that a table of pixels may have."""
    return f"[id,][label,]pixel1,...,pixel{image.size} or [id,][split,][label,]pixels"


def _describe_type(kind: pa.DataType, ours: str, wanted: Wanted) -> str:
    """What the type of a column should be, where it is another; empty where it fits."""
    if ours in wanted.kept:
        return "one value a row" if pa.types.is_nested(value_type(kind)) else ""
    if ours == "pixels":
        return describe_misfit(kind, wanted.contract.image)
    if ours == "label":
        return "" if is_label(kind) else f"{WHOLE} or names of classes"
    if ours == "id":
        return "" if is_text(kind) or pa.types.is_integer(value_type(kind)) else f"text or {WHOLE}"
    return "" if is_number(kind) else WHOLE


def _next_batch(batches: Iterator[pa.RecordBatch], name: str) -> pa.RecordBatch | None:
    """The next rows, whole and valid; None at the end. Raises InputError: they are damaged."""
    with named_damage(name):
        batch = next(batches, None)
        if batch is not None:
            batch.validate(full=True)  # text that is not UTF-8, indices beyond a dictionary
        return batch


def to_block(batch: pa.RecordBatch, names: Sequence[str], first: int, name: str, wanted: Wanted) -> Block:
    """Rows as a block.

    Args:
        batch: the rows, as the file has them.
        names: what their columns stand for, see `check_columns`.
        first: the number of the first row.
        name: what to call the file in an error.
        wanted: what is read of it.
    """
    faults, found = Faults(len(batch)), batch
    batch = batch.rename_columns(list(names))
    images = read_pixels(batch, faults, name, wanted.contract.image)
    labels, unread = None, dict[str, int]()
    if "label" in names:
        ours = found.schema.names[list(names).index("label")]
        column = name_classes(batch["label"], found.schema, wanted.contract, ours)
        labels, told = read_class_labels(column, faults, wanted, name)
        unread.update(told)
    lines = np.arange(first, first + len(batch))
    ids = read_ids(batch["id"], faults, name) if "id" in names else Texts(pa.array(lines).cast(pa.string()))
    extra = read_others(batch, wanted.kept, name) if wanted.kept else None
    if not faults.reasons:
        return Block(lines, ids, images, labels, (), extra, unread=unread)
    bad, good = sorted(faults.reasons), np.flatnonzero(~faults.found)
    rejects = [
        RowReject(first + place, faults.reasons[place], row, ids[place])
        for place, row in zip(bad, _as_json(found, bad), strict=True)
    ]
    return Block(
        lines[good],
        Texts(ids.array.take(pa.array(good))),
        images[good],
        None if labels is None else labels[good],
        tuple(rejects),
        None if extra is None else extra.take(good),
        unread=unread,
    )


def _as_json(batch: pa.RecordBatch, places: list[int]) -> Iterator[bytes]:
    """Some rows as they stood; few at a time, because each takes 60 KB as Python's numbers."""
    for start in range(0, len(places), REJECTS_AT_ONCE):
        some = batch.take(pa.array(places[start : start + REJECTS_AT_ONCE], pa.int32()))
        for row in some.to_pylist():
            yield orjson.dumps(row, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
