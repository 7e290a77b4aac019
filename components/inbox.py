"""An inbox: a folder for files to be scored or learned from, from which workers claim them.

    INBOX/orders.csv                      dropped
          working/20261121T0200-3f9c1e-orders.csv/input/orders.csv      claimed, by one rename
          done/...  failed/...            the same folder, with output, rejects and report, by another rename

A worker holds a claim with a lock next to its folder. If the lock is free, the worker died and the next one resumes the
claim. The claim's note, `claim.json`, counts the attempts.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import FashionError, InputError, SettingsError, explain
from components.files import shown, write_whole
from components.records import read_record
from components.settings import load_settings

log = logging.getLogger(__name__)
SETTLE = 10.0  # seconds without a change after which a file counts as complete
MOST = 1_000  # maximum number of files in a scheduled run: each is a task and a table row
UNFINISHED = (".part", ".tmp")  # suffixes of files that are still being written
LONGEST_NAME = 150  # bytes of a file name kept in its claim's name, so that the lock's name fits into 255
NOTE = "claim.json"
MAX_ATTEMPTS = 3  # per file, so that a file that crashes its worker does not crash every worker


@dataclass(frozen=True)
class Inbox:
    """The inbox folder and its subfolders."""

    folder: Path
    others: tuple[str, ...] = ()  # names of other subfolders, which are not inputs

    @property
    def working(self) -> Path:
        """Claimed files."""
        return self.folder / "working"

    @property
    def done(self) -> Path:
        """Files that were processed."""
        return self.folder / "done"

    @property
    def failed(self) -> Path:
        """Files that could not be processed."""
        return self.folder / "failed"


@dataclass(frozen=True)
class ClaimNote:
    """The note of a claim."""

    claimed_at: str  # ISO 8601, UTC
    attempts: int
    model: str = ""  # exact tag of the scoring model; a resumed claim uses the same one


def open_inbox(folder: Path | None = None, others: tuple[str, ...] = ()) -> Inbox:
    """Open an inbox, after checking that files can be moved in it.

    Args:
        folder: None selects FASHION_INBOX_DIR, or else data/inbox/scoring, which is created if necessary.
        others: see `Inbox`.

    Raises:
        SettingsError: the folder does not exist or is not writable.
    """
    if folder is None:
        settings = load_settings()
        folder = settings.inbox
        if settings.inbox_dir is None:
            folder.mkdir(parents=True, exist_ok=True)
    inbox = Inbox(folder.resolve(), others)
    if not inbox.folder.is_dir():
        raise SettingsError(f"inbox {folder}: no such folder; create it, or set FASHION_INBOX_DIR to another one")
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
    """List the work: claims that may have been abandoned, then dropped files sorted by name.

    A file that changes within `settle` seconds is still being written and is skipped.

    Args:
        inbox: returned by `open_inbox`.
        settle: seconds between two checks of a file.
        most: maximum number of dropped files; None means all.
    """
    before = {path: look(path) for path in find_dropped(inbox)}
    if before:
        time.sleep(settle)
    complete = [path for path, seen in before.items() if seen and look(path) == seen]
    return find_claims(inbox) + sorted(complete)[:most]


@contextlib.contextmanager
def take(inbox: Inbox, item: Path) -> Iterator[Path | None]:
    """Claim one item of `find_work` until the block ends.

    Yields:
        The claim's folder in `working`, with the dropped file in `input`; None if another worker has or had it.
    """
    folder = item if item.parent == inbox.working else _name_claim(inbox, item.name)
    path = inbox.working / f".{folder.name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield None
        return
    try:
        has_input = _has_input(folder) if item == folder else _move_in(item, folder)
        yield folder if has_input else None
    finally:
        if not folder.exists():
            path.unlink(missing_ok=True)  # while the lock is held: a waiting worker finds no folder either
        lock.release()


def dropped_in(claim: Path) -> Path:
    """The file or folder that was claimed."""
    return next((claim / "input").iterdir())


def find_claims(inbox: Inbox) -> list[Path]:
    """All claims, held or abandoned, sorted by time (in seconds), then by name."""
    claims = (path for path in inbox.working.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(claims, key=lambda path: (path.name.split("-")[0], path.name.split("-", 2)[2:]))


def find_dropped(inbox: Inbox) -> list[Path]:
    """Dropped files and folders, sorted by name, without those still being written."""
    own = {inbox.working.name, inbox.done.name, inbox.failed.name, *inbox.others}
    dropped = (path for path in inbox.folder.iterdir() if path.name not in own)
    return sorted(path for path in dropped if not path.name.startswith(".") and not path.name.endswith(UNFINISHED))


def count_attempt(claim: Path, note: ClaimNote | None, model: str = "") -> ClaimNote:
    """Record the start of another attempt in a claim's note.

    Args:
        claim: yielded by `take`.
        note: returned by `read_note`.
        model: see `ClaimNote`.
    """
    note = note or ClaimNote(datetime.now(UTC).isoformat(timespec="seconds"), 0)
    note = replace(note, attempts=note.attempts + 1, model=model)
    write_whole(claim / NOTE, json.dumps(asdict(note)).encode())
    return note


def read_note(claim: Path) -> ClaimNote | None:
    """Read the note of a claim; None if it is missing, damaged or from another version of this code."""
    path = claim / NOTE
    try:
        return read_record(ClaimNote, path.read_bytes(), path, FashionError) if path.exists() else None
    except FashionError as error:
        log.warning("%s starts over: %s", claim.name, error)
        return None


def refuse_unfit(dropped: Path, note: ClaimNote) -> None:
    """Reject files that crash their worker, and links, which may point anywhere.

    Raises:
        InputError: the file is one of these.
    """
    if note.attempts > MAX_ATTEMPTS:
        raise InputError(shown(dropped.name), f"its worker died {MAX_ATTEMPTS} times")
    if dropped.is_symlink():
        raise InputError(shown(dropped.name), "a link; drop the file itself")


def look(path: Path) -> list[tuple[str, int, int, int]]:
    """Names, sizes and times of a file or of everything in a folder; empty if it is gone or still being written."""
    below = [Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files)]
    try:
        found = [(str(one), one.lstat()) for one in (path, *below)]
    except FileNotFoundError:
        return []
    if any(name.endswith(UNFINISHED) for name, _ in found):
        return []
    return sorted((name, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns) for name, seen in found)


def make_claim(inbox: Inbox, name: str) -> Path:
    """Create an empty folder in `working` with a unique name that sorts by time."""
    claim = _name_claim(inbox, name)
    (claim / "input").mkdir(parents=True)
    return claim


def _name_claim(inbox: Inbox, name: str) -> Path:
    short = shown(name).encode()[:LONGEST_NAME].decode(errors="ignore")
    return inbox.working / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}-{short}"


def _move_in(item: Path, folder: Path) -> bool:
    (folder / "input").mkdir(parents=True)
    try:
        item.rename(folder / "input" / item.name)
    except OSError as error:
        shutil.rmtree(folder)
        if isinstance(error, FileNotFoundError):
            return False  # another worker claimed it first
        raise
    return True


def _has_input(folder: Path) -> bool:
    """Whether a claim has an input; its worker may have died before moving it in."""
    try:
        if any((folder / "input").iterdir()):
            return True
    except FileNotFoundError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False
