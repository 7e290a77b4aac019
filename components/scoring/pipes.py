"""Standard input and output as temporary files, so that pipes, too, transfer all or nothing."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SUFFIXES = {b"\x1f\x8b": ".csv.gz", b"\x28\xb5\x2f\xfd": ".csv.zst", b"PAR1": ".parquet"}  # by magic number
CHUNK = 1 << 20


@contextlib.contextmanager
def spooled_input(stream: BinaryIO) -> Iterator[Path]:
    """Copy a stream to a temporary file with the suffix of its content: CSV, CSV in gzip or zstd, or Parquet.

    A pipe is not seekable, but Parquet is read from its end and a job reads its input more than once.
    """
    head = stream.read(4)
    suffix = next((suffix for magic, suffix in SUFFIXES.items() if head.startswith(magic)), ".csv")
    with tempfile.TemporaryDirectory(prefix="fashion-score-") as folder:
        path = Path(folder) / f"stdin{suffix}"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file, CHUNK)
        yield path


@contextlib.contextmanager
def buffered_output(stream: BinaryIO, suffix: str) -> Iterator[Path]:
    """Yield a temporary file to write. Its content is copied to the stream only if the block succeeds."""
    with tempfile.TemporaryDirectory(prefix="fashion-score-") as folder:
        path = Path(folder) / f"stdout{suffix}"
        yield path
        with path.open("rb") as file:
            shutil.copyfileobj(file, stream, CHUNK)
        stream.flush()
