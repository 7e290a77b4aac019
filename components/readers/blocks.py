"""The request to a reader (`Wanted`) and its output: blocks of images and rejects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import DataContract, Images, Labels


@dataclass(frozen=True)
class Wanted:
    """What to read from a table or from picture files."""

    contract: DataContract  # of the images and labels
    kept: Sequence[str] = ()  # required columns, passed through to the output
    dropped: Sequence[str] = ()  # optional columns, ignored
    strict: bool = True  # a row with an unreadable label is a reject; if False, the row has no label


@dataclass(frozen=True)
class RowReject:
    """A row that could not be read as an image."""

    line: int  # line or row number in the input; a CSV header is line 1
    reason: str
    row: bytes  # the original bytes, without the line end
    id: str = ""  # as in `Block.ids`; "" if the id cannot be read either


@dataclass(frozen=True)
class Block:
    """Consecutive parsed rows of a file."""

    lines: NDArray[np.int64]  # (n,) line or row number of each image
    ids: Sequence[str]  # (n,) the id column, or row numbers from 1 if the file has none
    images: Images  # (n,); with `views`, (sum of views,)
    labels: Labels | None  # uint16 (n,); `UNLABELLED` if unreadable; None if the file has no labels
    rejects: tuple[RowReject, ...]
    extra: pa.Table | None = None  # n rows of the kept columns; None if no columns are kept
    views: NDArray[np.intp] | None = None  # (n,) images per row, stored consecutively; None: one each
    unread: Mapping[str, int] = field(default_factory=dict)  # unreadable label -> count

    @property
    def shown(self) -> Images:
        """The first image of each row, (n,)."""
        return self.images if self.views is None else self.images[self.views.cumsum() - self.views]
