"""What names say: which files are pictures, what their rows are called, and which class a folder is."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.contract import DataContract
from components.readers.images.headers import FORMATS

NOT_READ = frozenset({".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2"})  # pictures too: each is a reject
PICTURES = NOT_READ.union(*(form.suffixes for form in FORMATS))
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
    """Files that are no rows: how many, and the first of them by name."""

    count: int = 0
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str]) -> "LeftOut":
        """Those of these names."""
        return cls(len(names), tuple(map(to_text, names[:MAX_NAMED])))

    def __str__(self) -> str:
        return f"{', '.join(self.first)}{', ...' if self.count > len(self.first) else ''}"


def is_picture(name: str) -> bool:
    """Whether a file's suffix is that of a picture."""
    return os.path.splitext(name)[1].lower() in PICTURES  # noqa: PTH122, a Path takes five times as long


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is left by macOS, Windows, a NAS, git or Jupyter, and is never data."""
    return name.startswith("._") or name.lower() in LITTER


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is no data: litter, or hidden."""
    return name.startswith(".") or name.lower() in LITTER


def to_text(name: str) -> str:
    """A name as UTF-8 text; bytes in it that are none as `\\xff`."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def make_safe(name: str) -> str:
    """The name of an archive's member as a relative path: no root or drive before it, no `..` in it."""
    parts = name.replace("\\", "/").split("/")
    if parts and len(parts[0]) == 2 and parts[0].endswith(":"):
        parts = parts[1:]
    return to_text("/".join(part for part in parts if part not in {"", ".", ".."}))


def folder_of(row_id: str) -> str:
    """The name of the folder right above a picture; "" where there is none."""
    return row_id.rpartition("/")[0].rpartition("/")[2]


def any_by_class(ids: Iterable[str], contract: DataContract) -> bool:
    """Whether pictures are in folders of which one or more are named after classes."""
    return any(contract.label_of(folder) is not None for folder in set(map(folder_of, ids)))
