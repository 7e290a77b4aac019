"""`data/inbox/labelled`: whatever is put there is imported once, and moved to `done` or `failed`.

What is being imported is in `working` meanwhile, so that a run that was killed is gone on with by the next one, and a
correction that the service records in that time is not moved away unread. Put a file there under another name that
begins with a dot, and rename it when it is whole.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from components.errors import FashionError, InputError
from components.files import write_whole
from components.labels.adding import WAIT, Imported, import_labels
from components.settings import Settings, load_settings

OURS = frozenset({"done", "failed", "working", "rejects"})
CORRECTIONS = "corrections"  # the name under which all of those that wait are imported together


@dataclass(frozen=True)
class Emptied:
    """What became of one thing in the inbox."""

    name: str
    moved_to: Path
    imported: Imported | None  # None: it failed
    error: str = ""


def empty_inbox(settings: Settings | None = None, settle: float = 0.0) -> list[Emptied]:
    """Import everything in the inbox, oldest name first; what cannot be read does not stop the rest.

    Args:
        settings: where the inbox is; None: the environment's.
        settle: seconds without a change after which a file, or all in a folder, is taken for whole.
    """
    settings = settings or load_settings()
    folder = settings.labelled_dir
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", timeout=WAIT):
        _claim(folder, settle)
        return [_import(path, folder, settings) for path in sorted((folder / "working").iterdir())]


def _claim(folder: Path, settle: float) -> None:
    """Move what waits into `working`: corrections into one folder, each other thing by itself."""
    working = folder / "working"
    working.mkdir(exist_ok=True)
    there = [path for path in sorted(folder.iterdir()) if path.name not in OURS and not path.name.startswith(".")]
    waiting = [path for path in there if time.time() - _changed_at(path) >= settle]
    corrections = [path for path in waiting if path.suffix == ".json" and path.is_file()]
    if corrections:
        together = working / f"{CORRECTIONS}-{_now()}"
        together.mkdir()
        for path in corrections:
            os.replace(path, together / path.name)
    for path in waiting:
        if path not in corrections:
            path.rename(_free(working / path.name))


def _import(path: Path, folder: Path, settings: Settings) -> Emptied:
    try:
        imported = import_labels(path, settings=settings)
        _refuse_nothing_taken(path.name, imported)
    except FashionError as error:
        moved = _move(path, folder / "failed")
        write_whole(moved.with_name(f"{moved.name}.error.txt"), f"{error}\n".encode())
        return Emptied(path.name, moved, None, str(error))
    return Emptied(path.name, _move(path, folder / "done"), imported)


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
    return path.with_name(f"{path.stem}-{_now()}{path.suffix}") if path.exists() else path


def _changed_at(path: Path) -> float:
    """When it, or anything in it, was last written; seconds since 1970."""
    return max(one.lstat().st_mtime for one in (path, *path.rglob("*")))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
