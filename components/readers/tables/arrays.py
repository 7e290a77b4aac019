"""Read arrays and JSON lines as Arrow batches.

Nothing is unpickled, and only one batch is in memory at a time.
"""

import io
import math
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import ImageSpec
from components.errors import InputError
from components.readers.tables.encodings import ChainedReader, Reader, read_first
from components.readers.tables.kinds import HEAD, IDX, LINES, NPY, kind_of
from components.readers.tables.parquet_columns import rows_at_once

BLOCK = 4 << 20  # bytes of JSON lines per read
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # IDX type code -> NumPy type


def is_array(head: bytes) -> bool:
    """Whether `read_arrays` supports a file with these first bytes."""
    return kind_of(head) in (NPY, IDX, LINES)


def read_arrays(stream: BinaryIO, name: str, image: ImageSpec) -> Iterator[pa.RecordBatch]:
    """Read a NumPy array, an IDX file or JSON lines in batches of some thousand rows.

    Raises:
        InputError: an unexpected shape or type, or a damaged file.
    """
    head = read_first(stream, HEAD)
    stream, kind = cast(BinaryIO, ChainedReader(head, stream)), kind_of(head)
    if kind == LINES:
        yield from _read_json(stream, name)
        return
    shape, dtype = (_read_npy_header if kind == NPY else _read_idx_header)(stream, name)
    for values in _read_rows(stream, shape, dtype, name, image):
        yield to_batch(values)


def to_batch(values: NDArray[Any], **columns: NDArray[Any]) -> pa.RecordBatch:
    """Build a batch from images, (n, values per image) of any numeric type, and other columns."""
    if values.dtype == np.uint8:
        flat = pa.py_buffer(np.ascontiguousarray(values))
        pixels = pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [None, flat])
    else:
        pixels = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.record_batch([pixels, *map(pa.array, columns.values())], ["pixels", *columns])


def read_npy(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], NDArray[Any]]:
    """Read a small array, such as labels, into memory: its shape and values."""
    shape, dtype = _read_npy_header(stream, name)
    return shape, np.frombuffer(read_first(stream, math.prod(shape) * dtype.itemsize), dtype)


def read_npy_rows(stream: BinaryIO, name: str, image: ImageSpec) -> Iterator[NDArray[Any]]:
    """Yield images, (n, values per image), some thousand at a time. Raises as `read_arrays`."""
    shape, dtype = _read_npy_header(stream, name)
    yield from _read_rows(stream, shape, dtype, name, image)


def holds_images(shape: tuple[int, ...], image: ImageSpec) -> bool:
    """Whether an array of that shape contains one image per row, or is one image."""
    plain = tuple(size for size in shape if size != 1)
    return any(plain[-len(one) :] == one and len(plain) <= len(one) + 1 for one in (image.shape, (image.size,)))


def describe_arrays(image: ImageSpec) -> str:
    """The supported shapes of an image array."""
    return f"(n, {', '.join(map(str, image.shape))}) or (n, {image.size})"


def read_npy_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the shape and type of an array. Raises as `read_arrays`."""
    return _read_npy_header(stream, name)


def _read_npy_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    exact = cast(BinaryIO, ExactReader(stream))
    try:
        version = np.lib.format.read_magic(exact)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(exact)
    except (ValueError, EOFError) as error:
        raise InputError(name, f"cannot read the header of the NumPy array: {str(error)[:100]}") from error
    if dtype.hasobject:
        raise InputError(name, "found an array of Python objects (a pickle), which is never read. Save it as numbers")
    if by_columns and len(shape) > 1:
        raise InputError(name, "found an array in Fortran order, expected C order. Save np.ascontiguousarray(array)")
    return shape, dtype


def _read_idx_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    kind, dimensions = read_first(stream, 4)[2:]
    return struct.unpack(f">{dimensions}I", read_first(stream, 4 * dimensions)), np.dtype(TYPES[kind])


def _read_rows(
    stream: BinaryIO, shape: tuple[int, ...], dtype: "np.dtype[Any]", name: str, image: ImageSpec
) -> Iterator[NDArray[Any]]:
    if not holds_images(shape, image) or dtype.kind not in "uif":
        raise InputError(
            name, f"found a {dtype.name} array {shape}, expected numbers of shape {describe_arrays(image)}"
        )
    left, size = math.prod(shape), image.size * dtype.itemsize
    while left:
        content = read_first(stream, min(rows_at_once(image) * size, left * dtype.itemsize))
        if not content or len(content) % size:
            raise InputError(name, f"damaged or truncated file: the array {shape} ends early")
        values = np.frombuffer(content, dtype).reshape(-1, image.size)
        left -= values.size
        yield values.astype(dtype.newbyteorder("="), copy=False)
    if stream.read(1):
        raise InputError(name, f"damaged file: it has more bytes than the array {shape}")


def _read_json(stream: BinaryIO, name: str) -> Iterator[pa.RecordBatch]:
    import pyarrow.json as pj

    try:
        reader = pj.open_json(io.BufferedReader(cast(io.RawIOBase, stream)), pj.ReadOptions(False, BLOCK))
        yield from reader
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).partition("\n")[0][:160]
        raise InputError(
            name, f"cannot read the JSON lines: {reason}. Write one object per line, all with the same fields"
        ) from error


class ExactReader(Reader):
    """A stream whose `read` returns exactly the requested bytes, as NumPy expects."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes; fewer only at the end."""
        return read_first(self.stream, size)
