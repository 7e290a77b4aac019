"""Columns of Arrow as what they stand for: pixels, labels, ids, what comes along; and faults of rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import Images, ImageSpec, Labels
from components.errors import InputTooLarge
from components.readers.blocks import Wanted
from components.readers.tables.columns import pixel_columns
from components.readers.tables.numbers import UNLABELLED, describe_labels, is_pixels, read_labels

LONGEST_TEXT = 64 << 10  # bytes of a cell that comes along, as in a line of CSV
LONGEST_ID = 1024  # bytes; one long id in a dictionary can stand in every row
LONGEST_PIXELS = 2 << 10  # bytes of a cell of pixels, or twice those that are right: a reject keeps it
ROWS_AT_ONCE, BYTES_AT_ONCE = 4096, 26 << 20  # of a batch; bytes of it, where each number takes eight
MAX_TEXT = 32 << 20  # bytes of one column in a batch of rows, once each row has its own
WHOLE = "whole numbers"


class Faults:
    """What is wrong with the rows of a batch; the first fault of a row counts."""

    def __init__(self, rows: int) -> None:
        self.reasons: dict[int, str] = {}
        self.found = np.zeros(rows, bool)

    def add(self, rows: NDArray[np.bool_], reason_of: Callable[[int], str]) -> None:
        """Note those of `rows`, (n,), that had no fault before; `reason_of` gives the reason for one."""
        for row in np.flatnonzero(rows & ~self.found).tolist():
            self.reasons[row] = reason_of(row)
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


# --- numbers and texts ---


def read_numbers(column: pa.Array, field: str, largest: int, faults: Faults) -> NDArray[np.uint16]:
    """Whole numbers from 0 to `largest`, uint16 (n,); where there is another or none, a fault, and any value."""
    column = _plain_numbers(column)
    if column.null_count:
        faults.add(_is_null(column), lambda _: f"{field}: nothing, expected a whole number from 0 to {largest}")
        column = column.fill_null(0)
    values: NDArray[Any] = column.to_numpy()
    if len(values) and (values.dtype.kind == "f" or values.max() > largest or values.min() < 0):
        wrong = ~is_pixels(values) | (values > largest)
        faults.add(wrong, lambda row: f"{field}: {_describe(values[row], largest)}")
        values = np.where(wrong, 0, values)
    return values.astype(np.uint16)


def read_class_labels(column: pa.Array, faults: Faults, wanted: Wanted, name: str) -> tuple[Labels, Mapping[str, int]]:
    """Labels by number or name, uint16 (n,), `UNLABELLED` where one cannot be read, which is a fault where `strict`;
    and how often each of those stands there.

    Raises:
        InputTooLarge: a label of more than 1,024 bytes.
    """
    contract = wanted.contract
    if pa.types.is_integer(column.type) and wanted.strict and not contract.are_numbers:
        return read_numbers(column, "label", len(contract.classes) - 1, faults), {}
    if pa.types.is_dictionary(column.type) and is_text(column.type):
        _refuse_long(column, "a label", LONGEST_ID, name)
    labels, unread = read_labels(column, contract)
    if wanted.strict and unread:
        told = f"is not {describe_labels(contract)}"
        faults.add(labels == UNLABELLED, lambda row: f"label: {str(column[row].as_py())[:20]!r} {told}")
    return labels, unread


def read_ids(column: pa.Array, faults: Faults, name: str) -> Texts:
    """The ids of a batch, as texts; where there is none, a fault and "".

    Raises:
        InputTooLarge: an id of more than 1,024 bytes.
    """
    if pa.types.is_dictionary(column.type) and is_text(column.type):
        _refuse_long(column, "an id", LONGEST_ID, name)
    faults.add(_is_null(column), lambda _: "id: nothing, where the other rows have one")
    return Texts(column.cast(value_type(column.type)).cast(pa.string()).fill_null(""))


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


# --- pixels ---


def rows_at_once(image: ImageSpec) -> int:
    """How many rows are worked on at a time, fewer of large images."""
    return min(ROWS_AT_ONCE, BYTES_AT_ONCE // (8 * image.size))


def read_pixels(batch: pa.RecordBatch, faults: Faults, name: str, image: ImageSpec) -> Images:
    """A column `pixels`, or a column a number -> uint8 (n, height, width[, 3]); rows with a fault are any image.

    Raises:
        InputTooLarge: a cell of more than 2,048 bytes, and more than twice those of an image.
    """
    if "pixels" not in batch.schema.names:
        return _read_pixel_columns(batch, faults, image)
    column = batch["pixels"]
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    if column.type == pa.binary(image.size):
        return _read_bytes(column, faults, image)
    if depth_of(column.type):
        return _read_lists(column, faults, image)
    return _read_any_bytes(column, faults, name, image)


def describe_misfit(kind: pa.DataType, image: ImageSpec) -> str:
    """What the type of a column `pixels` should be, where it is another; empty where it fits."""
    plain = value_type(kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)
    if depth := depth_of(plain):
        inner = plain
        for _ in range(depth):
            inner = inner.value_type
        return "" if depth in (1, len(image.shape)) and is_number(inner) else f"lists of {image.size} {WHOLE}"
    fits = plain in (pa.binary(image.size), pa.binary(), pa.large_binary(), pa.binary_view())
    return "" if fits else f"fixed_size_binary[{image.size}], {image.size} bytes, or a list of {image.size} {WHOLE}"


def depth_of(kind: pa.DataType) -> int:
    """How many lists stand in each other; 0 for anything else."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    is_list = is_list or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    return 1 + depth_of(kind.value_type) if is_list else 0


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type may be whole numbers."""
    plain = value_type(kind)
    return bool(pa.types.is_integer(plain) or pa.types.is_floating(plain) or pa.types.is_decimal(plain))


def _read_bytes(column: pa.Array, faults: Faults, image: ImageSpec) -> Images:
    """fixed_size_binary(numbers of an image) -> uint8 (n, height, width[, 3])"""
    size = image.size
    faults.add(_is_null(column), lambda _: f"pixels: nothing, expected {size} bytes")
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * size :]
    return flat[: len(column) * size].reshape(-1, *image.shape)


def _read_any_bytes(column: pa.Array, faults: Faults, name: str, image: ImageSpec) -> Images:
    """Bytes of any length, in a dictionary or not -> uint8 (n, height, width[, 3])"""
    import pyarrow.compute as pc

    size = image.size
    if pa.types.is_dictionary(column.type):
        _refuse_long(column, f"pixels: expected {size} bytes, found a cell", max(LONGEST_PIXELS, 2 * size), name)
        column = column.cast(column.type.value_type)
    column = column.cast(pa.large_binary())
    faults.add(_is_null(column), lambda _: f"pixels: nothing, expected {size} bytes")
    lengths: NDArray[np.int64] = pc.binary_length(column).fill_null(0).to_numpy()
    whole = lengths == size
    faults.add(~whole, lambda row: f"pixels: {lengths[row]:,} bytes, expected {size}")
    images = np.zeros((len(column), *image.shape), np.uint8)
    content = b"".join(column.filter(pa.array(whole)).to_pylist())
    images[whole] = np.frombuffer(content, np.uint8).reshape(-1, *image.shape)
    return images


def _read_lists(column: pa.Array, faults: Faults, image: ImageSpec) -> Images:
    """Lists of all numbers of an image, or lists of its rows -> uint8 (n, height, width[, 3])"""
    shape = (image.size,) if depth_of(column.type) == 1 else image.shape
    faults.add(_is_null(column), lambda _: f"pixels: nothing, expected {image.size} values")
    whole = ~_is_null(column)
    values = column
    for level, length in enumerate(shape):
        lengths = _lengths(values).reshape(int(whole.sum()) if level else len(column), -1)
        fits = (lengths == length).all(axis=1)
        told, wrong = np.zeros(len(column), bool), np.zeros(len(column), np.int64)
        here = np.flatnonzero(whole) if level else np.arange(len(column))
        told[here] = ~fits
        wrong[here] = np.where(lengths == length, 0, lengths).max(axis=1, initial=0)
        faults.add(told, lambda row, wrong=wrong, length=length: f"pixels: {wrong[row]:,} values, expected {length}")  # type: ignore[misc]
        values = values.filter(pa.array(np.repeat(fits, lengths.shape[1]))).flatten()
        whole[here] &= fits
    images = np.zeros((len(column), *image.shape), np.uint8)
    images[whole] = _read_values(values, np.flatnonzero(whole), faults, image)
    return images


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    found: NDArray[np.int64] = pc.list_value_length(lists).cast(pa.int64()).fill_null(-1).to_numpy()
    return found


def _read_values(values: pa.Array, rows: NDArray[np.intp], faults: Faults, image: ImageSpec) -> Images:
    """The numbers of the images of some rows, one after the other -> uint8 (len(rows), height, width[, 3])"""
    values = _plain_numbers(values)
    missing = _is_null(values).reshape(-1, image.size)
    numbers: NDArray[Any] = values.fill_null(0).to_numpy() if values.null_count else values.to_numpy()
    numbers = numbers.reshape(-1, image.size)
    wrong = missing | ~is_pixels(numbers) if numbers.dtype != np.uint8 else missing
    bad, at = np.zeros(len(faults.found), bool), dict[int, int]()
    for place in np.flatnonzero(wrong.any(axis=1)).tolist():
        bad[rows[place]], at[int(rows[place])] = True, place

    def reason_of(row: int) -> str:
        first = int(wrong[at[row]].argmax())
        return f"pixels[{first}]: {_describe(None if missing[at[row], first] else numbers[at[row], first], 255)}"

    faults.add(bad, reason_of)
    clean = np.where(wrong, 0, numbers) if at else numbers
    return clean.astype(np.uint8).reshape(-1, *image.shape)


def _read_pixel_columns(batch: pa.RecordBatch, faults: Faults, image: ImageSpec) -> Images:
    """A column of whole numbers for each number of an image -> uint8 (n, height, width[, 3])"""
    pixels = np.empty((image.size, len(batch)), np.uint8)
    for row, column in zip(pixels, pixel_columns(image), strict=True):
        row[:] = read_numbers(batch[column], column, 255, faults)
    return np.ascontiguousarray(pixels.T).reshape(-1, *image.shape)


def _describe(value: Any, largest: int) -> str:
    if value is None:
        return f"nothing, expected a whole number from 0 to {largest}"
    advice = "; it looks like a share of 1: multiply by 255" if largest == 255 and 0 < value < 1 else ""
    return f"{value} is not a whole number from 0 to {largest}{advice}"


# --- types ---


def is_text(kind: pa.DataType) -> bool:
    """Whether a column has texts, as a dictionary or not."""
    return value_type(kind) in (pa.string(), pa.large_string(), pa.string_view())


def is_label(kind: pa.DataType) -> bool:
    """Whether a column may have labels."""
    return is_text(kind) or is_number(kind) or pa.types.is_null(kind)


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of what a dictionary has in it; any other type is its own."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def leaves(kind: pa.DataType) -> int:
    """How many columns of Parquet a column takes: a struct has one a field."""
    return sum(leaves(kind.field(place).type) for place in range(kind.num_fields)) if kind.num_fields else 1


def _plain_numbers(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _refuse_long(values: pa.DictionaryArray, what: str, longest: int, name: str) -> None:
    import pyarrow.compute as pc

    lengths = pc.binary_length(values.dictionary)
    if (pc.max(lengths).as_py() or 0) > longest:
        raise InputTooLarge(name, f"{what} of more than {longest:,} bytes")
    if (pc.sum(lengths.take(values.indices)).as_py() or 0) > MAX_TEXT:
        raise InputTooLarge(name, f"{what} of more than {MAX_TEXT // 4096:,} bytes on average")


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), bool)
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls
