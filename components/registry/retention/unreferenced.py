"""Find files left over from removed models and from processes that were killed while writing."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from components.files import DAY, age_of, writer_of
from components.registry.store import CARD, EXACT_TAG, NAME, bentoml_home, home, store_folder
from components.settings import Settings

What = Literal[
    "model",
    "report",
    "neighbours",
    "canary log",
    "dataset",
    "receipt",
    "part",
    "network",
    "Data Docs",
    "leftover",
    "training",
    "prediction log",
    "result",
]

CLOCK = 60.0  # tolerance in seconds between process start times and file times


@dataclass(frozen=True)
class Unreferenced:
    """A file or folder that nothing refers to."""

    what: What
    name: str
    path: Path


def find_orphans(settings: Settings, models: Collection[str], grace: float) -> Iterator[Unreferenced]:
    """Find files about models not in `models`, last written at least `grace` seconds ago.

    They are reports, canary logs and indexes of training images.
    """
    reports = {path: ":".join(path.name.rsplit("-", 1)) for path in settings.reports_dir.glob("*-mlp-*")}
    indexes = {path: ":".join(path.stem.rsplit("-", 1)) for path in settings.neighbours_dir.glob("*-mlp-*")}
    logs = {path: _log_of(path.stem) for path in (home() / "canary").glob("*.log")}
    of: tuple[tuple[What, dict[Path, str]], ...] = (("report", reports), ("neighbours", indexes), ("canary log", logs))
    for what, path, tag in ((what, *found) for what, paths in of for found in paths.items()):
        if EXACT_TAG.fullmatch(tag) and tag not in models and age_of(path) >= grace:
            yield Unreferenced(what, tag, path)


def _log_of(stem: str) -> str:
    """Return the tag in the file name of a canary log; older logs have only the version."""
    return ":".join(stem.rsplit("-", 1)) if "-" in stem else f"{NAME}:{stem}"


def find_leftovers(settings: Settings, grace: float) -> Iterator[Unreferenced]:
    """Find temporary files and folders of killed processes."""
    own, store = home(), store_folder()
    places = [own, own / "staging", store, *store.glob("*/"), *(bentoml_home() / "bentos").glob("*/")]
    places += [settings.datasets_dir, *settings.datasets_dir.glob("*/"), settings.validation_dir]
    places += [settings.reports_dir, *settings.reports_dir.glob("*/"), settings.checkpoints_dir]
    places += [settings.neighbours_dir]
    for path in sorted(path for place in places for path in _temporaries_in(place)):
        if _is_abandoned(path, grace):
            yield Unreferenced("leftover", path.name, path)


def _temporaries_in(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if writer_of(path)]
    except (FileNotFoundError, NotADirectoryError):  # never created, or already removed
        return []


def is_half_written(folder: Path) -> bool:
    """Check whether a killed `bentoml.models.create` left this model folder: neither description exists."""
    return not any((folder / name).exists() for name in (CARD, "model.yaml"))


def _is_abandoned(path: Path, grace: float) -> bool:
    """Check that the writer is gone. A process id of another container means nothing here, hence `grace`."""
    writer, age = writer_of(path), age_of(path)
    return writer is not None and age >= grace and (age >= DAY or not _may_write(writer, age))


def _may_write(writer: int, age: float) -> bool:
    """Check whether a process with that id runs and was running when the file was last written."""
    try:
        process = psutil.Process(writer)
        ran = time.time() - process.create_time()
        return process.status() != psutil.STATUS_ZOMBIE and ran + CLOCK >= age
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
