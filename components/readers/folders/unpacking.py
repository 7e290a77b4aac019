"""Decompress files. The first bytes decide the format, not the name, and the output size is bounded."""

import bz2
import contextlib
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from components.errors import InputError, InputTooLarge
from components.readers.folders.names import is_hidden, is_picture
from components.readers.tables.encodings import Reader

SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
ALWAYS_ALLOWED = 16 << 20  # bytes that any file may decompress to
MAX_RATIO = 200  # decompressed to compressed size beyond that; Fashion-MNIST tables have 2 to 11, black images 400+


def compression_of(path: Path) -> str:
    """The compression of a file; "" if none. A zip with one table counts as compression."""
    with path.open("rb") as stream:
        head = stream.read(6)
        compression = next((compression for magic, compression in SIGNATURES.items() if head.startswith(magic)), "")
        return "zip" if not compression and head.startswith(b"PK\3\4") and _member_of(stream) else compression


def _member_of(file: BinaryIO) -> zipfile.ZipInfo | None:
    """The only file in a zip archive, if it is a table."""
    try:
        files = [member for member in zipfile.ZipFile(file).infolist() if not member.is_dir()]
        members = [member for member in files if not _is_litter(member.filename)]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return None
    name = members[0].filename if len(members) == 1 else ""
    return members[0] if name and not is_picture(name) and not name.endswith(".npy") else None


def _is_litter(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))


def _open_member(file: BinaryIO) -> BinaryIO:
    member = _member_of(file)
    return cast(BinaryIO, zipfile.ZipFile(file).open(member.filename if member else ""))


STANDARD: dict[str, Callable[[BinaryIO], Any]] = {"bz2": bz2.BZ2File, "xz": lzma.LZMAFile, "zip": _open_member}


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file, decompressed if necessary.

    Raises:
        InputTooLarge: from `read`, if it decompresses to over 200 times its size and over 16 MiB.
    """
    compression, file = compression_of(path), path.open("rb")
    if not compression:
        return file
    with as_input_error(path.name):
        opened = (
            STANDARD[compression](file) if compression in STANDARD else pa.input_stream(file, compression=compression)
        )
    return cast(BinaryIO, BoundedReader(file, cast(BinaryIO, opened), path.name))


class BoundedReader(Reader):
    """The decompressed bytes of a file, bounded in proportion to its size."""

    def __init__(self, file: BinaryIO, decompressed: BinaryIO, name: str) -> None:
        self.file, self.decompressed, self.name, self.size = file, decompressed, name, 0

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; b"" at the end."""
        content = self.decompressed.read(size)
        self.size += len(content)
        if self.size > ALWAYS_ALLOWED + MAX_RATIO * self.file.tell():
            raise InputTooLarge(self.name, f"decompresses to more than {MAX_RATIO} times its size. Decompress it first")
        return content

    def close(self) -> None:
        """Close the file."""
        self.decompressed.close()
        self.file.close()
        super().close()


@contextlib.contextmanager
def as_input_error(name: str) -> Iterator[None]:
    """Convert decompression errors to `InputError`; disk errors pass through."""
    try:
        yield
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(name, f"damaged or truncated file: {str(error)[:160]}") from error
