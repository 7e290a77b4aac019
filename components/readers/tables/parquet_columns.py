"""Convert Arrow columns to pixels, labels, ids and kept columns, and collect the faults of rows."""

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

LONGEST_TEXT = 64 << 10  # bytes of a kept cell, as in a CSV line
LONGEST_ID = 1024  # bytes; a dictionary can repeat one long id in every row
LONGEST_PIXELS = 2 << 10  # bytes of a cell of pixels, or twice the expected size; rejects store it
ROWS_AT_ONCE, BYTES_AT_ONCE = 4096, 26 << 20  # rows per batch; bytes per batch at eight bytes per value
MAX_TEXT = 32 << 20  # bytes of a text column in a batch, dictionary expanded
WHOLE_NUMBERS = "whole numbers"


class Faults:
    """The faults of the rows in a batch; only the first fault of a row counts."""

    def __init__(self, rows: int) -> None:
        self.reasons: dict[int, str] = {}
        self.found = np.zeros(rows, bool)

    def add(self, rows: NDArray[np.bool_], reason_of: Callable[[int], str]) -> None:
        """Add a fault to each of `rows`, a mask (n,), that has none yet; `reason_of` describes it."""
        for row in np.flatnonzero(rows & ~self.found).tolist():
            self.reasons[row] = reason_of(row)
        self.found |= rows


class Texts(Sequence[str]):
    """A sequence of strings backed by an Arrow array without nulls, which avoids Python copies."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "Texts": ...

    def __getitem__(self, index: int | slice) -> "str | Texts":
        found = self.array[index]
        return Texts(found) if isinstance(index, slice) else str(found.as_py())

    def __iter__(self) -> Iterator[str]:
        return iter(self.array.to_pylist())

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:  # noqa: A002, Arrow's name
        return self.array if type is None else self.array.cast(type)


# --- numbers and texts ---


def read_numbers(column: pa.Array, field: str, largest: int, faults: Faults) -> NDArray[np.uint16]:
    """Read whole numbers from 0 to `largest`, uint16 (n,). Others are faults, with an arbitrary value."""
    column = _plain_numbers(column)
    if column.null_count:
        faults.add(_is_null(column), lambda _: f"{field}: null, expected a whole number from 0 to {largest}")
        column = column.fill_null(0)
    values: NDArray[Any] = column.to_numpy()
    if len(values) and (values.dtype.kind == "f" or values.max() > largest or values.min() < 0):
        wrong = ~is_pixels(values) | (values > largest)
        faults.add(wrong, lambda row: f"{field}: {_describe(values[row], largest)}")
        values = np.where(wrong, 0, values)
    return values.astype(np.uint16)


def read_class_labels(column: pa.Array, faults: Faults, wanted: Wanted, name: str) -> tuple[Labels, Mapping[str, int]]:
    """Read labels by number or name, uint16 (n,), and count the unreadable ones.

    Unreadable labels are `UNLABELLED`, and faults if `wanted.strict`.

    Raises:
        InputTooLarge: a label is longer than 1,024 bytes.
    """
    contract = wanted.contract
    if pa.types.is_integer(column.type) and wanted.strict and not contract.are_numbers:
        return read_numbers(column, "label", len(contract.classes) - 1, faults), {}
    if pa.types.is_dictionary(column.type) and is_text(column.type):
        _refuse_long(column, "a label", LONGEST_ID, name)
    labels, unread = read_labels(column, contract)
    if wanted.strict and unread:
        reason = f"is not {describe_labels(contract)}"
        faults.add(labels == UNLABELLED, lambda row: f"label: {str(column[row].as_py())[:20]!r} {reason}")
    return labels, unread


def read_ids(column: pa.Array, faults: Faults, name: str) -> Texts:
    """Read ids as strings; a null is a fault and becomes "".

    Raises:
        InputTooLarge: an id is longer than 1,024 bytes.
    """
    if pa.types.is_dictionary(column.type) and is_text(column.type):
        _refuse_long(column, "an id", LONGEST_ID, name)
    faults.add(_is_null(column), lambda _: "id: null, expected an id")
    return Texts(column.cast(value_type(column.type)).cast(pa.string()).fill_null(""))


def read_others(batch: pa.RecordBatch, kept: Sequence[str], name: str) -> pa.Table:
    """Select the kept columns, dictionaries expanded.

    Raises:
        InputTooLarge: a text is longer than 64 KiB.
    """
    columns = [batch[column] for column in kept]
    for column, values in zip(kept, columns, strict=True):
        if pa.types.is_dictionary(values.type) and is_text(values.type):
            _refuse_long(values, f"column {column}: a text", LONGEST_TEXT, name)
    return pa.table([values.cast(value_type(values.type)) for values in columns], list(kept))


# --- pixels ---


def rows_at_once(image: ImageSpec) -> int:
    """Rows per batch; fewer for large images."""
    return min(ROWS_AT_ONCE, BYTES_AT_ONCE // (8 * image.size))


def read_pixels(batch: pa.RecordBatch, faults: Faults, name: str, image: ImageSpec) -> Images:
    """Read a column `pixels` or one column per value -> uint8 (n, height, width[, 3]); arbitrary in rows with a fault.

    Raises:
        InputTooLarge: a cell is longer than 2,048 bytes and twice the size of an image.
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
    """The expected type of a column `pixels` if `kind` does not fit; "" if it does."""
    plain = value_type(kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)
    if depth := depth_of(plain):
        inner = plain
        for _ in range(depth):
            inner = inner.value_type
        fits = depth in (1, len(image.shape)) and is_number(inner)
        return "" if fits else f"lists of {image.size} {WHOLE_NUMBERS}"
    fits = plain in (pa.binary(image.size), pa.binary(), pa.large_binary(), pa.binary_view())
    size = image.size
    return "" if fits else f"fixed_size_binary[{size}], {size} bytes, or a list of {size} {WHOLE_NUMBERS}"


def depth_of(kind: pa.DataType) -> int:
    """Nesting depth of lists; 0 for other types."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    is_list = is_list or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    return 1 + depth_of(kind.value_type) if is_list else 0


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type may be whole numbers."""
    plain = value_type(kind)
    return bool(pa.types.is_integer(plain) or pa.types.is_floating(plain) or pa.types.is_decimal(plain))


def _read_bytes(column: pa.Array, faults: Faults, image: ImageSpec) -> Images:
    """fixed_size_binary(values per image) -> uint8 (n, height, width[, 3])"""
    size = image.size
    faults.add(_is_null(column), lambda _: f"pixels: null, expected {size} bytes")
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * size :]
    return flat[: len(column) * size].reshape(-1, *image.shape)


def _read_any_bytes(column: pa.Array, faults: Faults, name: str, image: ImageSpec) -> Images:
    """Bytes of any length, dictionary-encoded or not -> uint8 (n, height, width[, 3])"""
    import pyarrow.compute as pc

    size = image.size
    if pa.types.is_dictionary(column.type):
        _refuse_long(column, f"pixels: expected {size} bytes, found a cell", max(LONGEST_PIXELS, 2 * size), name)
        column = column.cast(column.type.value_type)
    column = column.cast(pa.large_binary())
    faults.add(_is_null(column), lambda _: f"pixels: null, expected {size} bytes")
    lengths: NDArray[np.int64] = pc.binary_length(column).fill_null(0).to_numpy()
    valid = lengths == size
    faults.add(~valid, lambda row: f"pixels: found {lengths[row]:,} bytes, expected {size}")
    images = np.zeros((len(column), *image.shape), np.uint8)
    content = b"".join(column.filter(pa.array(valid)).to_pylist())
    images[valid] = np.frombuffer(content, np.uint8).reshape(-1, *image.shape)
    return images


def _read_lists(column: pa.Array, faults: Faults, image: ImageSpec) -> Images:
    """Flat or nested lists of values -> uint8 (n, height, width[, 3])"""
    shape = (image.size,) if depth_of(column.type) == 1 else image.shape
    faults.add(_is_null(column), lambda _: f"pixels: null, expected {image.size} values")
    valid = ~_is_null(column)
    values = column
    for level, length in enumerate(shape):
        lengths = _lengths(values).reshape(int(valid.sum()) if level else len(column), -1)
        fits = (lengths == length).all(axis=1)
        misfit, wrong = np.zeros(len(column), bool), np.zeros(len(column), np.int64)
        here = np.flatnonzero(valid) if level else np.arange(len(column))
        misfit[here] = ~fits
        wrong[here] = np.where(lengths == length, 0, lengths).max(axis=1, initial=0)
        faults.add(
            misfit,
            lambda row, wrong=wrong, length=length: f"pixels: found {wrong[row]:,} values, expected {length}",  # type: ignore[misc]
        )
        values = values.filter(pa.array(np.repeat(fits, lengths.shape[1]))).flatten()
        valid[here] &= fits
    images = np.zeros((len(column), *image.shape), np.uint8)
    images[valid] = _read_values(values, np.flatnonzero(valid), faults, image)
    return images


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    found: NDArray[np.int64] = pc.list_value_length(lists).cast(pa.int64()).fill_null(-1).to_numpy()
    return found


def _read_values(values: pa.Array, rows: NDArray[np.intp], faults: Faults, image: ImageSpec) -> Images:
    """Concatenated values of some rows -> uint8 (len(rows), height, width[, 3])"""
    values = _plain_numbers(values)
    missing = _is_null(values).reshape(-1, image.size)
    numbers: NDArray[Any] = values.fill_null(0).to_numpy() if values.null_count else values.to_numpy()
    numbers = numbers.reshape(-1, image.size)
    wrong = missing | ~is_pixels(numbers) if numbers.dtype != np.uint8 else missing
    bad, at = np.zeros(len(faults.found), bool), dict[int, int]()
    for index in np.flatnonzero(wrong.any(axis=1)).tolist():
        bad[rows[index]], at[int(rows[index])] = True, index

    def reason_of(row: int) -> str:
        first = int(wrong[at[row]].argmax())
        return f"pixels[{first}]: {_describe(None if missing[at[row], first] else numbers[at[row], first], 255)}"

    faults.add(bad, reason_of)
    clean = np.where(wrong, 0, numbers) if at else numbers
    return clean.astype(np.uint8).reshape(-1, *image.shape)


def _read_pixel_columns(batch: pa.RecordBatch, faults: Faults, image: ImageSpec) -> Images:
    """One column of whole numbers per value -> uint8 (n, height, width[, 3])"""
    pixels = np.empty((image.size, len(batch)), np.uint8)
    for row, column in zip(pixels, pixel_columns(image), strict=True):
        row[:] = read_numbers(batch[column], column, 255, faults)
    return np.ascontiguousarray(pixels.T).reshape(-1, *image.shape)


def _describe(value: Any, largest: int) -> str:
    if value is None:
        return f"null, expected a whole number from 0 to {largest}"
    advice = ". Multiply pixels from 0 to 1 by 255" if largest == 255 and 0 < value < 1 else ""
    return f"{value} is not a whole number from 0 to {largest}{advice}"


# --- types ---


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, dictionary-encoded or not."""
    return value_type(kind) in (pa.string(), pa.large_string(), pa.string_view())


def is_label(kind: pa.DataType) -> bool:
    """Whether a type may contain labels."""
    return is_text(kind) or is_number(kind) or pa.types.is_null(kind)


def value_type(kind: pa.DataType) -> pa.DataType:
    """The value type of a dictionary; any other type itself."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def leaves(kind: pa.DataType) -> int:
    """The number of Parquet columns of a type: one per leaf field of a struct."""
    return sum(leaves(kind.field(index).type) for index in range(kind.num_fields)) if kind.num_fields else 1


def _plain_numbers(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _refuse_long(values: pa.DictionaryArray, what: str, longest: int, name: str) -> None:
    import pyarrow.compute as pc

    lengths = pc.binary_length(values.dictionary)
    if (pc.max(lengths).as_py() or 0) > longest:
        raise InputTooLarge(name, f"{what} longer than {longest:,} bytes")
    if (pc.sum(lengths.take(values.indices)).as_py() or 0) > MAX_TEXT:
        raise InputTooLarge(name, f"{what} longer than {MAX_TEXT // 4096:,} bytes on average")


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), bool)
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls
