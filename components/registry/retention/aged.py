"""What nobody came back for: trainings that were never gone on with, and the logs of processes that ended long ago."""

from collections.abc import Iterator
from pathlib import Path

import psutil

from components.files import DAY, age_of, remove, size_of
from components.registry.retention.prune import Removed
from components.registry.retention.unreferenced import Unreferenced
from components.registry.store import home
from components.settings import Settings, load_settings

RESULT = "[0-9a-f]" * 32  # what Prefect calls a file that it was given no name for


def remove_aged(
    training_days: float, log_days: float, settings: Settings | None = None, results: Path | None = None
) -> tuple[Removed, ...]:
    """Remove what was written last that long ago. A prune leaves these, since a person may want them.

    Args:
        training_days: of the state of an unfinished training, and of a network that never reached the store.
        log_days: of the prediction log, and of results.
        settings: where they are; None: from the environment.
        results: Prefect's folder of what flows and tasks returned, a file each; None: there is none.
    """
    found = find_aged(training_days * DAY, log_days * DAY, settings or load_settings(), results)
    removed = []
    for one in tuple(found):
        removed.append(Removed(one.what, one.name, size_of(one.path)))
        remove(one.path)
    return tuple(removed)


def find_aged(training: float, log: float, settings: Settings, results: Path | None = None) -> Iterator[Unreferenced]:
    """Likewise, with ages in seconds; nothing is removed."""
    for pattern in ("unfinished-*", "*.safetensors"):
        for path in _older(settings.checkpoints_dir, pattern, training):
            yield Unreferenced("training", path.name, path)
    for path in _older(home() / "predictions", "[0-9]*.jsonl*", log):
        if psutil.pid_exists(int(path.name.partition(".")[0])):
            continue  # who writes it may only have had nothing to write
        yield Unreferenced("prediction log", path.name, path)
    for path in _older(results, RESULT, log) if results else ():
        yield Unreferenced("result", path.name, path)


def _older(folder: Path, pattern: str, age: float) -> list[Path]:
    return [path for path in sorted(folder.glob(pattern)) if age_of(path) >= age]
