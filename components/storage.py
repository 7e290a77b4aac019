"""Where inputs and outputs are: on a disk of this machine, in a folder that several share, or as objects in S3.

A path in S3 has pathlib's methods (universal-pathlib); what differs is here. An object appears when its last byte is
there, so that no rename is needed: it is written to a temporary file here first, which is then sent.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from components.errors import SettingsError
from components.files import whole_file

S3 = "s3://"
BLOCK = 5 << 20  # bytes a request, the least that s3fs takes


def locate(place: str | Path) -> Path:
    """A path here, or `s3://bucket/key`, which is reached as the environment says (`AWS_*`). Nothing is looked up yet.

    Raises:
        SettingsError: another address, or what reaches S3 is not installed.
    """
    text = str(place)
    if not text:
        raise SettingsError(f"an empty name; expected a path or {S3}bucket/key")
    if "://" not in text:
        return Path(place)
    if not text.startswith(S3) or not text.removeprefix(S3).strip("/"):
        raise SettingsError(f"{text}: expected a path or {S3}bucket/key")
    try:
        import fsspec
        from upath import UPath

        fsspec.get_filesystem_class("s3")
    except ImportError as error:
        raise SettingsError(f"{text}: to reach S3 takes the extra s3: pip install -e '.[s3]'") from error
    # Others write too, and a listing that was kept would not have what they wrote. Up to a block is fetched beyond what
    # is read.
    return cast(Path, UPath(text, use_listings_cache=False, default_block_size=BLOCK))


def is_remote(path: Path) -> bool:
    """Whether it is an object, not a file."""
    return "://" in str(path)


def state_of(path: Path) -> str:
    """What differs once a file or an object was written.

    The time of the last change of a file's inode catches a write that left its size and time of modification.
    """
    if is_remote(path):
        return str(_system(path).ukey(cast(Any, path).path))
    found = path.stat()
    return f"{found.st_size}\t{found.st_mtime_ns}\t{found.st_ctime_ns}"


@contextlib.contextmanager
def whole(path: Path, flush: bool = True) -> Iterator[Path]:
    """`whole_file` for any `path`: yield a local name; what is written there is at `path` once the block ends well.

    If the block raises, or it cannot be sent, `path` is as it was.
    """
    if not is_remote(path):
        with whole_file(path, flush) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="fashion-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        _system(path).put_file(str(temporary), cast(Any, path).path)


def write_new(path: Path, content: bytes) -> None:
    """Write an object that is not there yet; of several who try, one does.

    Raises:
        FileExistsError: it is there.
    """
    _system(path).pipe_file(cast(Any, path).path, content, mode="create")


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it, as far as that can be done."""
    if is_remote(folder):
        _system(folder).rm(cast(Any, folder).path, recursive=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _system(path: Path) -> Any:
    return cast(Any, path).fs
