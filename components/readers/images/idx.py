"""IDX files, gzipped or not: the format of the MNIST family.

A big-endian header: two zero bytes, 0x08 for unsigned bytes, the number of dimensions, then each dimension as
uint32; then the bytes. Source: http://yann.lecun.com/exdb/mnist/ , "the IDX file format".
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.errors import SourceError

RGB = b"\0\0\x08\x04"  # how a file of such images begins: four dimensions
LARGEST = 1 << 30  # bytes unpacked: twenty times the training images; a bomb stops here


def read_idx(path: Path, item_shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Read one archive.

    Args:
        path: gzip where its name ends in .gz, else plain IDX.
        item_shape: (height, width) for images, () for labels; None: any of images.

    Returns:
        uint8 (n, *item_shape), read-only.

    Raises:
        SourceError: not gzip, truncated, a foreign header, or more or fewer bytes than the header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: not a whole gzip file ({error}); copy or download it again") from error
    if len(content) > LARGEST:
        raise SourceError(f"{path}: holds more than {LARGEST:,} bytes")
    dimensions = _read_header(path, content, item_shape)
    body = content[4 + 4 * len(dimensions) :]
    if len(body) != math.prod(dimensions):
        raise SourceError(f"{path}: found {len(body):,} bytes of data, its header says {math.prod(dimensions):,}")
    return np.frombuffer(body, np.uint8).reshape(dimensions)


def _read_header(path: Path, content: bytes, item_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if item_shape is None:
        sides = 3 if content[:4] == RGB else 2
        item_shape = struct.unpack(f">{sides}I", content[8 : 8 + 4 * sides].ljust(4 * sides, b"\0"))
    expected = bytes((0, 0, 8, 1 + len(item_shape)))
    if content[:4] != expected:
        raise SourceError(f"{path}: magic number is {content[:4].hex()}, expected {expected.hex()}")
    header = content[4 : 4 + 4 * (1 + len(item_shape))]
    if len(header) != 4 * (1 + len(item_shape)):
        raise SourceError(f"{path}: ends inside its header")
    dimensions = struct.unpack(f">{1 + len(item_shape)}I", header)
    if dimensions[1:] != item_shape:
        raise SourceError(f"{path}: items have the shape {dimensions[1:]}, expected {item_shape}")
    return dimensions


def encode_idx(values: NDArray[np.uint8]) -> bytes:
    """A gzipped IDX file of `values`, uint8 of any shape; the same bytes for the same values."""
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as file:
        file.write(header + values.tobytes())
    return packed.getvalue()
