"""Decode the rows of a source into images of a contract; collect the rows that cannot be read."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from components.contract import DataContract, Images, Labels
from components.dataset.own.rows import Rejected, SourceRow, SourceRows, digest_of, label_in
from components.dataset.threads import map_threads
from components.errors import InputError, SourceError
from components.readers.folders.below import Root
from components.readers.images.photos import read_photo

EVERY = 10  # seconds between progress lines
MAX_REJECTED = 0.5  # share of the rows; more, and the source is probably not what it seems
T = TypeVar("T")


@dataclass(frozen=True)
class Decoded:
    """The n decoded rows, and the rejected ones."""

    rows: tuple[SourceRow, ...]
    digests: tuple[str, ...]  # (n,) SHA-256 of each file, or of the image's pixels
    images: Images  # (n,)
    labels: Labels  # uint16 (n,)
    rejected: tuple[Rejected, ...]


def digest_rows(source: SourceRows) -> dict[str, str]:
    """Hash each row's content: name -> SHA-256, or "" if it cannot be read."""
    root = Root(source.root)

    def digest(row: SourceRow) -> str:
        try:
            return digest_of(row.content(root))
        except InputError:
            return ""

    return {row.name: digest for row, digest in zip(source.rows, map_threads(digest, source.rows), strict=True)}


def decode_rows(source: SourceRows, contract: DataContract, echo: Callable[[str], None]) -> Decoded:
    """Decode every row. Photos go through the contract's preparation, as in the service; arrays are used as they are.

    Raises:
        SourceError: more than half of the rows cannot be read.
    """
    root, dtype = Root(source.root), contract.dtype
    echo(f"reading {len(source.rows):,} pictures from {source.name}")

    def read(row: SourceRow) -> tuple[str, Images, int] | Rejected:
        try:
            label, content = label_in(contract, row), row.content(root)
            image = read_photo(content, contract, row.name)[0] if isinstance(content, bytes) else content
            if image.shape != dtype.shape:
                raise InputError(row.name, f"found an image of {image.shape}, expected {dtype.shape}")
        except InputError as error:
            return Rejected(row.name, error.reason, row.label)
        return digest_of(content), image, label

    found = list(zip(source.rows, map_threads(read, source.rows, _Lines(echo)), strict=True))
    rejected = [one for _, one in found if isinstance(one, Rejected)]
    taken = [(row, one) for row, one in found if not isinstance(one, Rejected)]
    if len(rejected) > MAX_REJECTED * len(found):
        example = f"{rejected[0].name}: {rejected[0].reason}"
        raise SourceError(f"{source.name}: {len(rejected):,} of {len(found):,} rows cannot be read, e.g. {example}")
    images = np.empty(len(taken), dtype)
    for number, (_, (_, image, _)) in enumerate(taken):
        images[number] = image
    return Decoded(
        tuple(row for row, _ in taken),
        tuple(digest for _, (digest, _, _) in taken),
        images,
        np.array([label for _, (_, _, label) in taken], np.uint16),
        tuple(rejected),
    )


class _Lines:
    """Progress as lines of text, every ten seconds."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.echo, self.shown = echo, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.shown > EVERY:
            self.shown = time.monotonic()
            self.echo(f"  {done:,} of {total:,}")
