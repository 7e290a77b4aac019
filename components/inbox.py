"""A folder into which files are dropped to be scored, and who has which of them.

    INBOX/orders.csv                      dropped
          working/20261121T0200-3f9c1e-orders.csv/input/orders.csv      claimed, by one rename
          done/...  failed/...            the same folder, with output, rejects and report: by one rename again

A claim is held by a lock beside its folder. Where that is free, its worker died, and the next one goes on with it.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import SettingsError, explain
from components.files import shown
from components.settings import load_settings

SETTLE = 10.0  # seconds without a change after which a file is taken for whole
MOST = 1_000  # files that a scheduled run takes: each is a row of its table and a task of its own
UNFINISHED = (".part", ".tmp")  # the end of a name that its writer will change
LONGEST_NAME = 150  # bytes of a name that its claim bears: with its lock it must fit into 255


@dataclass(frozen=True)
class Inbox:
    """Where files are dropped, and where they go."""

    folder: Path

    @property
    def working(self) -> Path:
        """Claimed."""
        return self.folder / "working"

    @property
    def done(self) -> Path:
        """Scored."""
        return self.folder / "done"

    @property
    def failed(self) -> Path:
        """What could not be scored."""
        return self.folder / "failed"


def open_inbox(folder: Path | None = None) -> Inbox:
    """Make sure that files can be moved about in it.

    Args:
        folder: None: FASHION_INBOX_DIR, or data/inbox/scoring, which is made where it is not there.

    Raises:
        SettingsError: it is not there, is no folder, or cannot be written.
    """
    if folder is None:
        settings = load_settings()
        folder = settings.inbox
        if settings.inbox_dir is None:
            folder.mkdir(parents=True, exist_ok=True)
    inbox = Inbox(folder.resolve())
    if not inbox.folder.is_dir():
        raise SettingsError(f"inbox {folder}: no such folder; make it, or name another in FASHION_INBOX_DIR")
    try:
        for place in (inbox.working, inbox.done, inbox.failed):
            place.mkdir(exist_ok=True)
        probe = inbox.working / f".probe-{secrets.token_hex(4)}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise SettingsError(f"inbox {folder}: files cannot be moved in it: {explain(error)}") from error
    return inbox


def find_work(inbox: Inbox, settle: float = SETTLE, most: int | None = None) -> list[Path]:
    """What is to be scored: claims that may have been left behind, then what was dropped, oldest name first.

    A file is looked at twice; one that changed in between is still being written.

    Args:
        inbox: what `open_inbox` returned.
        settle: seconds between the two looks.
        most: of what was dropped; the rest is for the next time. None: all.
    """
    claims = sorted(path for path in inbox.working.iterdir() if path.is_dir() and not path.name.startswith("."))
    before = {path: look(path) for path in _dropped(inbox)}
    if before:
        time.sleep(settle)
    whole = [path for path, seen in before.items() if seen and look(path) == seen]
    return claims + sorted(whole)[:most]


@contextlib.contextmanager
def take(inbox: Inbox, item: Path) -> Iterator[Path | None]:
    """Claim one item of `find_work` until the block ends.

    Yields:
        Its folder in `working`, with what was dropped in `input`; None where somebody else has it, or had it.
    """
    folder = item if item.parent == inbox.working else inbox.working / _name_claim(item.name)
    path = inbox.working / f".{folder.name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield None
        return
    try:
        there = _is_filled(folder) if item == folder else _move_in(item, folder)
        yield folder if there else None
    finally:
        if not folder.exists():
            path.unlink(missing_ok=True)  # while it is held: who waits for it finds no folder either
        lock.release()


def dropped_in(claim: Path) -> Path:
    """The file or folder that a claim is about."""
    return next((claim / "input").iterdir())


def _dropped(inbox: Inbox) -> list[Path]:
    own = {inbox.working, inbox.done, inbox.failed}
    return [
        path
        for path in inbox.folder.iterdir()
        if path not in own and not path.name.startswith(".") and not path.name.endswith(UNFINISHED)
    ]


def look(path: Path) -> list[tuple[str, int, int, int]]:
    """Names, sizes and times of a file, or of all that is in a folder; empty where it is gone."""
    below = [Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files)]
    try:
        found = [(str(one), one.lstat()) for one in (path, *below)]
    except FileNotFoundError:
        return []
    if any(name.endswith(UNFINISHED) for name, _ in found):
        return []
    return sorted((name, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns) for name, seen in found)


def _name_claim(name: str) -> str:
    """A name that no other claim has, in order of time."""
    short = shown(name).encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}-{short}"


def _move_in(item: Path, folder: Path) -> bool:
    (folder / "input").mkdir(parents=True)
    try:
        item.rename(folder / "input" / item.name)
    except OSError as error:
        shutil.rmtree(folder)
        if isinstance(error, FileNotFoundError):
            return False  # another worker was faster
        raise
    return True


def _is_filled(folder: Path) -> bool:
    """Whether there is something to go on with; a worker may have died before it moved anything in."""
    try:
        if any((folder / "input").iterdir()):
            return True
    except FileNotFoundError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False
