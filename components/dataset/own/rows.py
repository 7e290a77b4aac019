"""What a source of one's own has, before its pictures are decoded: rows with the name of a class each."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.contract import DataContract, Images, ImageSpec, Split
from components.errors import InputError, SourceError
from components.readers.folders.below import Root

SPLIT_NAMES: dict[str, Split] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
HELD_OUT = {"val", "valid", "validation"}  # a training holds out rows of its own


@dataclass(frozen=True)
class Rejected:
    """A row that is not taken."""

    name: str  # where it stands: "hat/a.jpg", "row 12"
    reason: str
    label: str = ""  # its class, as the source says it


@dataclass(frozen=True)
class SourceRow:
    """One labelled picture."""

    name: str  # where it stands: "hat/a.jpg", "row 12"
    label: str  # its class's name, as the source says it
    picture: str | bytes | Images  # a file's path below the root, its content, or the image itself: uint8, its shape
    split: Split | None = None  # None: the source does not say
    group: str = ""  # what stays in one split: a product, a seller; "": only itself

    def content(self, root: Root) -> bytes | Images:
        """The picture file's bytes, or the image.

        Raises:
            InputError: it cannot be read, or leads out of the root.
        """
        return root.read(self.picture) if isinstance(self.picture, str) else self.picture


@dataclass(frozen=True)
class SourceRows:
    """Everything in a source of one's own."""

    name: str  # "images:photos"
    root: Path  # where the paths of its rows begin
    rows: tuple[SourceRow, ...]
    classes: tuple[str, ...]  # those that it declares, though no row may have one; in its order
    rejected: tuple[Rejected, ...] = ()
    left_out: tuple[str, ...] = ()  # names of files and folders that are not read
    image: ImageSpec | None = None  # what its images are, where they are images already
    files: dict[str, str] = field(default_factory=dict)  # of tables and archives: name -> SHA-256
    of_table: bool = False  # whether its rows are those of a table, which may name a group

    @property
    def of_files(self) -> bool:
        """Whether each row is a file of its own."""
        return any(isinstance(row.picture, str) for row in self.rows)

    @property
    def divides(self) -> bool:
        """Whether the source says which rows are for testing."""
        return any(row.split == "test" for row in self.rows)


def order_names(names: Iterable[str]) -> list[str]:
    """Distinct names of classes in the order of their labels: numbers by value, others by their letters."""
    distinct = set(names)
    are_numbers = all(name.isdecimal() for name in distinct)
    return sorted(distinct, key=lambda name: (int(name) if are_numbers else 0, name))


def digest_of(content: bytes | Images) -> str:
    """SHA-256 of a picture file, or of an image's numbers, hex."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).hexdigest()


def spec_of(shape: tuple[int, ...]) -> ImageSpec:
    """The image whose shape is (height, width) or (height, width, 3).

    Raises:
        ValueError: no catalogue can have it.
    """
    return ImageSpec(shape[0], shape[1], 3 if len(shape) == 3 else 1)


def split_called(word: str, where: str) -> Split | None:
    """The split that a folder or a cell names; None of an empty cell.

    Raises:
        SourceError: it names none.
    """
    found = word.strip().lower()
    if not found:
        return None
    if found not in SPLIT_NAMES:
        raise SourceError(f"{where}: split {word[:40]!r}, expected train or test")
    return SPLIT_NAMES[found]


def refuse_two_splits(rows: Iterable[SourceRow], name: str) -> None:
    """Refuse a source that says of some rows, but not of all, which split they are in.

    Raises:
        SourceError: it is one, or it has a test split alone.
    """
    splits = {row.split for row in rows}
    if None in splits and len(splits) > 1:
        row = next(row for row in rows if row.split is None)
        raise SourceError(f"{name}: {row.name} has no split, others have one; say it of all rows or of none")
    if splits == {"test"}:
        raise SourceError(f"{name}: a test split alone; there is nothing to train on")


def label_in(contract: DataContract, row: SourceRow) -> int:
    """The label of a row.

    Raises:
        InputError: its class is none of the contract's.
    """
    label = contract.label_of(row.label)
    if label is None:
        raise InputError("label", f"{row.label[:60]!r} is no class of {contract.name}")
    return label
