"""An input in parts: each is read, scored and written on its own, by whichever worker, and again after a crash."""

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

PART = 32 << 20  # bytes of an input, unpacked: some 14,000 rows of CSV
CUT = 3  # changes with how inputs are cut: parts of a job that was begun by another version may be other rows
PARTS, SMALLEST = 16, 1 << 20  # that a smaller input is cut into, so that workers end together; bytes of such a part
OPENING = 32 << 10  # bytes that a file counts more than it has: a part is never thousands of small ones
T = TypeVar("T")


@dataclass(frozen=True)
class TableReading:
    """How an input is read, as a person says it."""

    part: int = PART  # bytes, unpacked, at most
    delimiter: str = ","  # of CSV: one character
    kept: tuple[str, ...] = ()  # columns that go to the output as they are, in this order
    dropped: tuple[str, ...] = ()  # columns that may be there, and go nowhere
    root: str = ""  # the folder that paths in a CSV are relative to; "": that of the CSV

    def __post_init__(self) -> None:
        """Refuse what nothing can be read by.

        Raises:
            SettingsError: a delimiter that could be part of a cell, or a column that is kept twice or dropped, too.
        """
        mark = self.delimiter
        if (
            len(mark) != 1
            or not mark.isascii()
            or mark.isalnum()
            or mark in "\"'"
            or not (mark == "\t" or mark.isprintable())
        ):
            told = "one ASCII character that is no letter, digit, quote or line end, or the word tab"
            raise SettingsError(f"delimiter: found {mark[:20]!r}, expected {told}")
        named = [*self.kept, *self.dropped]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise SettingsError(f"column {twice[0][:40]!r} is named more than once to be kept or dropped")

    def part_of(self, size: int) -> int:
        """Bytes of a part where the whole input has that many."""
        return min(self.part, max(size // PARTS, SMALLEST))

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "TableReading":
        """What `dataclasses.asdict` and JSON made of one."""
        lists: dict[str, Any] = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(**{**told, **lists})


@dataclass(frozen=True)
class InputPart:
    """Consecutive rows of an input."""

    number: int  # of the part, from 0
    file: str  # path of the file that holds it
    first: int  # number of its first row in that input, from 1
    start: int  # first byte of lines, or first row group
    stop: int  # the one after the last
    lines: bytes | None = field(default=None, repr=False)  # its lines, where the file cannot be read from the middle
    pictures: tuple[Picture, ...] = field(default=(), repr=False)  # likewise, of an archive
    skip: int = 0  # rows of its row group that earlier parts have
    count: int | None = None  # rows, of a part of a row group; None: all of its row groups


class Input(ABC):
    """What is scored: one file, where nothing else is said."""

    extra: pa.Schema
    """The columns that come along, as `Block.extra` has them."""

    left_out: LeftOut = LeftOut()
    """Files that stand beside those that are read."""

    notes: tuple[str, ...] = ()
    """What was assumed about how it is read, for a person to know."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        """Of a file or a folder: how a person says that it is read, and what its images and labels are."""
        self.path, self.reading, self.contract = path, reading, contract
        self.wanted = Wanted(contract, reading.kept, reading.dropped, strict=False)

    @abstractmethod
    def parts(self) -> Iterator[InputPart]:
        """All of it, in order; the same parts each time."""

    @abstractmethod
    def read(self, part: InputPart) -> Iterator[Block]:
        """The rows of a part, in order."""

    def share(self, part: InputPart) -> float | None:
        """How much of the input is behind the end of a part, 0 to 1; None where nobody knows."""
        return None

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of what was read, once `parts` came to its end."""

    def files(self) -> Iterator[Path]:
        """What it is read from."""
        yield self.path

    def fingerprint(self) -> str:
        """What differs once the input was changed, as SHA-256: names, sizes and times of its files as they are now.

        Of the files of a folder as they were when it was opened; one that changed since is a reject.
        """
        told = [f"{path}\t{state_of(path)}" for path in self.files()]
        return hashlib.sha256(os.fsencode("\n".join(told))).hexdigest()  # a name need not be UTF-8


def gather(sized: Iterable[tuple[T, int]], part: int) -> Iterator[list[T]]:
    """Consecutive files, each with its bytes, that together make up a part of so many bytes."""
    kept, total = list[T](), 0
    for one, size in sized:
        kept.append(one)
        total += OPENING + size
        if total >= part:
            yield kept
            kept, total = [], 0
    if kept:
        yield kept


def join_digests(digests: list[str]) -> str:
    """Of one file its own; of several that of theirs, a line each."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
