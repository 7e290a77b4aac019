"""Inputs and their parts. Any worker can read, score and write a part on its own, and again after a crash."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from components.contract import DataContract
from components.errors import SettingsError
from components.readers.blocks import Block, Wanted
from components.readers.folders.names import LeftOut
from components.readers.images.blocks import Picture
from components.storage import state_of

PART = 32 << 20  # bytes of a part, decompressed: some 14,000 rows of CSV
CUT = 4  # version of the parts; a job started with another version may have parts with other rows or columns
PARTS, SMALLEST = 16, 1 << 20  # parts of a smaller input, so that workers finish together; minimum bytes of a part
FILE_OVERHEAD = 32 << 10  # bytes added to the size of each file, so that a part never has thousands of small ones
T = TypeVar("T")


@dataclass(frozen=True)
class TableReading:
    """Read options, as the user gives them."""

    part: int = PART  # maximum bytes of a part, decompressed
    delimiter: str = ","  # of CSV: one character
    kept: tuple[str, ...] = ()  # columns passed through to the output, in this order
    dropped: tuple[str, ...] = ()  # optional columns, ignored
    root: str = ""  # folder that the paths in a CSV are relative to; "": the folder of the CSV

    def __post_init__(self) -> None:
        """Validate the options.

        Raises:
            SettingsError: a delimiter that could be part of a cell, or a column given more than once.
        """
        mark = self.delimiter
        if (
            len(mark) != 1
            or not mark.isascii()
            or mark.isalnum()
            or mark in "\"'"
            or not (mark == "\t" or mark.isprintable())
        ):
            expected = "one ASCII character other than a letter, digit, quote or line end, or the word tab"
            raise SettingsError(f"delimiter: found {mark[:20]!r}, expected {expected}")
        named = [*self.kept, *self.dropped]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise SettingsError(f"column {twice[0][:40]!r} is named more than once in keep or drop. Name it once")

    def part_of(self, size: int) -> int:
        """Bytes of a part of an input of `size` bytes."""
        return min(self.part, max(size // PARTS, SMALLEST))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TableReading":
        """Restore from `dataclasses.asdict` after a JSON round trip."""
        lists: dict[str, Any] = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class InputPart:
    """Consecutive rows of an input."""

    number: int  # from 0
    file: str  # path of the file that contains it
    first: int  # number of its first row in the input, from 1
    start: int  # byte offset of its first line, or its first row group
    stop: int  # end of the range, exclusive
    lines: bytes | None = field(default=None, repr=False)  # its lines, if the file has no random access
    pictures: tuple[Picture, ...] = field(default=(), repr=False)  # its pictures, if the archive has no random access
    skip: int = 0  # rows of its row group that belong to earlier parts
    count: int | None = None  # rows, if it is a slice of a row group; None: all rows of its row groups


class Input(ABC):
    """An input to score: by default, a single file."""

    extra: pa.Schema
    """The schema of the kept columns, as in `Block.extra`."""

    left_out: LeftOut = LeftOut()
    """Files in the same folder or archive that are not read."""

    notes: tuple[str, ...] = ()
    """Assumptions about how the input is read, to report to the user."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        """Open a file or folder with read options and the contract of its images and labels."""
        self.path, self.reading, self.contract = path, reading, contract
        self.wanted = Wanted(contract, reading.kept, reading.dropped, strict=False)

    @abstractmethod
    def parts(self) -> Iterator[InputPart]:
        """Yield all parts in order; the same parts each time."""

    @abstractmethod
    def read(self, part: InputPart) -> Iterator[Block]:
        """Yield the rows of a part in order."""

    def share(self, part: InputPart) -> float | None:
        """The fraction of the input up to the end of a part, 0 to 1; None if unknown."""
        return None

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of the input, once `parts` is exhausted."""

    def files(self) -> Iterator[Path]:
        """Yield the files of the input."""
        yield self.path

    def fingerprint(self) -> str:
        """SHA-256 of the names, sizes and times of the files, which changes when the input changes.

        For a folder, their state when it was opened; a file that has changed since is a reject.
        """
        states = [f"{path}\t{state_of(path)}" for path in self.files()]
        return hashlib.sha256(os.fsencode("\n".join(states))).hexdigest()  # a file name need not be UTF-8


def gather(sized: Iterable[tuple[T, int]], part: int) -> Iterator[list[T]]:
    """Group consecutive items, each with its size in bytes, into parts of about `part` bytes."""
    kept, total = list[T](), 0
    for item, size in sized:
        kept.append(item)
        total += FILE_OVERHEAD + size
        if total >= part:
            yield kept
            kept, total = [], 0
    if kept:
        yield kept


def join_digests(digests: list[str]) -> str:
    """The only digest, or the SHA-256 of all digests, one per line."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
