"""The rows of a custom source before decoding: pictures with class names."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.contract import DataContract, Images, ImageSpec, Split
from components.errors import InputError, SourceError
from components.readers.folders.below import Root

SPLIT_NAMES: dict[str, Split] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
HELD_OUT = {"val", "valid", "validation"}  # ignored: training holds out its own validation rows


@dataclass(frozen=True)
class Rejected:
    """A row that was not ingested."""

    name: str  # its position: "hat/a.jpg", "row 12"
    reason: str
    label: str = ""  # the class name in the source


@dataclass(frozen=True)
class SourceRow:
    """One labelled picture."""

    name: str  # its position: "hat/a.jpg", "row 12"
    label: str  # the class name in the source
    picture: str | bytes | Images  # path below the root, file content, or uint8 (height, width[, 3])
    split: Split | None = None  # None if the source does not say
    group: str = ""  # rows of a group (product, seller) stay in one split; "": no group

    def content(self, root: Root) -> bytes | Images:
        """Return the picture file's bytes, or the image array.

        Raises:
            InputError: the file cannot be read, or is outside the root.
        """
        return root.read(self.picture) if isinstance(self.picture, str) else self.picture


@dataclass(frozen=True)
class SourceRows:
    """Everything in a custom source."""

    name: str  # "images:photos"
    root: Path  # base of relative paths
    rows: tuple[SourceRow, ...]
    classes: tuple[str, ...]  # declared classes in order, including empty ones
    rejected: tuple[Rejected, ...] = ()
    left_out: tuple[str, ...] = ()  # names of ignored files and folders
    image: ImageSpec | None = None  # of image arrays; None for pictures
    files: dict[str, str] = field(default_factory=dict)  # tables and archives: name -> SHA-256
    is_table: bool = False  # whether the rows come from a table, which may have a group column

    @property
    def has_files(self) -> bool:
        """Whether rows are picture files."""
        return any(isinstance(row.picture, str) for row in self.rows)

    @property
    def has_test_split(self) -> bool:
        """Whether the source assigns rows to a test split."""
        return any(row.split == "test" for row in self.rows)


def order_names(names: Iterable[str]) -> list[str]:
    """Distinct class names in label order: numbers by value, others alphabetically."""
    distinct = set(names)
    are_numbers = all(name.isdecimal() for name in distinct)
    return sorted(distinct, key=lambda name: (int(name) if are_numbers else 0, name))


def digest_of(content: bytes | Images) -> str:
    """SHA-256 of a picture file or of an image's pixels, hex."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).hexdigest()


def spec_of(shape: tuple[int, ...]) -> ImageSpec:
    """The image spec for a shape (height, width) or (height, width, 3).

    Raises:
        ValueError: the shape is not supported.
    """
    return ImageSpec(shape[0], shape[1], 3 if len(shape) == 3 else 1)


def parse_split(word: str, where: str) -> Split | None:
    """Parse a split name from a cell; None if the cell is empty.

    Raises:
        SourceError: unknown split.
    """
    found = word.strip().lower()
    if not found:
        return None
    if found not in SPLIT_NAMES:
        raise SourceError(f"{where}: found split {word[:40]!r}, expected train or test")
    return SPLIT_NAMES[found]


def check_splits(rows: Iterable[SourceRow], name: str) -> None:
    """Check that either all rows or none have a split.

    Raises:
        SourceError: only some rows have one, or all are in the test split.
    """
    splits = {row.split for row in rows}
    if None in splits and len(splits) > 1:
        row = next(row for row in rows if row.split is None)
        raise SourceError(f"{name}: {row.name} has no split, but other rows do. Set it for all rows or for none")
    if splits == {"test"}:
        raise SourceError(f"{name}: found a test split only, expected training rows too")


def label_in(contract: DataContract, row: SourceRow) -> int:
    """The label of a row.

    Raises:
        InputError: the contract does not have its class.
    """
    label = contract.label_of(row.label)
    if label is None:
        raise InputError("label", f"{row.label[:60]!r} is not a class of {contract.name}")
    return label
