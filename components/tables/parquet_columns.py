"""Columns of a Parquet file as what they stand for: pixels, labels, ids, what comes along; and faults of rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import IMAGE_SHAPE, PIXELS, Images
from components.errors import InputTooLarge
from components.tables.layout import PIXEL_COLUMNS

LONGEST_TEXT = 64 << 10  # bytes of a cell that comes along, as in a line of CSV
LONGEST_ID = 1024  # bytes; one long id in a dictionary can stand in every row


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


def read_bytes(column: pa.Array, faults: Faults) -> Images:
    """fixed_size_binary(784) -> uint8 (n, 28, 28)"""
    faults.add(_is_null(column), lambda _: f"pixels: nothing, expected {PIXELS} bytes")
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * PIXELS :]
    return flat[: len(column) * PIXELS].reshape(-1, *IMAGE_SHAPE)


def read_pixel_columns(batch: pa.RecordBatch, faults: Faults) -> Images:
    """784 columns of whole numbers -> uint8 (n, 28, 28)"""
    pixels = np.empty((PIXELS, len(batch)), np.uint8)
    for row, column in zip(pixels, PIXEL_COLUMNS, strict=True):
        row[:] = read_numbers(batch[column], column, 255, faults)
    return np.ascontiguousarray(pixels.T).reshape(-1, *IMAGE_SHAPE)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column has texts, as a dictionary or not."""
    return value_type(kind) in (pa.string(), pa.large_string(), pa.string_view())


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of what a dictionary has in it; any other type is its own."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def leaves(kind: pa.DataType) -> int:
    """How many columns of Parquet a column takes: a struct has one a field."""
    return sum(leaves(kind.field(place).type) for place in range(kind.num_fields)) if kind.num_fields else 1


def _refuse_long(values: pa.DictionaryArray, what: str, longest: int, name: str) -> None:
    import pyarrow.compute as pc

    if (pc.max(pc.binary_length(values.dictionary)).as_py() or 0) > longest:
        raise InputTooLarge(name, f"{what} of more than {longest:,} bytes")


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), bool)
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls
