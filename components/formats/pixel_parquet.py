"""Parquet of pixels: a column `pixels` of 784 bytes an image, as our own datasets have it, or a column a pixel.

`id` and `label` are optional, columns come in any order, and others are allowed where they were named, as is `split`
beside `pixels`. What a
file would take is found before it is read, so that a small one cannot fill the memory; pages with a checksum are
checked against it.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import CLASSES, IMAGE_SHAPE, PIXELS, Images
from components.errors import InputError, InputTooLarge
from components.formats.parquet_pages import check_pages
from components.formats.pixel_csv import PIXEL_COLUMNS, Block, Reject, advise, find_wrong_columns

ROWS_AT_ONCE = 4096  # 26 MB, where each pixel takes eight bytes
REJECTS_AT_ONCE = 128
MOST_ROWS = 1_000_000
LARGEST_FOOTER = 16 << 20  # bytes; 785 columns in 25 row groups take 3 MB
LONGEST_TEXT = 64 << 10  # bytes of a cell that comes along, as in a line of CSV
LONGEST_ID = 1024  # bytes; one long id in a dictionary can stand in every row
MAGIC, ENCRYPTED = b"PAR1", b"PARE"
LAYOUTS = "[id,][label,]pixel1,...,pixel784 or [id,][split,][label,]pixels"


@dataclass(frozen=True)
class Others:
    """The columns that may stand beside those of pixels."""

    kept: Sequence[str] = ()  # they must be there, and come along
    dropped: Sequence[str] = ()


NONE = Others()


class Faults:
    """What is wrong with the rows of a batch; the first fault of a row counts."""

    def __init__(self, rows: int) -> None:
        self.reasons: dict[int, str] = {}
        self.found = np.zeros(rows, bool)

    def add(self, rows: NDArray[np.bool_], tell: Callable[[int], str]) -> None:
        """Note those of `rows`, (n,), that had no fault before; `tell` gives the reason for one."""
        for row in np.flatnonzero(rows & ~self.found).tolist():
            self.reasons[row] = tell(row)
        self.found |= rows


class Texts(Sequence[str]):
    """An Arrow array of texts, none missing, that goes from one table into another and is rarely looked at."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "Texts": ...

    def __getitem__(self, place: int | slice) -> "str | Texts":
        found = self.array[place]
        return Texts(found) if isinstance(place, slice) else str(found.as_py())

    def __iter__(self) -> Iterator[str]:
        return iter(self.array.to_pylist())

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:  # noqa: A002, Arrow's own name
        return self.array if type is None else self.array.cast(type)


def read_pixel_parquet(stream: BinaryIO, name: str = "file") -> Iterator[Block]:
    """Parse a Parquet file of pixels in blocks of 4,096 rows, in bounded memory.

    Args:
        stream: the file, seekable.
        name: what to call it in an error.

    Yields:
        Blocks in order: every row is in exactly one, as an image or as a reject. Lines are the rows' numbers from 1.
        A reject's row is JSON, bytes in it as hexadecimal digits.

    Raises:
        InputError: no Parquet file, a damaged or encrypted one, other columns or types, an id that is no text.
        InputTooLarge: more than a million rows, an id of more than 1,024 bytes, or see `check_pages`.
    """
    check_footer(stream, name)
    with named_damage(name):
        file = _open(stream, name, NONE)
    yield from _read_groups(file, range(file.metadata.num_row_groups), 1, name, NONE)


def read_pixel_groups(stream: BinaryIO, groups: range, first: int, name: str, others: Others = NONE) -> Iterator[Block]:
    """Parse some row groups of a Parquet file of pixels, however many rows the file has.

    Args:
        stream: the file, seekable.
        groups: their numbers, from 0.
        first: the number of the first row in them.
        name: what to call the file in an error.
        others: the columns beside those of pixels.

    Raises:
        InputError, InputTooLarge: as for `read_pixel_parquet`, of these row groups.
    """
    check_footer(stream, name)
    with named_damage(name):
        file = _open(stream, name, others, groups)
    yield from _read_groups(file, groups, first, name, others)


def measure_groups(path: Path, others: Others = NONE) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
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
    _check_columns(file.schema_arrow, path.name, others)
    return describe_groups(file, others)


def describe_groups(file: Any, others: Others) -> tuple[list[tuple[int, int]], pa.Schema, set[str]]:
    """Of a file whose columns were checked, what `measure_groups` returns."""
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    fields = [file.schema_arrow.field(column) for column in others.kept]
    extra = pa.schema([(field.name, value_type(field.type)) for field in fields])
    own = {"id", "label"}.intersection(file.schema_arrow.names)
    return [(group.num_rows, group.total_byte_size) for group in groups], extra, own


def _read_groups(file: Any, groups: range, first: int, name: str, others: Others) -> Iterator[Block]:
    expected = sum(file.metadata.row_group(number).num_rows for number in groups)
    rows = 0
    with contextlib.closing(file):
        wanted = [column for column in file.schema_arrow.names if not _is_left_out(column, others)]
        batches = file.iter_batches(ROWS_AT_ONCE, row_groups=list(groups), columns=wanted, use_threads=False)
        while (batch := next_batch(batches, name)) is not None:
            yield _to_block(batch, first + rows, name, others)
            rows += len(batch)
    if rows != expected:
        raise InputError(name, f"damaged: {rows:,} rows, its footer says {expected:,}")


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


def _open(stream: BinaryIO, name: str, others: Others, groups: range | None = None) -> Any:
    """The file, everything known about it before its first page checked."""
    import pyarrow.parquet as pq  # here, because it costs 10 MB that a service without such tables need not spend

    file = pq.ParquetFile(stream)
    metadata, schema = file.metadata, file.schema_arrow
    if groups is None and metadata.num_rows > MOST_ROWS:
        raise InputTooLarge(name, f"{metadata.num_rows:,} rows, at most {MOST_ROWS:,}")
    _check_columns(schema, name, others)
    owners = [field.name for field in schema for _ in range(leaves(field.type))]
    columns = [place for place, column in enumerate(owners) if not _is_left_out(column, others)]
    check_pages(stream, metadata, columns, name, range(metadata.num_row_groups) if groups is None else groups)
    # As a dictionary: a long id that stands in many rows takes its room once
    texts = [field.name for field in schema if field.name in {"id", *others.kept} and is_text(field.type)]
    return pq.ParquetFile(stream, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)


def _check_columns(schema: pa.Schema, name: str, others: Others) -> None:
    pixels, split = (("pixels",), ("split",)) if "pixels" in schema.names else (PIXEL_COLUMNS, ())
    needed, optional = (*pixels, *others.kept), ("id", "label", *split, *others.dropped)
    if wrong := find_wrong_columns(schema.names, needed, optional):
        raise InputError(name, f"columns: {wrong}; {advise(schema.names, needed, optional, LAYOUTS)}")
    for column in schema:
        if column.name in others.kept:
            fits, expected = not pa.types.is_nested(value_type(column.type)), "one value a row"
        elif column.name == "pixels":
            fits, expected = column.type == pa.binary(PIXELS), f"fixed_size_binary[{PIXELS}]"
        elif column.name == "id":
            fits, expected = is_text(column.type) or pa.types.is_integer(column.type), "text or whole numbers"
        else:
            fits, expected = pa.types.is_integer(column.type), "whole numbers"
        if not fits and not _is_left_out(column.name, others):
            raise InputError(name, f"column {column.name}: found {str(column.type)[:60]}, expected {expected}")


def is_text(kind: pa.DataType) -> bool:
    """Whether a column has texts, as a dictionary or not."""
    return value_type(kind) in (pa.string(), pa.large_string(), pa.string_view())


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of what a dictionary has in it; any other type is its own."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def leaves(kind: pa.DataType) -> int:
    """How many columns of Parquet a column takes: a struct has one a field."""
    return sum(leaves(kind.field(place).type) for place in range(kind.num_fields)) if kind.num_fields else 1


def _is_left_out(column: str, others: Others) -> bool:
    return (column == "split" or column in others.dropped) and column not in others.kept


def next_batch(batches: Iterator[pa.RecordBatch], name: str) -> pa.RecordBatch | None:
    """The next rows, whole and valid; None at the end. Raises InputError: they are damaged."""
    with named_damage(name):
        batch = next(batches, None)
        if batch is not None:
            batch.validate(full=True)  # text that is not UTF-8, indices beyond a dictionary
        return batch


def _to_block(batch: pa.RecordBatch, first: int, name: str, others: Others) -> Block:
    faults = Faults(len(batch))
    names = batch.schema.names
    images = _read_bytes(batch["pixels"], faults) if "pixels" in names else _read_columns(batch, faults)
    labels = read_numbers(batch["label"], "label", len(CLASSES) - 1, faults) if "label" in names else None
    lines = np.arange(first, first + len(batch))
    ids = read_ids(batch["id"], faults, name) if "id" in names else Texts(pa.array(lines).cast(pa.string()))
    extra = read_others(batch, others.kept, name) if others.kept else None
    if not faults.reasons:
        return Block(lines, ids, images, labels, (), extra)
    bad, good = sorted(faults.reasons), np.flatnonzero(~faults.found)
    rejects = [
        Reject(first + place, faults.reasons[place], row, ids[place])
        for place, row in zip(bad, _as_json(batch, bad), strict=True)
    ]
    return Block(
        lines[good],
        Texts(ids.array.take(pa.array(good))),
        images[good],
        None if labels is None else labels[good],
        tuple(rejects),
        None if extra is None else extra.take(good),
    )


def read_others(batch: pa.RecordBatch, kept: Sequence[str], name: str) -> pa.Table:
    """The columns that come along, with no dictionary around them.

    Raises:
        InputTooLarge: a text of more than 64 KiB.
    """
    columns = [batch[column] for column in kept]
    for column, values in zip(kept, columns, strict=True):
        if pa.types.is_dictionary(values.type) and is_text(values.type):
            _refuse_long(values, f"column {column}: a text", LONGEST_TEXT, name)
    return pa.table([values.cast(value_type(values.type)) for values in columns], list(kept))


def _refuse_long(values: pa.DictionaryArray, what: str, longest: int, name: str) -> None:
    import pyarrow.compute as pc

    if (pc.max(pc.binary_length(values.dictionary)).as_py() or 0) > longest:
        raise InputTooLarge(name, f"{what} of more than {longest:,} bytes")


def _as_json(batch: pa.RecordBatch, places: list[int]) -> Iterator[bytes]:
    """Some rows as they stood; few at a time, because each takes 60 KB as Python's numbers."""
    for start in range(0, len(places), REJECTS_AT_ONCE):
        some = batch.take(pa.array(places[start : start + REJECTS_AT_ONCE], pa.int32()))
        for row in some.to_pylist():
            yield orjson.dumps(row, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))


def _read_bytes(column: pa.Array, faults: Faults) -> Images:
    """fixed_size_binary(784) -> uint8 (n, 28, 28)"""
    faults.add(_is_null(column), lambda _: f"pixels: nothing, expected {PIXELS} bytes")
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * PIXELS :]
    return flat[: len(column) * PIXELS].reshape(-1, *IMAGE_SHAPE)


def _read_columns(batch: pa.RecordBatch, faults: Faults) -> Images:
    """784 columns of whole numbers -> uint8 (n, 28, 28)"""
    pixels = np.empty((PIXELS, len(batch)), np.uint8)
    for row, column in zip(pixels, PIXEL_COLUMNS, strict=True):
        row[:] = read_numbers(batch[column], column, 255, faults)
    return np.ascontiguousarray(pixels.T).reshape(-1, *IMAGE_SHAPE)


def read_numbers(column: pa.Array, field: str, largest: int, faults: Faults) -> NDArray[np.uint8]:
    """Whole numbers from 0 to `largest`, uint8 (n,); where there is another or none, a fault, and any value."""
    if column.null_count:
        faults.add(_is_null(column), lambda _: f"{field}: nothing, expected a whole number from 0 to {largest}")
        column = column.fill_null(0)
    values: NDArray[Any] = column.to_numpy()
    if len(values) and (values.max() > largest or values.min() < 0):
        wrong = (values > largest) | (values < 0)
        faults.add(wrong, lambda row: f"{field}: {values[row]} is not a whole number from 0 to {largest}")
    return values.astype(np.uint8)


def read_ids(column: pa.Array, faults: Faults, name: str) -> Texts:
    """The ids of a batch, as texts; where there is none, a fault and "".

    Raises:
        InputTooLarge: an id of more than 1,024 bytes.
    """
    if pa.types.is_dictionary(column.type):
        _refuse_long(column, "an id", LONGEST_ID, name)
    faults.add(_is_null(column), lambda _: "id: nothing, where the other rows have one")
    return Texts(column.cast(pa.string()).fill_null(""))


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), bool)
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls
