"""What is left over: of models that are gone, and of processes that were killed while they wrote."""

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
    "canary log",
    "dataset",
    "receipt",
    "part",
    "Data Docs",
    "leftover",
    "training",
    "prediction log",
    "result",
]

CLOCK = 60.0  # seconds by which a process may seem to have started after it wrote


@dataclass(frozen=True)
class Unreferenced:
    """A file or folder that nothing refers to."""

    what: What
    name: str
    path: Path


def find_orphans(settings: Settings, models: Collection[str], grace: float) -> Iterator[Unreferenced]:
    """Reports and logs of canaries whose model is not among these, written longer ago than `grace` seconds."""
    reports = {path: ":".join(path.name.rsplit("-", 1)) for path in settings.reports_dir.glob("*-mlp-*")}
    logs = {path: _log_of(path.stem) for path in (home() / "canary").glob("*.log")}
    for path, tag in (reports | logs).items():
        if EXACT_TAG.fullmatch(tag) and tag not in models and age_of(path) >= grace:
            yield Unreferenced("report" if path in reports else "canary log", tag, path)


def _log_of(stem: str) -> str:
    """The tag in the name of a canary's log; before other contracts it had the version alone."""
    return ":".join(stem.rsplit("-", 1)) if "-" in stem else f"{NAME}:{stem}"


def find_leftovers(settings: Settings, grace: float) -> Iterator[Unreferenced]:
    """Temporary files and folders whose writer was killed."""
    ours, store = home(), store_folder()
    places = [ours, ours / "staging", store, *store.glob("*/"), *(bentoml_home() / "bentos").glob("*/")]
    places += [settings.datasets_dir, *settings.datasets_dir.glob("*/"), settings.validation_dir]
    places += [settings.reports_dir, *settings.reports_dir.glob("*/"), settings.checkpoints_dir]
    for path in sorted(path for place in places for path in _temporaries_in(place)):
        if _is_abandoned(path, grace):
            yield Unreferenced("leftover", path.name, path)


def _temporaries_in(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if writer_of(path)]
    except (FileNotFoundError, NotADirectoryError):  # there never was one, or it went meanwhile
        return []


def is_half_written(folder: Path) -> bool:
    """Whether a model's folder is what a killed `bentoml.models.create` leaves: neither description is there yet."""
    return not any((folder / name).exists() for name in (CARD, "model.yaml"))


def _is_abandoned(path: Path, grace: float) -> bool:
    """Not before `grace`, since a writer in another container has a number that means nothing here."""
    writer, age = writer_of(path), age_of(path)
    return writer is not None and age >= grace and (age >= DAY or not _may_write(writer, age))


def _may_write(writer: int, age: float) -> bool:
    """Whether a process with that number runs, and ran when the file was written last."""
    try:
        process = psutil.Process(writer)
        ran = time.time() - process.create_time()
        return process.status() != psutil.STATUS_ZOMBIE and ran + CLOCK >= age
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
