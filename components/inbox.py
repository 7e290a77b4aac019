"""A folder into which files are dropped to be scored or to be learned from, and who has which of them.

    INBOX/orders.csv                      dropped
          working/20261121T0200-3f9c1e-orders.csv/input/orders.csv      claimed, by one rename
          done/...  failed/...            the same folder, with output, rejects and report: by one rename again

A claim is held by a lock beside its folder. Where that is free, its worker died, and the next one goes on with it. Its
note, `claim.json`, says how often that happened.
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
SETTLE = 10.0  # seconds without a change after which a file is taken for whole
MOST = 1_000  # files that a scheduled run takes: each is a row of its table and a task of its own
UNFINISHED = (".part", ".tmp")  # the end of a name that its writer will change
LONGEST_NAME = 150  # bytes of a name that its claim bears: with its lock it must fit into 255
NOTE = "claim.json"
MAX_ATTEMPTS = 3  # of one file: whatever ends its worker each time must not end every worker after it


@dataclass(frozen=True)
class Inbox:
    """Where files are dropped, and where they go."""

    folder: Path
    others: tuple[str, ...] = ()  # names of further folders in it, which nobody dropped

    @property
    def working(self) -> Path:
        """Claimed."""
        return self.folder / "working"

    @property
    def done(self) -> Path:
        """What was done."""
        return self.folder / "done"

    @property
    def failed(self) -> Path:
        """What could not be done."""
        return self.folder / "failed"


@dataclass(frozen=True)
class ClaimNote:
    """What a claim says of itself."""

    claimed_at: str  # ISO 8601, UTC
    attempts: int
    model: str = ""  # exact tag of what scores it: what is gone on with is gone on with by the same one


def open_inbox(folder: Path | None = None, others: tuple[str, ...] = ()) -> Inbox:
    """Make sure that files can be moved about in it.

    Args:
        folder: None: FASHION_INBOX_DIR, or data/inbox/scoring, which is made where it is not there.
        others: see `Inbox`.

    Raises:
        SettingsError: it is not there, is no folder, or cannot be written.
    """
    if folder is None:
        settings = load_settings()
        folder = settings.inbox
        if settings.inbox_dir is None:
            folder.mkdir(parents=True, exist_ok=True)
    inbox = Inbox(folder.resolve(), others)
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
    before = {path: look(path) for path in find_dropped(inbox)}
    if before:
        time.sleep(settle)
    whole = [path for path, seen in before.items() if seen and look(path) == seen]
    return find_claims(inbox) + sorted(whole)[:most]


@contextlib.contextmanager
def take(inbox: Inbox, item: Path) -> Iterator[Path | None]:
    """Claim one item of `find_work` until the block ends.

    Yields:
        Its folder in `working`, with what was dropped in `input`; None where somebody else has it, or had it.
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
        there = _is_filled(folder) if item == folder else _move_in(item, folder)
        yield folder if there else None
    finally:
        if not folder.exists():
            path.unlink(missing_ok=True)  # while it is held: who waits for it finds no folder either
        lock.release()


def dropped_in(claim: Path) -> Path:
    """The file or folder that a claim is about."""
    return next((claim / "input").iterdir())


def find_claims(inbox: Inbox) -> list[Path]:
    """What a worker has, or may have left behind: by the second of the claim, then by what was dropped."""
    there = (path for path in inbox.working.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(there, key=lambda path: (path.name.split("-")[0], path.name.split("-", 2)[2:]))


def find_dropped(inbox: Inbox) -> list[Path]:
    """What lies in the inbox, by name, but for names that its writers will change."""
    own = {inbox.working.name, inbox.done.name, inbox.failed.name, *inbox.others}
    there = (path for path in inbox.folder.iterdir() if path.name not in own)
    return sorted(path for path in there if not path.name.startswith(".") and not path.name.endswith(UNFINISHED))


def count_attempt(claim: Path, note: ClaimNote | None, model: str = "") -> ClaimNote:
    """Note that work on a claim begins.

    Args:
        claim: what `take` yields.
        note: what `read_note` found.
        model: see `ClaimNote`.
    """
    note = note or ClaimNote(datetime.now(UTC).isoformat(timespec="seconds"), 0)
    note = replace(note, attempts=note.attempts + 1, model=model)
    write_whole(claim / NOTE, json.dumps(asdict(note)).encode())
    return note


def read_note(claim: Path) -> ClaimNote | None:
    """The note of a claim; None where it has none, or one that is damaged or of another version of this code."""
    path = claim / NOTE
    try:
        return read_record(ClaimNote, path.read_bytes(), path, FashionError) if path.exists() else None
    except FashionError as error:
        log.warning("%s is begun anew: %s", claim.name, error)
        return None


def refuse_unfit(dropped: Path, note: ClaimNote) -> None:
    """Give up what ended its worker each time, and a link, which may lead anywhere.

    Raises:
        InputError: it is one of these.
    """
    if note.attempts > MAX_ATTEMPTS:
        raise InputError(shown(dropped.name), f"its worker died {MAX_ATTEMPTS} times")
    if dropped.is_symlink():
        raise InputError(shown(dropped.name), "a link; drop the file itself")


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


def make_claim(inbox: Inbox, name: str) -> Path:
    """An empty folder in `working`, under a name that no other claim has, in order of time."""
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
