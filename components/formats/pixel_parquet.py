"""Parquet of pixels: a column `pixels` of 784 bytes an image, as our own datasets have it, or a column a pixel.

`id` and `label` are optional, columns come in any order, and no others are allowed but `split` beside `pixels`. What a
file would take is found before it is read, so that a small one cannot fill the memory; pages with a checksum are
checked against it.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import CLASSES, IMAGE_SHAPE, PIXELS, Images
from components.errors import InputError, InputTooLarge
from components.formats.parquet_pages import check_pages
from components.formats.pixel_csv import PIXEL_COLUMNS, Block, Reject, find_wrong_columns

ROWS_AT_ONCE = 4096  # 26 MB, where each pixel takes eight bytes
REJECTS_AT_ONCE = 128
MOST_ROWS = 1_000_000
LARGEST_FOOTER = 16 << 20  # bytes; 785 columns in 25 row groups take 3 MB
LONGEST_ID = 1024  # bytes; one long id in a dictionary can stand in every row
MAGIC, ENCRYPTED = b"PAR1", b"PARE"
LAYOUTS = "[id,][label,]pixel1,...,pixel784 or [id,][split,][label,]pixels"


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
    _check_footer(stream, name)
    with _named_damage(name):
        file = _open(stream, name)
    yield from _read_groups(file, range(file.metadata.num_row_groups), 1, name)


def read_pixel_groups(stream: BinaryIO, groups: range, first: int, name: str) -> Iterator[Block]:
    """Parse some row groups of a Parquet file of pixels, however many rows the file has.

    Args:
        stream: the file, seekable.
        groups: their numbers, from 0.
        first: the number of the first row in them.
        name: what to call the file in an error.

    Raises:
        InputError, InputTooLarge: as for `read_pixel_parquet`, of these row groups.
    """
    _check_footer(stream, name)
    with _named_damage(name):
        file = _open(stream, name, groups)
    yield from _read_groups(file, groups, first, name)


def measure_groups(path: Path) -> list[tuple[int, int]]:
    """Rows, and bytes unpacked as the footer has them, of each row group of a file.

    Raises:
        InputError: no Parquet file, or a damaged one.
    """
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        _check_footer(stream, path.name)
        with _named_damage(path.name):
            metadata = pq.ParquetFile(stream).metadata
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return [(group.num_rows, group.total_byte_size) for group in groups]


def _read_groups(file: Any, groups: range, first: int, name: str) -> Iterator[Block]:
    expected = sum(file.metadata.row_group(number).num_rows for number in groups)
    rows = 0
    with contextlib.closing(file):
        batches = file.iter_batches(ROWS_AT_ONCE, row_groups=list(groups), columns=_wanted(file), use_threads=False)
        while (batch := _next(batches, name)) is not None:
            yield _to_block(batch, first + rows, name)
            rows += len(batch)
    if rows != expected:
        raise InputError(name, f"damaged: {rows:,} rows, its footer says {expected:,}")


@contextlib.contextmanager
def _named_damage(name: str) -> Iterator[None]:
    """Arrow's errors about a file as ours; those of the disk stay."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = str(error).partition("\n")[0][:160]
        raise InputError(name, f"damaged, or of a kind of Parquet that is not read here: {said}") from error


def _check_footer(stream: BinaryIO, name: str) -> None:
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


def _open(stream: BinaryIO, name: str, groups: range | None = None) -> Any:
    """The file, everything known about it before its first page checked."""
    import pyarrow.parquet as pq  # here, because it costs 10 MB that a service without such tables need not spend

    file = pq.ParquetFile(stream)
    metadata, schema = file.metadata, file.schema_arrow
    if groups is None and metadata.num_rows > MOST_ROWS:
        raise InputTooLarge(name, f"{metadata.num_rows:,} rows, at most {MOST_ROWS:,}")
    _check_columns(schema.names, name)
    _check_types(schema, name)
    columns = [place for place, column in enumerate(schema.names) if column != "split"]
    check_pages(stream, metadata, columns, name, range(metadata.num_row_groups) if groups is None else groups)
    # As a dictionary: a long id that stands in many rows takes its room once
    texts = [field.name for field in schema if field.name == "id" and not pa.types.is_integer(field.type)]
    return pq.ParquetFile(stream, metadata=metadata, read_dictionary=texts, page_checksum_verification=True)


def _check_columns(names: list[str], name: str) -> None:
    if "pixels" in names:
        wrong = find_wrong_columns(names, ("pixels",), ("id", "split", "label"))
    else:
        wrong = find_wrong_columns(names, PIXEL_COLUMNS, ("id", "label"))
    if wrong:
        raise InputError(name, f"columns: {wrong}; expected {LAYOUTS}")


def _check_types(schema: pa.Schema, name: str) -> None:
    for column in schema:
        if column.name == "pixels":
            fits, expected = column.type == pa.binary(PIXELS), f"fixed_size_binary[{PIXELS}]"
        elif column.name == "id":
            fits, expected = _is_text(column.type) or pa.types.is_integer(column.type), "text or whole numbers"
        else:
            fits, expected = pa.types.is_integer(column.type), "whole numbers"
        if not fits and column.name != "split":
            raise InputError(name, f"column {column.name}: found {str(column.type)[:60]}, expected {expected}")


def _is_text(kind: pa.DataType) -> bool:
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    return text in (pa.string(), pa.large_string(), pa.string_view())


def _wanted(file: Any) -> list[str]:
    return [column for column in file.schema_arrow.names if column != "split"]


def _next(batches: Iterator[pa.RecordBatch], name: str) -> pa.RecordBatch | None:
    with _named_damage(name):
        batch = next(batches, None)
        if batch is not None:
            batch.validate(full=True)  # text that is not UTF-8, indices beyond a dictionary
        return batch


def _to_block(batch: pa.RecordBatch, first: int, name: str) -> Block:
    faults = Faults(len(batch))
    names = batch.schema.names
    images = _read_bytes(batch["pixels"], faults) if "pixels" in names else _read_columns(batch, faults)
    labels = _read_numbers(batch["label"], "label", len(CLASSES) - 1, faults) if "label" in names else None
    lines = np.arange(first, first + len(batch))
    ids = Texts(_read_ids(batch["id"], faults, name) if "id" in names else pa.array(lines).cast(pa.string()))
    if not faults.reasons:
        return Block(lines, ids, images, labels, ())
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
    )


def _as_json(batch: pa.RecordBatch, places: list[int]) -> Iterator[bytes]:
    """Some rows as they stood; few at a time, because each takes 60 KB as Python's numbers."""
    for start in range(0, len(places), REJECTS_AT_ONCE):
        some = batch.take(pa.array(places[start : start + REJECTS_AT_ONCE], pa.int32()))
        for row in some.to_pylist():
            yield orjson.dumps(row, default=bytes.hex)


def _read_bytes(column: pa.Array, faults: Faults) -> Images:
    """fixed_size_binary(784) -> uint8 (n, 28, 28)"""
    faults.add(_is_null(column), lambda _: f"pixels: nothing, expected {PIXELS} bytes")
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * PIXELS :]
    return flat[: len(column) * PIXELS].reshape(-1, *IMAGE_SHAPE)


def _read_columns(batch: pa.RecordBatch, faults: Faults) -> Images:
    """784 columns of whole numbers -> uint8 (n, 28, 28)"""
    pixels = np.empty((PIXELS, len(batch)), np.uint8)
    for row, column in zip(pixels, PIXEL_COLUMNS, strict=True):
        row[:] = _read_numbers(batch[column], column, 255, faults)
    return np.ascontiguousarray(pixels.T).reshape(-1, *IMAGE_SHAPE)


def _read_numbers(column: pa.Array, field: str, largest: int, faults: Faults) -> NDArray[np.uint8]:
    """Whole numbers from 0 to `largest`, uint8 (n,); where there is another or none, a fault, and any value."""
    if column.null_count:
        faults.add(_is_null(column), lambda _: f"{field}: nothing, expected a whole number from 0 to {largest}")
        column = column.fill_null(0)
    values: NDArray[Any] = column.to_numpy()
    if len(values) and (values.max() > largest or values.min() < 0):
        wrong = (values > largest) | (values < 0)
        faults.add(wrong, lambda row: f"{field}: {values[row]} is not a whole number from 0 to {largest}")
    return values.astype(np.uint8)


def _read_ids(column: pa.Array, faults: Faults, name: str) -> pa.Array:
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        lengths = pc.binary_length(column.dictionary)
        if (pc.max(lengths).as_py() or 0) > LONGEST_ID:
            raise InputTooLarge(name, f"an id of more than {LONGEST_ID:,} bytes")
    faults.add(_is_null(column), lambda _: "id: nothing, where the other rows have one")
    return column.cast(pa.string()).fill_null("")


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), bool)
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls
