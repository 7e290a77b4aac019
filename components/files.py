"""Atomic writes of files and folders, and other file helpers."""

import contextlib
import getpass
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to `path`; when the block succeeds, flush it to disk and rename it to `path`.

    If the block or the flush fails, `path` is unchanged and the temporary file is removed. Without `flush`, a power cut
    may leave a damaged file: use this only for files whose hash is checked before use.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with naming(path, temporary):
            yield temporary
            if flush:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        if flush:
            flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Name `path` in disk errors that name no file, as write errors do, or that name a file in `temporary`."""
    try:
        yield
    except OSError as error:
        ours = error.filename is None or (temporary and str(error.filename).startswith(str(temporary)))
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def require_writable(*folders: Path) -> None:
    """Check that results can be written, before the work begins. A folder need not exist yet.

    Raises:
        OSError: a folder is not writable.
    """
    for folder in folders:
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; when the block succeeds, rename it to `path`.

    If `path` already exists, it stays and the temporary folder is removed: two names cannot be swapped atomically.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with naming(path, temporary):
            temporary.mkdir()
            yield temporary
            with contextlib.suppress(FileExistsError):
                move_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(folder: Path, path: Path) -> None:
    """Flush a finished folder to disk and rename it to `path`, on the same file system.

    Raises:
        FileExistsError: `path` already exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flush_tree(folder)
    try:
        folder.rename(path)
    except OSError as error:
        if path.exists():
            raise FileExistsError(f"{path} exists already") from error
        raise
    flush_folder(path.parent)


DAY = 86_400.0  # seconds; no writer takes that long


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replace `path` with `content` atomically."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def temporary_name(name: str) -> str:
    """A hidden name, unique to this writer; see `remove_leftovers`."""
    return f".{name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def writer_of(path: Path) -> int | None:
    """The ID of the process that created a temporary name; None for any other name."""
    found = re.fullmatch(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp", path.name)
    return int(found[1]) if found else None


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove temporary files that killed writers left in `folder`.

    Args:
        folder: need not exist.
        older_than: minimum age in seconds; 0 is safe only while holding the lock of the folder's writers.
    """
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # its writer is alive and has just renamed it
            if time.time() - leftover.stat().st_mtime >= older_than:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def remove_leftovers_of(path: Path) -> None:
    """Remove temporary files that killed writers of `path` left next to it. Requires the lock of its writers."""
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.tmp")
    for leftover in path.parent.iterdir():
        if left.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


def flush_folder(path: Path) -> None:
    """Flush a folder to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(path: Path) -> None:
    """Flush every file and folder below `path` to disk."""
    for item in (path, *path.rglob("*")):
        if item.is_dir():
            flush_folder(item)
        else:
            with item.open("rb") as file:
                os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Size of a file, or of all files below a folder, in bytes."""
    return sum(found.st_size for found in _stats_below(path) if stat.S_ISREG(found.st_mode))


def states_below(path: Path) -> list[tuple[int, ...]]:
    """Inodes, sizes and times of a file, or of everything in a folder. They differ after any write."""
    return sorted((one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in _stats_below(path))


def is_inside(path: Path | str, folder: Path | str) -> bool:
    """Whether a path is a folder or inside it, with all links in both resolved. The path need not exist."""
    try:
        found, above = os.path.realpath(path), os.path.realpath(folder)
    except ValueError:  # the path contains a NUL
        return False
    return found == above or found.startswith(f"{above.rstrip('/')}/")


def shown(name: str) -> str:
    """Escape a file name to one printable line: names may contain any bytes, line ends and bidirectional controls."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


def age_of(path: Path) -> float:
    """Seconds since a file, or anything in a folder, was last written; negative if the clock was set back since."""
    return time.time() - max((found.st_mtime for found in _stats_below(path)), default=0.0)


def user_name() -> str:
    """The user who runs this process, for the history of changes."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user id may have no name
        return f"uid {os.getuid()}"


def _stats_below(path: Path) -> Iterator[os.stat_result]:
    """Stats of a path and everything below it, skipping what disappears in the meantime."""
    below = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for item in (path, *below):
        with contextlib.suppress(FileNotFoundError):
            yield item.lstat()


def remove(path: Path) -> None:
    """Remove a file, link or folder, even if other processes are removing it too."""
    while os.path.lexists(path):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
