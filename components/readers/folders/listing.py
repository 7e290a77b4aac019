"""The files of a folder, or of a pattern such as `night/*.parquet`, by name."""

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
    """What is below a root; names are relative to it and sorted."""

    root: Path
    names: list[str]  # files, and links to files
    links: list[str]  # links to folders that are not followed
    hidden: list[str]  # files and folders that are no data; what is in these folders is not listed
    folders: list[str]  # folders, and links to folders that are followed


def walk(root: Path, follow: int = 0, hidden: Callable[[str], bool] = is_hidden) -> FileListing:
    """Everything in a folder and below it. In S3 there are no links, and a folder is only a part of a name.

    Args:
        root: the folder.
        follow: how many levels deep a link to a folder is followed where it leads to another one below the root.
        hidden: which names are no data.

    Raises:
        OSError: a folder in it may not be read.
    """
    names, links, left, folders = list[str](), list[str](), list[str](), list[str]()
    if is_remote(root):
        for path in root.rglob("*"):  # one request lists a thousand
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
                elif is_link and not (folder.count("/") < follow and _leads_on(entry.path, root)):
                    links.append(name)
                else:
                    folders.append(name)
                    waiting.append(f"{name}/")
    return FileListing(root, sorted(names), sorted(links), sorted(left), sorted(folders))


def by_folder(name: str) -> list[str]:
    """The key that sorts names folder by folder."""
    return name.split("/")


def _leads_on(link: str, root: Path) -> bool:
    """Whether a link leads to something below the root, and not to a folder that the link is in."""
    return is_inside(link, root) and not is_inside(os.path.dirname(link), link)  # noqa: PTH120


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
    return FileListing(root, sorted(files), sorted(links), [], [])


def _before_the_first_magic(parts: tuple[str, ...]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part
