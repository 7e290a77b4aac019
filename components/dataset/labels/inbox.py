"""`data/inbox/labelled`: whatever is put there is imported once, and moved to `done` or `failed`.

What is being imported is claimed meanwhile (`components.inbox`), so that a run that was killed is gone on with by the
next one, and a correction that the service records in that time is not moved away unread. Put a file there under
another name that begins with a dot, and rename it when it is whole.

What names a class that there is not is moved to `waiting`, whatever else of it was imported. As soon as the classes
change it comes back and is imported once more; what is known by then is not added again.
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

CORRECTIONS = "corrections"  # the name under which those that wait are imported together
TOGETHER = 10_000  # corrections
LONGEST_NAME = 200  # bytes, to which a time and a suffix may be added
WAITING = "waiting"
CLAIM = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}-")  # how the name of a claim begins
ATTEMPT = ".attempt"  # in `working`, of the version before: what was being imported, and how often that was begun


@dataclass(frozen=True)
class Emptied:
    """What became of one thing in the inbox."""

    name: str
    moved_to: Path  # `working`, where the disk failed: the next run takes it again
    imported: Imported | None  # None: it failed, or waits
    error: str = ""
    waits_for: tuple[str, ...] = ()  # classes that there are not


def empty_inbox(settings: Settings | None = None, settle: float = 0.0, enough: float = float("inf")) -> list[Emptied]:
    """Import everything in the inbox, oldest name first; what cannot be read does not stop the rest.

    Args:
        settings: where the inbox is; None: the environment's.
        settle: seconds without a change after which a file, or all in a folder, is taken for whole.
        enough: seconds after which nothing more is begun; the rest is for the next time.
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
    """Make claims of what the version before left in `working`, where nothing had a folder of its own."""
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
    """What was being imported -> how often that was begun; nothing where it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(path.read_bytes())
        return {str(told["name"]): int(told["attempts"])}
    return {}


def _claim_corrections(inbox: Inbox, dropped: list[Path]) -> list[Path]:
    """Claim the corrections, some thousands together; the rest of what was dropped."""
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
        except OSError as error:  # of the disk, not of the labels: the next run may have more luck
            return Emptied(name, path, None, explain(error))
        place = inbox.folder / WAITING if imported.unknown else inbox.done
        return Emptied(name, _move(claim, place), imported, waits_for=imported.unknown)


def _fail(inbox: Inbox, claim: Path, path: Path, error: FashionError) -> Emptied:
    told = shown(str(error).replace(str(path), path.name))
    moved = _move(claim, inbox.failed)
    write_whole(_free(moved.with_name(f"{_short(moved.name)}.error.txt")), f"{told}\n".encode())
    return Emptied(shown(path.name), moved, None, told)


def call_waiting_back(settings: Settings) -> list[str]:
    """Put what waits for a class into the inbox again; the names of it."""
    folder = settings.labelled_dir / WAITING
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        os.replace(folder / name, _free(settings.labelled_dir / name))
    return [shown(name) for name in names]


def _refuse_nothing_taken(name: str, imported: Imported) -> None:
    """A file of which nothing could be taken needs its sender; corrections come one by one, from anybody."""
    nothing = imported.read and sum(imported.rejected.values()) == imported.read
    if nothing and not imported.unknown and not name.startswith(CORRECTIONS):
        raise InputError(name, f"nothing could be taken; {imported.rejects} says why")


def _move(claim: Path, place: Path) -> Path:
    """Move what was dropped; the claim is over."""
    path = dropped_in(claim)
    place.mkdir(exist_ok=True)
    moved = _free(place / path.name)
    path.rename(moved)
    flush_folder(place)
    shutil.rmtree(claim)
    return moved


def _free(path: Path) -> Path:
    """The name, or where it is taken one with the time in it."""
    if not os.path.lexists(path):
        return path
    return path.with_name(f"{_short(path.stem)}-{_now()}{path.suffix if len(path.suffix) < 20 else ''}")


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:LONGEST_NAME])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
