"""Decode picture files into blocks, with the same function as the endpoint."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain, islice
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from components.contract import DataContract
from components.errors import InputError
from components.readers.blocks import Block, RowReject
from components.readers.images.photos import is_small, read_views
from components.readers.tables.layout import texts_of
from components.readers.tables.numbers import read_labels

LARGEST = 128 << 20  # bytes of a file; 25 million uncompressed pixels in four channels take 100 MB
BLOCK = 512  # pictures per block
# One thread decodes small pictures twice as fast as two, which would wait for each other at each file.
SMALL_PICTURES = Lock()


class Picture(NamedTuple):
    """A picture before it is decoded. A NamedTuple, because creating a dataclass takes three times as long."""

    line: int  # row number in the input
    id: str
    row: bytes  # stored with a reject
    content: bytes | InputError  # the file, or the error from reading it
    label: int | str | None = None  # text is parsed like a table cell
    extra: tuple[str, ...] = ()  # the kept cells


def to_blocks(
    pictures: Iterable[Picture], contract: DataContract, labelled: bool, kept: Sequence[str] = ()
) -> Iterator[Block]:
    """Decode pictures in blocks of at most 512.

    Args:
        pictures: read lazily.
        contract: of the images and labels.
        labelled: whether the pictures have labels.
        kept: the columns of `Picture.extra`.

    Yields:
        Blocks in order. Every picture is in exactly one, as a row or as a reject.
    """
    waiting = iter(pictures)
    for first in waiting:
        small = not isinstance(first.content, InputError) and is_small(first.content, contract)
        with SMALL_PICTURES if small else nullcontext():
            block = _to_block(chain([first], islice(waiting, BLOCK - 1)), contract, labelled, kept)
        yield block


def _to_block(pictures: Iterable[Picture], contract: DataContract, labelled: bool, kept: Sequence[str]) -> Block:
    lines, ids, labels, rejects = list[int](), list[str](), list[str](), list[RowReject]()
    extras = list[tuple[str, ...]]()
    images = [np.empty(0, contract.dtype)]
    for line, row_id, row, content, label, extra in pictures:
        try:
            if isinstance(content, InputError):
                raise content
            images.append(read_views(content, contract))
        except InputError as error:
            rejects.append(RowReject(line, error.reason, row, row_id))
            continue
        lines.append(line)
        ids.append(row_id)
        labels.append(contract.classes[label] if isinstance(label, int) else label or "")
        extras.append(extra)
    numbers, unread = read_labels(pa.array(labels, pa.string()), contract) if labelled else (None, {})
    return Block(
        np.array(lines, np.int64),
        ids,
        np.concatenate(images),
        numbers,
        tuple(rejects),
        pa.table([[cells[index] for cells in extras] for index in range(len(kept))], texts_of(kept)) if kept else None,
        views=np.array([len(views) for views in images[1:]], np.intp),
        unread=unread,
    )
