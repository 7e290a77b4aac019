"""Standard input and output as files: what comes and goes through a pipe is whole, too."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

KINDS = {b"\x1f\x8b": ".csv.gz", b"\x28\xb5\x2f\xfd": ".csv.zst", b"PAR1": ".parquet"}  # by the first bytes
CHUNK = 1 << 20


@contextlib.contextmanager
def spooled(stream: BinaryIO) -> Iterator[Path]:
    """All that comes, as a temporary file whose name says what it is: CSV, CSV in gzip or zstd, or Parquet.

    A Parquet file is read from its end, and a job counts and checks its input before the last part: a pipe can do
    neither.
    """
    head = stream.read(4)
    kind = next((kind for magic, kind in KINDS.items() if head.startswith(magic)), ".csv")
    with tempfile.TemporaryDirectory(prefix="fashion-score-") as folder:
        path = Path(folder) / f"stdin{kind}"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file, CHUNK)
        yield path


@contextlib.contextmanager
def poured(stream: BinaryIO, suffix: str) -> Iterator[Path]:
    """A temporary file to write; when the block ends well, all of it goes to the stream, and else nothing."""
    with tempfile.TemporaryDirectory(prefix="fashion-score-") as folder:
        path = Path(folder) / f"stdout{suffix}"
        yield path
        with path.open("rb") as file:
            shutil.copyfileobj(file, stream, CHUNK)
        stream.flush()
