"""Import every item of `data/inbox/labelled` once, and move it to `done` or `failed`.

An item is claimed while it is imported (`components.inbox`), so that the next run resumes an interrupted import and a
correction written in the meantime is not moved unread. To add a file, write it under a name that starts with a dot and
rename it once it is complete.

An item that names an unknown class is moved to `waiting`; its other rows are imported. When the classes change, it
returns to the inbox and is imported again; rows that are known by then are skipped.
"""

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from components.dataset.labels.adding import Imported, import_labels
from components.dataset.replacing import WAIT
from components.errors import FashionError, InputError, UnknownClass, explain
from components.files import age_of, flush_folder, shown, write_whole
from components.inbox import (
    Inbox,
    count_attempt,
    dropped_in,
    find_claims,
    find_dropped,
    make_claim,
    open_inbox,
    read_note,
    refuse_unfit,
    take,
)
from components.settings import Settings, load_settings

CORRECTIONS = "corrections"  # name of the batch that corrections are imported in
TOGETHER = 10_000  # corrections per batch
LONGEST_NAME = 200  # bytes, before a time and a suffix are appended
WAITING = "waiting"
CLAIM = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}-")  # prefix of a claim's name
ATTEMPT = ".attempt"  # file in `working` of an earlier release: the item being imported, and the number of attempts


@dataclass(frozen=True)
class Emptied:
    """The outcome of one inbox item."""

    name: str
    moved_to: Path  # in `working` after a disk error: the next run retries it
    imported: Imported | None  # None if it failed or waits
    error: str = ""
    waits_for: tuple[str, ...] = ()  # unknown classes


def empty_inbox(settings: Settings | None = None, settle: float = 0.0, enough: float = float("inf")) -> list[Emptied]:
    """Import every item in the inbox, in order of name. An item that fails does not stop the others.

    Args:
        settings: location of the inbox. None: from the environment.
        settle: seconds without a change after which a file or folder counts as complete.
        enough: seconds after which no further import is started; the rest is left for the next run.
    """
    settings, began = settings or load_settings(), time.monotonic()
    settings.labelled_dir.mkdir(parents=True, exist_ok=True)
    inbox = open_inbox(settings.labelled_dir, others=("rejects", WAITING))
    with FileLock(inbox.folder / ".lock", timeout=WAIT):
        _adopt(inbox)
        waiting = _claim_corrections(inbox, [path for path in find_dropped(inbox) if age_of(path) >= settle])
        work = (item for item in [*find_claims(inbox), *waiting] if time.monotonic() - began < enough)
        return [emptied for item in work if (emptied := _import(inbox, item, settings))]


def _adopt(inbox: Inbox) -> None:
    """Turn items that an earlier release left in `working` into claims."""
    attempts = _read_attempts(inbox.working / ATTEMPT)
    for path in sorted(inbox.working.iterdir()):
        is_claim = CLAIM.match(path.name) and (path / "input").is_dir()
        if is_claim or path.name.startswith("."):
            continue
        claim = make_claim(inbox, path.name)
        path.rename(claim / "input" / path.name)
        for _ in range(attempts.get(path.name, 0)):
            count_attempt(claim, read_note(claim))
    (inbox.working / ATTEMPT).unlink(missing_ok=True)


def _read_attempts(path: Path) -> dict[str, int]:
    """Read the item being imported and its number of attempts; {} if the file is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        attempt = json.loads(path.read_bytes())
        return {str(attempt["name"]): int(attempt["attempts"])}
    return {}


def _claim_corrections(inbox: Inbox, dropped: list[Path]) -> list[Path]:
    """Claim corrections in batches. Returns the other dropped items."""
    corrections = [path for path in dropped if path.suffix == ".json" and path.is_file() and not path.is_symlink()]
    for first in range(0, len(corrections), TOGETHER):
        together = make_claim(inbox, CORRECTIONS) / "input" / f"{CORRECTIONS}-{_now()}"
        together.mkdir()
        for path in corrections[first : first + TOGETHER]:
            os.replace(path, together / path.name)
    known = set(corrections)
    return [path for path in dropped if path not in known]


def _import(inbox: Inbox, item: Path, settings: Settings) -> Emptied | None:
    with take(inbox, item) as claim:
        if claim is None:
            return None
        path = dropped_in(claim)
        name = shown(path.name)
        try:
            refuse_unfit(path, count_attempt(claim, read_note(claim)))
            imported = import_labels(path, settings=settings)
            _refuse_nothing_taken(name, imported)
        except UnknownClass as error:
            if not error.name:
                return _fail(inbox, claim, path, error)
            return Emptied(name, _move(claim, inbox.folder / WAITING), None, str(error), (shown(error.name),))
        except FashionError as error:
            return _fail(inbox, claim, path, error)
        except OSError as error:  # a disk error, not bad labels: the next run retries
            return Emptied(name, path, None, explain(error))
        place = inbox.folder / WAITING if imported.unknown else inbox.done
        return Emptied(name, _move(claim, place), imported, waits_for=imported.unknown)


def _fail(inbox: Inbox, claim: Path, path: Path, error: FashionError) -> Emptied:
    message = shown(str(error).replace(str(path), path.name))
    moved = _move(claim, inbox.failed)
    write_whole(_free(moved.with_name(f"{_short(moved.name)}.error.txt")), f"{message}\n".encode())
    return Emptied(shown(path.name), moved, None, message)


def requeue_waiting(settings: Settings) -> list[str]:
    """Move the items that wait for a class back to the inbox. Returns their names."""
    folder = settings.labelled_dir / WAITING
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        os.replace(folder / name, _free(settings.labelled_dir / name))
    return [shown(name) for name in names]


def _refuse_nothing_taken(name: str, imported: Imported) -> None:
    """Fail a file whose rows were all rejected, so that its sender notices. Corrections have no single sender."""
    nothing = imported.read and sum(imported.rejected.values()) == imported.read
    if nothing and not imported.unknown and not name.startswith(CORRECTIONS):
        raise InputError(name, f"all rows were rejected; see {imported.rejects} for the reasons")


def _move(claim: Path, place: Path) -> Path:
    """Move a claimed item to `place` and remove the claim."""
    path = dropped_in(claim)
    place.mkdir(exist_ok=True)
    moved = _free(place / path.name)
    path.rename(moved)
    flush_folder(place)
    shutil.rmtree(claim)
    return moved


def _free(path: Path) -> Path:
    """The path if it is free, else one with the time appended to the name."""
    if not os.path.lexists(path):
        return path
    return path.with_name(f"{_short(path.stem)}-{_now()}{path.suffix if len(path.suffix) < 20 else ''}")


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:LONGEST_NAME])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
