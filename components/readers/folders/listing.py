"""List the files of a folder, or of a pattern such as `night/*.parquet`."""

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.files import is_inside
from components.readers.folders.names import is_hidden
from components.storage import is_remote


@dataclass(frozen=True)
class FileListing:
    """The contents of a root folder; names are relative to it and sorted."""

    root: Path
    names: list[str]  # files and links to files
    links: list[str]  # links to folders that were not followed
    hidden: list[str]  # hidden files and folders; the contents of such folders are not listed
    folders: list[str]  # folders and followed links to folders


def walk(root: Path, follow: int = 0, hidden: Callable[[str], bool] = is_hidden) -> FileListing:
    """List a folder recursively. S3 has no links, and a folder there is only a name prefix.

    Args:
        root: the folder.
        follow: maximum depth at which links to other folders below the root are followed.
        hidden: whether a name is to be skipped.

    Raises:
        OSError: a folder cannot be read.
    """
    names, links, left, folders = list[str](), list[str](), list[str](), list[str]()
    if is_remote(root):
        for path in root.rglob("*"):  # 1,000 names per request
            name = path.relative_to(root).as_posix()
            (left if any(map(hidden, name.split("/"))) else names).append(name)
        return FileListing(root, sorted(names), [], sorted(left), [])
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name, is_link = folder + entry.name, entry.is_symlink()
                if hidden(entry.name):
                    left.append(name)
                elif not (Path(entry.path).is_dir() if is_link else entry.is_dir()):
                    names.append(name)
                elif is_link and not (folder.count("/") < follow and _is_followable(entry.path, root)):
                    links.append(name)
                else:
                    folders.append(name)
                    waiting.append(f"{name}/")
    return FileListing(root, sorted(names), sorted(links), sorted(left), sorted(folders))


def by_folder(name: str) -> list[str]:
    """Sort key that keeps the files of a folder together."""
    return name.split("/")


def _is_followable(link: str, root: Path) -> bool:
    """Whether a link points below the root and not to one of its own parent folders."""
    return is_inside(link, root) and not is_inside(os.path.dirname(link), link)  # noqa: PTH120


def is_pattern(source: Path) -> bool:
    """Whether a path is a glob pattern, not an existing file."""
    return glob.has_magic(str(source)) and not is_remote(source) and not source.exists()


def match(pattern: Path) -> FileListing:
    """List the files that match a pattern as in a shell; `**` matches any number of folders.

    Raises:
        InputError: the pattern is in S3.
    """
    if is_remote(pattern):
        raise InputError(str(pattern), "patterns are not supported in S3. Name a folder: everything below it is read")
    fixed = list(_fixed_parts(pattern.parts))
    root = Path(*fixed) if fixed else Path()
    wanted = str(pattern.relative_to(root))
    # Not glob.glob: its ** follows links to folders, endlessly if one points to a parent folder.
    paths = root.glob(f"{wanted}/*" if wanted.endswith("**") else wanted)
    found = [path.relative_to(root).as_posix() for path in paths]
    found = [name for name in found if not any(map(is_hidden, name.split("/")))]
    files = [name for name in found if not (root / name).is_dir()]
    links = [name for name in found if (root / name).is_dir() and (root / name).is_symlink()]
    return FileListing(root, sorted(files), sorted(links), [], [])


def _fixed_parts(parts: tuple[str, ...]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part
