"""The formats of tables that are read, each by one function: bytes -> blocks of images and rejects.

This is the only registry of them. What is scored, ingested, imported as labels or sent over HTTP is looked up here, by
the end of its name, its media type or its first bytes. To add a format takes a module with its reader, and a line in
`FORMATS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from components.readers.blocks import Block, Wanted
from components.readers.tables import kinds
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.embedded import read_parquet
from components.readers.tables.kinds import Kind


@dataclass(frozen=True)
class Format:
    """A format of tables whose rows are images, with labels or without."""

    kind: Kind
    read: Callable[[BinaryIO, str, Wanted], Iterator[Block]]  # of a seekable file, its name for errors, what is wanted
    suffixes: tuple[str, ...]  # of a file's name, in lower case
    media_types: tuple[str, ...]
    signature: bytes = b""  # how such a file begins, where `kinds` does not know it
    word: str = "row"  # what the number of a reject counts


CSV = Format(kinds.CSV, read_pixel_csv, (".csv",), ("text/csv",), word="line")
PARQUET = Format(
    kinds.PARQUET, read_parquet, (".parquet",), ("application/vnd.apache.parquet", "application/x-parquet")
)
FORMATS = [PARQUET, CSV]  # of two that fit, the first is read


def format_of(name: str) -> Format | None:
    """By the end of a file's name."""
    return next((one for one in FORMATS if name.lower().endswith(one.suffixes)), None)


def format_called(media_type: str) -> Format | None:
    """By a media type, in lower case and without parameters."""
    return next((one for one in FORMATS if media_type in one.media_types), None)


def format_like(kind: Kind) -> Format | None:
    """By what its first bytes say."""
    return next((one for one in FORMATS if one.kind == kind), None)


def kind_of(head: bytes) -> Kind:
    """What a file is, by its first `kinds.HEAD` bytes, unpacked."""
    known = (one.kind for one in FORMATS if one.signature and head.startswith(one.signature))
    return next(known, None) or kinds.kind_of(head)


def suffixes() -> tuple[str, ...]:
    """Those of all formats, in the order of `FORMATS`."""
    return tuple(suffix for one in FORMATS for suffix in one.suffixes)


def media_types() -> tuple[str, ...]:
    """Those of all formats, CSV's first."""
    return tuple(kind for one in sorted(FORMATS, key=lambda one: one is not CSV) for kind in one.media_types)
