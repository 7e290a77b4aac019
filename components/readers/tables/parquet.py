"""Parquet of pixels: one column `pixels`, as in our own datasets, or one column per pixel.

`id` and `label` are optional, and columns may be in any order. Other columns must be kept or dropped explicitly, except
`split` next to `pixels`. The decompressed size is checked before reading, so that a small file cannot exhaust memory.
Page checksums are verified.
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
    require_pixels,
)
from components.readers.tables.parquet_columns import (
    WHOLE_NUMBERS,
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
LARGEST_FOOTER = 16 << 20  # bytes; some 800 pixel columns in 25 row groups take 3 MB
MAGIC, ENCRYPTED = b"PAR1", b"PARE"


@dataclass(frozen=True)
class Rows:
    """A range of consecutive rows in a Parquet file."""

    groups: range  # row groups that contain them, from 0
    first: int  # number of the first row in the input, from 1
    skip: int = 0  # rows to skip at the start of these groups
    count: int | None = None  # None: all remaining rows


def read_pixel_parquet(stream: BinaryIO, name: str, wanted: Wanted) -> Iterator[Block]:
    """Parse a Parquet file of pixels in blocks of some thousand rows, with bounded memory.

    Args:
        stream: the file, seekable.
        name: file name for errors.
        wanted: what to read.

    Yields:
        Blocks in order. Every row is in exactly one, as an image or as a reject. `Block.lines` are row numbers from 1.
        Rejects store their row as JSON, with bytes as hexadecimal digits.

    Raises:
        InputError: not a Parquet file, a damaged or encrypted one, unexpected columns or types.
        InputTooLarge: more than a million rows, an id longer than 1,024 bytes, or see `check_pages`.
    """
    check_footer(stream, name)
    with as_input_error(name):
        file = _open(stream, name, wanted)
    yield from _read_rows(file, Rows(range(file.metadata.num_row_groups), 1), name, wanted)


def read_pixel_rows(stream: BinaryIO, rows: Rows, name: str, wanted: Wanted) -> Iterator[Block]:
    """Parse some rows of a Parquet file of pixels, without a limit on its number of rows.

    Args:
        stream: the file, seekable.
        rows: the rows to read.
        name: file name for errors.
        wanted: what to read.

    Raises:
        InputError, InputTooLarge: as for `read_pixel_parquet`, in these row groups.
    """
    check_footer(stream, name)
    with as_input_error(name):
        file = _open(stream, name, wanted, rows.groups)
    yield from _read_rows(file, rows, name, wanted)


def measure_groups(path: Path, wanted: Wanted) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
    """Read the footer: rows and bytes of each row group, the kept columns, and which of id and label exist.

    Raises:
        InputError: not a Parquet file, a damaged one, or unexpected columns or types.
    """
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        check_footer(stream, path.name)
        with as_input_error(path.name):
            file = pq.ParquetFile(stream)
    names = check_columns(file.schema_arrow, path.name, wanted)
    return describe_groups(file, wanted, names)


def describe_groups(
    file: Any, wanted: Wanted, names: Sequence[str]
) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
    """As `measure_groups`, for an open file whose columns are checked."""
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
    """Read and validate rows of an open file, then close it.

    Yields:
        The number of the first row of a batch, and the batch: at most `size` rows of the given columns.

    Raises:
        InputError: the file is damaged.
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
        raise InputError(name, f"damaged file: found {seen:,} rows, expected {held:,} from the footer")


@contextlib.contextmanager
def as_input_error(name: str) -> Iterator[None]:
    """Convert Arrow errors to `InputError`, also of a name that is not UTF-8; disk errors pass through."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).partition("\n")[0][:160]
        raise InputError(name, f"damaged or unsupported Parquet file: {reason}") from error


def check_footer(stream: BinaryIO, name: str) -> None:
    """Refuse files before a Parquet reader opens them.

    Raises:
        InputError: not a Parquet file, or an encrypted one.
        InputTooLarge: the footer is larger than 16 MiB.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - 8, 0))
    length, magic = stream.read(4), stream.read(4)
    if magic == ENCRYPTED:
        raise InputError(name, "the Parquet file is encrypted. Decrypt it first")
    if magic != MAGIC or size < 12:
        raise InputError(name, "not a Parquet file, or a truncated one")
    if int.from_bytes(length, "little") > LARGEST_FOOTER:
        raise InputTooLarge(name, f"the footer is larger than {LARGEST_FOOTER >> 20} MiB. Write larger row groups")
    stream.seek(0)


def _open(stream: BinaryIO, name: str, wanted: Wanted, groups: range | None = None) -> Any:
    """Open a file after checking everything that can be known before its first page is read."""
    import pyarrow.parquet as pq  # lazy: saves 10 MB in a service without such tables

    file = pq.ParquetFile(stream)
    metadata, schema = file.metadata, file.schema_arrow
    if groups is None:
        refuse_many_rows(metadata, name)
    names = check_columns(schema, name, wanted)
    owners = [ours for field, ours in zip(schema, names, strict=True) for _ in range(leaves(field.type))]
    columns = [index for index, ours in enumerate(owners) if not is_left_out(ours)]
    check_pages(stream, metadata, columns, name, range(metadata.num_row_groups) if groups is None else groups)
    # Dictionaries: a long id that is repeated in many rows is stored once
    own = {"id", "label", "pixels", *wanted.kept}
    texts = [field.name for field, ours in zip(schema, names, strict=True) if ours in own and is_long(field.type)]
    return pq.ParquetFile(stream, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)


def is_long(kind: pa.DataType) -> bool:
    """Whether values may have any length and Arrow can read the column as a dictionary."""
    return is_text(kind) or kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def refuse_many_rows(metadata: Any, name: str) -> None:
    """Raises InputTooLarge: more than a million rows."""
    if metadata.num_rows > MAX_ROWS:
        raise InputTooLarge(name, f"found {metadata.num_rows:,} rows, expected at most {MAX_ROWS:,}")


def names_of(schema: pa.Schema) -> list[str]:
    """The column names; `image` becomes `pixels` if it contains lists of numbers rather than files."""
    if schema.names.count("image") == 1 and "pixels" not in schema.names and depth_of(schema.field("image").type):
        return ["pixels" if name == "image" else name for name in schema.names]
    return list(schema.names)


def check_columns(schema: pa.Schema, name: str, wanted: Wanted) -> tuple[str, ...]:
    """Check the columns of a table of pixels and normalise their names, see `read_columns`.

    Raises:
        InputError: unexpected columns or types, or ambiguous ones.
    """
    require_pixels(wanted.contract, name)
    columns = pixel_columns(wanted.contract.image)
    try:
        names = read_columns(names_of(schema), wanted.contract.image, wanted.kept, wanted.dropped).names
    except InputError as error:
        raise InputError(name, f"columns: {error.reason}").suggesting(*error.remedies) from error
    if "pixels" in names and set(columns) <= set(names):
        message = f"ambiguous columns: found both 'pixels' and {len(columns)} pixel columns, expected one of them"
        raise InputError(name, message).suggesting(Remedy("drop", "pixels", f"reads the {len(columns)} columns"))
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
    """The supported column layouts of a table of pixels."""
    return f"[id,][label,]pixel1,...,pixel{image.size} or [id,][split,][label,]pixels"


def _describe_type(kind: pa.DataType, ours: str, wanted: Wanted) -> str:
    """The expected type of a column if its type does not fit; "" if it does."""
    if ours in wanted.kept:
        return "one value per row" if pa.types.is_nested(value_type(kind)) else ""
    if ours == "pixels":
        return describe_misfit(kind, wanted.contract.image)
    if ours == "label":
        return "" if is_label(kind) else f"{WHOLE_NUMBERS} or class names"
    if ours == "id":
        return "" if is_text(kind) or pa.types.is_integer(value_type(kind)) else f"text or {WHOLE_NUMBERS}"
    return "" if is_number(kind) else WHOLE_NUMBERS


def _next_batch(batches: Iterator[pa.RecordBatch], name: str) -> pa.RecordBatch | None:
    """Read and validate the next batch; None at the end. Raises InputError if it is damaged."""
    with as_input_error(name):
        batch = next(batches, None)
        if batch is not None:
            batch.validate(full=True)  # detects invalid UTF-8 and indices beyond a dictionary
        return batch


def to_block(batch: pa.RecordBatch, names: Sequence[str], first: int, name: str, wanted: Wanted) -> Block:
    """Convert a batch to a block.

    Args:
        batch: the rows, with the column names of the file.
        names: normalised column names, see `check_columns`.
        first: number of the first row.
        name: file name for errors.
        wanted: what to read.
    """
    faults, found = Faults(len(batch)), batch
    batch = batch.rename_columns(list(names))
    images = read_pixels(batch, faults, name, wanted.contract.image)
    labels, unread = None, dict[str, int]()
    if "label" in names:
        ours = found.schema.names[list(names).index("label")]
        column = name_classes(batch["label"], found.schema, wanted.contract, ours)
        labels, counts = read_class_labels(column, faults, wanted, name)
        unread.update(counts)
    lines = np.arange(first, first + len(batch))
    ids = read_ids(batch["id"], faults, name) if "id" in names else Texts(pa.array(lines).cast(pa.string()))
    extra = read_others(batch, wanted.kept, name) if wanted.kept else None
    if not faults.reasons:
        return Block(lines, ids, images, labels, (), extra, unread=unread)
    bad, good = sorted(faults.reasons), np.flatnonzero(~faults.found)
    rejects = [
        RowReject(first + index, faults.reasons[index], row, ids[index])
        for index, row in zip(bad, _as_json(found, bad), strict=True)
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


def _as_json(batch: pa.RecordBatch, indices: list[int]) -> Iterator[bytes]:
    """Encode rows as JSON, a few at a time: each takes 60 KB as Python numbers."""
    for start in range(0, len(indices), REJECTS_AT_ONCE):
        some = batch.take(pa.array(indices[start : start + REJECTS_AT_ONCE], pa.int32()))
        for row in some.to_pylist():
            yield orjson.dumps(row, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
