"""Read files below a root folder, and never outside it."""

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

# Do not follow a link that replaces the file meanwhile, and do not block on a pipe.
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FILE_ERRORS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a circular link",
    errno.ENAMETOOLONG: "the file name is too long",
}
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
LINK_OUTSIDE = "a link to outside the folder, which is not followed"


class File(NamedTuple):
    """A resolved file."""

    path: str  # all links resolved
    size: int  # bytes
    state: int  # 64 bits; changes when the file is written, see `components.storage.state_of`


class Root:
    """A folder whose files are read by relative name."""

    def __init__(self, path: Path) -> None:
        if is_remote(path):
            raise InputError(str(path), "cannot read picture files from S3. Pack them in an archive or in Parquet")
        self.path = os.path.realpath(path)
        self._holds = functools.lru_cache(4096)(lambda folder: is_inside(f"{self.path}/{folder}", self.path))

    def find(self, name: str) -> File:
        """Resolve a name to a file.

        Args:
            name: a path relative to the root.

        Raises:
            InputError: it is outside the root, or not a regular file.
            InputTooLarge: the file is larger than 128 MiB.
            OSError: disk error.
        """
        if not self._holds(name.rpartition("/")[0]):
            raise InputError(name, LINK_OUTSIDE)
        path = f"{self.path}/{name}"
        try:
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                path = os.path.realpath(path)
                if not is_inside(path, self.path):
                    raise InputError(name, LINK_OUTSIDE)
                found = os.lstat(path)
        except OSError as error:
            raise _explain(name, error) from error
        if not stat.S_ISREG(found.st_mode):
            kind = next((kind for test, kind in KINDS if test(found.st_mode)), "a device")
            raise InputError(name, f"found {kind}, expected a picture file")
        if found.st_size > LARGEST:
            raise InputTooLarge(name, f"the file is larger than {LARGEST >> 20} MiB")
        return File(path, found.st_size, hash((found.st_size, found.st_mtime_ns, found.st_ctime_ns)))

    def read(self, name: str, expected: int | None = None) -> bytes:
        """Read a file.

        Args:
            name: a path relative to the root.
            expected: the `File.state` found earlier; None: any.

        Raises:
            InputError: as `find`; or the file has changed since.
            InputTooLarge, OSError: as `find`.
        """
        path, size, state = self.find(name)
        if expected not in (None, state):
            raise InputError(name, "the file changed during scoring. Score it again")
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
    """Convert errors about one file to `InputError`; return disk errors unchanged."""
    return InputError(name, FILE_ERRORS[error.errno]) if error.errno in FILE_ERRORS else error
