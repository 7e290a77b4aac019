"""What is asked of a reader, and what comes of it: rows of a table or pictures of a folder, as images and rejects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import DataContract, Images, Labels


@dataclass(frozen=True)
class Wanted:
    """What is read of a table or of pictures."""

    contract: DataContract  # of its images and labels
    kept: Sequence[str] = ()  # columns that must be there, and come along
    dropped: Sequence[str] = ()  # columns that may be there, and are left out
    strict: bool = True  # whether a row whose label cannot be read is a reject; else it has no label


@dataclass(frozen=True)
class RowReject:
    """A line that could not be read as an image."""

    line: int  # in the file, the header being 1
    reason: str
    row: bytes  # as it stood, without its line end
    id: str = ""  # as `Block.ids` has it; "" where it cannot be read either


@dataclass(frozen=True)
class Block:
    """Consecutive lines of a file, parsed."""

    lines: NDArray[np.int64]  # (n,) where each image stood
    ids: Sequence[str]  # (n,) the id column, or the row's number counted from 1 where there is none
    images: Images  # uint8 (n, height, width[, 3]); with `views`, as many as these come to
    labels: Labels | None  # uint16 (n,) where the file has them; `UNLABELLED` where one cannot be read
    rejects: tuple[RowReject, ...]
    extra: pa.Table | None = None  # n rows of the columns that come along; None where none do
    views: NDArray[np.intp] | None = None  # (n,) how many images are each row's, one row after the other; None: one
    unread: Mapping[str, int] = field(default_factory=dict)  # labels that cannot be read -> how often

    @property
    def shown(self) -> Images:
        """The first image of each row, uint8 (n, height, width[, 3])."""
        return self.images if self.views is None else self.images[self.views.cumsum() - self.views]
