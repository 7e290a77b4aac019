"""`data/inbox/labelled`: whatever is put there is imported once, and moved to `done` or `failed`.

What is being imported is in `working` meanwhile, so that a run that was killed is gone on with by the next one, and a
correction that the service records in that time is not moved away unread. Put a file there under another name that
begins with a dot, and rename it when it is whole.
"""

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from components.dataset.labels.adding import WAIT, Imported, import_labels
from components.errors import FashionError, InputError, explain
from components.files import age_of, shown, write_whole
from components.settings import Settings, load_settings

OURS = frozenset({"done", "failed", "working", "rejects"})
CORRECTIONS = "corrections"  # the name under which those that wait are imported together
TOGETHER = 10_000  # corrections
LONGEST_NAME = 200  # bytes, to which a time and a suffix may be added
ATTEMPT = ".attempt"  # in `working`: what is being imported, and how often that was begun
MOST_ATTEMPTS = 3  # of one thing: whatever ends its worker each time must not end every worker after it


@dataclass(frozen=True)
class Emptied:
    """What became of one thing in the inbox."""

    name: str
    moved_to: Path  # `working`, where the disk failed: the next run takes it again
    imported: Imported | None  # None: it failed
    error: str = ""


def empty_inbox(settings: Settings | None = None, settle: float = 0.0, enough: float = float("inf")) -> list[Emptied]:
    """Import everything in the inbox, oldest name first; what cannot be read does not stop the rest.

    Args:
        settings: where the inbox is; None: the environment's.
        settle: seconds without a change after which a file, or all in a folder, is taken for whole.
        enough: seconds after which nothing more is begun; the rest is for the next time.
    """
    settings, began = settings or load_settings(), time.monotonic()
    folder = settings.labelled_dir
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", timeout=WAIT):
        _claim(folder, settle)
        waiting = sorted(path for path in (folder / "working").iterdir() if path.name != ATTEMPT)
        return [_import(path, folder, settings) for path in waiting if time.monotonic() - began < enough]


def _claim(folder: Path, settle: float) -> None:
    """Move what waits into `working`: corrections into folders, each other thing by itself."""
    working = folder / "working"
    working.mkdir(exist_ok=True)
    there = [path for path in sorted(folder.iterdir()) if path.name not in OURS and not path.name.startswith(".")]
    waiting = [path for path in there if age_of(path) >= settle]
    corrections = [path for path in waiting if path.suffix == ".json" and path.is_file() and not path.is_symlink()]
    for first in range(0, len(corrections), TOGETHER):
        together = working / f"{CORRECTIONS}-{_now()}"
        together.mkdir()
        for path in corrections[first : first + TOGETHER]:
            os.replace(path, together / path.name)
    known = set(corrections)
    for path in waiting:
        if path not in known:
            path.rename(_free(working / path.name))


def _import(path: Path, folder: Path, settings: Settings) -> Emptied:
    name, note = shown(path.name), path.with_name(ATTEMPT)
    try:
        _count_attempt(note, path.name)
        if path.is_symlink():
            raise InputError(name, "a link; drop the file itself")
        imported = import_labels(path, settings=settings)
        _refuse_nothing_taken(name, imported)
    except FashionError as error:
        told = shown(str(error).replace(str(path), path.name))
        note.unlink(missing_ok=True)
        moved = _move(path, folder / "failed")
        write_whole(_free(moved.with_name(f"{_short(moved.name)}.error.txt")), f"{told}\n".encode())
        return Emptied(name, moved, None, told)
    except OSError as error:  # of the disk, not of the labels: the next run may have more luck
        return Emptied(name, path, None, explain(error))
    note.unlink(missing_ok=True)
    return Emptied(name, _move(path, folder / "done"), imported)


def _count_attempt(note: Path, name: str) -> None:
    """Note that an import begins.

    Raises:
        InputError: it ended its worker each time.
    """
    before = 0
    if note.exists():
        told = json.loads(note.read_bytes())
        before = told["attempts"] if told["name"] == name else 0
    if before >= MOST_ATTEMPTS:
        raise InputError(shown(name), f"its worker died {MOST_ATTEMPTS} times")
    write_whole(note, json.dumps({"name": name, "attempts": before + 1}).encode())


def _refuse_nothing_taken(name: str, imported: Imported) -> None:
    """A file of which nothing could be taken needs its sender; corrections come one by one, from anybody."""
    if imported.read and sum(imported.rejected.values()) == imported.read and not name.startswith(CORRECTIONS):
        raise InputError(name, f"nothing could be taken; {imported.rejects} says why")


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    moved = _free(folder / path.name)
    path.rename(moved)
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
