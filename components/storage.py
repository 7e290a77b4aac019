"""Inputs and outputs on a local disk, in a shared folder, or as objects in S3.

Paths in S3 have pathlib's methods (universal-pathlib); this module covers the differences. An S3 object appears only
once it is complete, so no rename is needed: it is written to a local temporary file first and then uploaded.
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
BLOCK = 5 << 20  # bytes per request, the minimum of s3fs


def locate(place: str | Path) -> Path:
    """Turn a local path or `s3://bucket/key` into a path, without accessing it. `AWS_*` variables configure S3.

    Raises:
        SettingsError: the address has another scheme, or the S3 packages are not installed.
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
        raise SettingsError(f"{text}: S3 requires the extra s3. Run: pip install -e '.[s3]'") from error
    # No listings cache, because other processes write too. Each read fetches at most one block more than requested.
    return cast(Path, UPath(text, use_listings_cache=False, default_block_size=BLOCK))


def is_remote(path: Path) -> bool:
    """Whether a path is an S3 object and not a local file."""
    return "://" in str(path)


def state_of(path: Path) -> str:
    """A text that differs after every write to a file or object.

    The change time of a file's inode catches writes that preserve its size and modification time.
    """
    if is_remote(path):
        return str(_system(path).ukey(cast(Any, path).path))
    found = path.stat()
    return f"{found.st_size}\t{found.st_mtime_ns}\t{found.st_ctime_ns}"


@contextlib.contextmanager
def whole(path: Path, flush: bool = True) -> Iterator[Path]:
    """`whole_file` for local and S3 paths: yield a local path, and move or upload it to `path` when the block succeeds.

    If the block or the upload fails, `path` is unchanged.
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
    """Create an S3 object. Among concurrent writers, exactly one succeeds.

    Raises:
        FileExistsError: the object already exists.
    """
    _system(path).pipe_file(cast(Any, path).path, content, mode="create")


def remove_tree(folder: Path) -> None:
    """Remove a folder and its contents. Local files that cannot be removed are left in place."""
    if is_remote(folder):
        _system(folder).rm(cast(Any, folder).path, recursive=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _system(path: Path) -> Any:
    return cast(Any, path).fs
