"""Registry of table formats. Each format has one reader function: bytes -> blocks of images and rejects.

Scoring, ingestion, label import and the HTTP API look formats up here, by file suffix, media type or first bytes. To
add a format, write a module with its reader and add a line to `FORMATS`.
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
    """A table format with one image per row, with or without labels."""

    kind: Kind
    read: Callable[[BinaryIO, str, Wanted], Iterator[Block]]  # (seekable stream, file name for errors, what to read)
    suffixes: tuple[str, ...]  # lower case
    media_types: tuple[str, ...]
    signature: bytes = b""  # first bytes of such a file, if `kinds` does not list them
    word: str = "row"  # unit of a reject's number


CSV = Format(kinds.CSV, read_pixel_csv, (".csv",), ("text/csv",), word="line")
PARQUET = Format(
    kinds.PARQUET, read_parquet, (".parquet",), ("application/vnd.apache.parquet", "application/x-parquet")
)
FORMATS = [PARQUET, CSV]  # the first match wins


def format_of(name: str) -> Format | None:
    """Find a format by file suffix."""
    return next((entry for entry in FORMATS if name.lower().endswith(entry.suffixes)), None)


def format_called(media_type: str) -> Format | None:
    """Find a format by media type, in lower case without parameters."""
    return next((entry for entry in FORMATS if media_type in entry.media_types), None)


def format_like(kind: Kind) -> Format | None:
    """Find a format by the kind detected from the first bytes."""
    return next((entry for entry in FORMATS if entry.kind == kind), None)


def kind_of(head: bytes) -> Kind:
    """Detect the kind of a file from its first `kinds.HEAD` bytes, decompressed."""
    known = (entry.kind for entry in FORMATS if entry.signature and head.startswith(entry.signature))
    return next(known, None) or kinds.kind_of(head)


def suffixes() -> tuple[str, ...]:
    """The file suffixes of all formats, in the order of `FORMATS`."""
    return tuple(suffix for entry in FORMATS for suffix in entry.suffixes)


def media_types() -> tuple[str, ...]:
    """The media types of all formats, CSV first."""
    return tuple(kind for entry in sorted(FORMATS, key=lambda entry: entry is not CSV) for kind in entry.media_types)
