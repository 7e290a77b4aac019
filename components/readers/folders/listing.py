"""The files of a folder, or of a pattern such as `night/*.parquet`, by name."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.readers.folders.names import is_hidden
from components.storage import is_remote


@dataclass(frozen=True)
class FileListing:
    """Files below a root."""

    root: Path
    names: list[str]  # relative to the root, sorted: files, and links to files
    links: list[str]  # likewise: links to folders, which nothing follows
    hidden: list[str]  # likewise: files and folders


def walk(root: Path) -> FileListing:
    """Everything in a folder and below it.

    Raises:
        OSError: a folder in it may not be read.
    """
    if is_remote(root):
        return _walk_objects(root)
    names, links, hidden, folders = list[str](), list[str](), list[str](), [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = folder + entry.name
                if is_hidden(entry.name):
                    hidden.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                else:
                    (links if entry.is_symlink() and Path(entry.path).is_dir() else names).append(name)
    return FileListing(root, sorted(names), sorted(links), sorted(hidden))


def _walk_objects(root: Path) -> FileListing:
    """There are no links; one request lists a thousand."""
    names, hidden = list[str](), list[str]()
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        (hidden if any(map(is_hidden, name.split("/"))) else names).append(name)
    return FileListing(root, sorted(names), [], sorted(hidden))


def is_pattern(source: Path) -> bool:
    """Whether a person means several files by it."""
    return glob.has_magic(str(source)) and not is_remote(source) and not source.exists()


def match(pattern: Path) -> FileListing:
    """The files that a pattern matches, as a shell would match it; `**` is any number of folders.

    Raises:
        InputError: a pattern in S3.
    """
    if is_remote(pattern):
        raise InputError(str(pattern), "patterns are not read in S3; name a folder: all that is below it is read")
    fixed = list(_before_the_first_magic(pattern.parts))
    root = Path(*fixed) if fixed else Path()
    wanted = str(pattern.relative_to(root))
    # Not glob.glob: its ** goes into linked folders, and round and round where one leads to a folder above it.
    paths = root.glob(f"{wanted}/*" if wanted.endswith("**") else wanted)
    found = [path.relative_to(root).as_posix() for path in paths]
    found = [name for name in found if not any(map(is_hidden, name.split("/")))]
    files = [name for name in found if not (root / name).is_dir()]
    links = [name for name in found if (root / name).is_dir() and (root / name).is_symlink()]
    return FileListing(root, sorted(files), sorted(links), [])


def _before_the_first_magic(parts: tuple[str, ...]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part
