"""Names of files and folders: which files are pictures, their row ids and their class folders."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.contract import DataContract
from components.readers.images.headers import FORMATS

UNSUPPORTED = frozenset({".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2"})  # each is a reject
PICTURES = UNSUPPORTED.union(*(form.suffixes for form in FORMATS))
MAX_NAMED = 10
LITTER = frozenset(
    {
        ".ds_store",
        ".directory",
        ".gitignore",
        ".gitkeep",
        ".ipynb_checkpoints",
        ".localized",
        "__macosx",
        "@eadir",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "thumbs.db",
    }
)


@dataclass(frozen=True)
class LeftOut:
    """Files that are not rows: their number and the first names."""

    count: int = 0
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str]) -> "LeftOut":
        """Build from all names."""
        return cls(len(names), tuple(map(to_text, names[:MAX_NAMED])))

    def __str__(self) -> str:
        return f"{', '.join(self.first)}{', ...' if self.count > len(self.first) else ''}"


def is_picture(name: str) -> bool:
    """Whether a file has a picture suffix."""
    return os.path.splitext(name)[1].lower() in PICTURES  # noqa: PTH122, Path is five times slower


def is_litter(name: str) -> bool:
    """Whether macOS, Windows, a NAS, git or Jupyter created this file or folder: never data."""
    return name.startswith("._") or name.lower() in LITTER


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or litter."""
    return name.startswith(".") or name.lower() in LITTER


def to_text(name: str) -> str:
    """A name as UTF-8 text; invalid bytes are escaped as `\\xff`."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def make_safe(name: str) -> str:
    """Turn an archive member's name into a relative path without root, drive or `..`."""
    parts = name.replace("\\", "/").split("/")
    if parts and len(parts[0]) == 2 and parts[0].endswith(":"):
        parts = parts[1:]
    return to_text("/".join(part for part in parts if part not in {"", ".", ".."}))


def folder_of(row_id: str) -> str:
    """The name of the folder that contains a picture; "" if there is none."""
    return row_id.rpartition("/")[0].rpartition("/")[2]


def has_class_folders(ids: Iterable[str], contract: DataContract) -> bool:
    """Whether any picture is in a folder named after a class."""
    return any(contract.label_of(folder) is not None for folder in set(map(folder_of, ids)))
