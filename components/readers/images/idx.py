"""Read and write IDX files, the format of the MNIST family, optionally gzipped.

Layout: a big-endian header (two zero bytes, 0x08 for unsigned bytes, the number of dimensions, each dimension as
uint32), then the data. Source: http://yann.lecun.com/exdb/mnist/ , "the IDX file format".
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

RGB = b"\0\0\x08\x04"  # first bytes of a file of RGB images: four dimensions
LARGEST = 1 << 30  # bytes, decompressed: twenty times the training images; stops decompression bombs


def read_idx(path: Path, item_shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Read an IDX file.

    Args:
        path: gzip if the name ends in .gz, else plain IDX.
        item_shape: (height, width[, 3]) for images, () for labels; None: images of any shape.

    Returns:
        uint8 (n, *item_shape), read-only.

    Raises:
        SourceError: the file is not gzip, is truncated, or its header does not match its data or `item_shape`.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: damaged or truncated gzip file ({error}). Copy or download it again") from error
    if len(content) > LARGEST:
        raise SourceError(f"{path}: found more than {LARGEST:,} bytes, expected fewer")
    dimensions = _read_header(path, content, item_shape)
    body = content[4 + 4 * len(dimensions) :]
    if len(body) != math.prod(dimensions):
        expected = f"{math.prod(dimensions):,} from the header"
        raise SourceError(f"{path}: found {len(body):,} bytes of data, expected {expected}")
    return np.frombuffer(body, np.uint8).reshape(dimensions)


def _read_header(path: Path, content: bytes, item_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if item_shape is None:
        sides = 3 if content[:4] == RGB else 2
        item_shape = struct.unpack(f">{sides}I", content[8 : 8 + 4 * sides].ljust(4 * sides, b"\0"))
    expected = bytes((0, 0, 8, 1 + len(item_shape)))
    if content[:4] != expected:
        raise SourceError(f"{path}: found magic number {content[:4].hex()}, expected {expected.hex()}")
    header = content[4 : 4 + 4 * (1 + len(item_shape))]
    if len(header) != 4 * (1 + len(item_shape)):
        raise SourceError(f"{path}: the file ends within its header")
    dimensions = struct.unpack(f">{1 + len(item_shape)}I", header)
    if dimensions[1:] != item_shape:
        raise SourceError(f"{path}: found items of shape {dimensions[1:]}, expected {item_shape}")
    return dimensions


def encode_idx(values: NDArray[np.uint8]) -> bytes:
    """Encode `values`, uint8 of any shape, as a gzipped IDX file; deterministic."""
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as file:
        file.write(header + values.tobytes())
    return packed.getvalue()
