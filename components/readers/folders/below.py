"""Files below a folder, and no others: names from outside lead to nothing else."""

import errno
import functools
import os
import stat
from pathlib import Path
from typing import NamedTuple

from components.errors import InputError, InputTooLarge
from components.files import is_inside
from components.readers.images.blocks import LARGEST
from components.storage import is_remote

# A link that takes a file's place meanwhile is not followed, and a pipe is not waited for.
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OF_THE_FILE = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "may not be read",
    errno.EPERM: "may not be read",
    errno.ELOOP: "a link that leads to itself",
    errno.ENAMETOOLONG: "a name that is too long",
}
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
LEADS_OUT = "a link that leads out of the folder; it is not followed"


class File(NamedTuple):
    """What a name stands for."""

    path: str  # with every link in it followed
    size: int  # bytes
    state: int  # of 64 bits; differs once it was written, see `components.storage.state_of`


class Root:
    """A folder whose files are read by their names in it."""

    def __init__(self, path: Path) -> None:
        if is_remote(path):
            raise InputError(str(path), "picture files are read from a disk; elsewhere from an archive or from Parquet")
        self.path = os.path.realpath(path)
        self._holds = functools.lru_cache(4096)(lambda folder: is_inside(f"{self.path}/{folder}", self.path))

    def find(self, name: str) -> File:
        """The file of a name.

        Args:
            name: a path relative to the root.

        Raises:
            InputError: it leads out of the root, or to no file.
            InputTooLarge: a file of more than 128 MiB.
            OSError: the disk fails.
        """
        if not self._holds(name.rpartition("/")[0]):
            raise InputError(name, LEADS_OUT)
        path = f"{self.path}/{name}"
        try:
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                path = os.path.realpath(path)
                if not is_inside(path, self.path):
                    raise InputError(name, LEADS_OUT)
                found = os.lstat(path)
        except OSError as error:
            raise _explain(name, error) from error
        if not stat.S_ISREG(found.st_mode):
            kind = next((kind for test, kind in KINDS if test(found.st_mode)), "a device")
            raise InputError(name, f"{kind}, expected a picture file")
        if found.st_size > LARGEST:
            raise InputTooLarge(name, f"a file of more than {LARGEST >> 20} MiB")
        return File(path, found.st_size, hash((found.st_size, found.st_mtime_ns, found.st_ctime_ns)))

    def read(self, name: str, expected: int | None = None) -> bytes:
        """The content of a file.

        Args:
            name: a path relative to the root.
            expected: the state in which it was found before; None: any.

        Raises:
            InputError: as `find`; or it changed since.
            InputTooLarge, OSError: as `find`.
        """
        path, size, state = self.find(name)
        if expected not in (None, state):
            raise InputError(name, "changed while it was scored; score it again")
        try:
            descriptor = os.open(path, FLAGS)
        except OSError as error:
            raise _explain(name, error) from error
        try:
            content = os.read(descriptor, size)
            while len(content) < size and (more := os.read(descriptor, size - len(content))):
                content += more
        finally:
            os.close(descriptor)
        return content


def _explain(name: str, error: OSError) -> Exception:
    """An error that is about one file as ours; one of the disk stays."""
    return InputError(name, OF_THE_FILE[error.errno]) if error.errno in OF_THE_FILE else error
