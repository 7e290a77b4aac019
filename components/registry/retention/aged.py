"""Remove aged files: training runs that were never resumed, and logs and results of finished processes."""

from collections.abc import Iterator
from pathlib import Path

import psutil

from components.files import DAY, age_of, remove, size_of
from components.registry.retention.prune import Removed
from components.registry.retention.unreferenced import Unreferenced
from components.registry.store import home
from components.settings import Settings, load_settings

RESULT = "[0-9a-f]" * 32  # Prefect's default name of a result file


def remove_aged(
    training_days: float, log_days: float, settings: Settings | None = None, results: Path | None = None
) -> tuple[Removed, ...]:
    """Remove files last written longer ago than the given ages. `prune` keeps these, as someone may still want them.

    Args:
        training_days: maximum age of unfinished training runs and of networks that were never stored, days.
        log_days: maximum age of prediction logs and results, days.
        settings: where the files are; None: from the environment.
        results: Prefect's folder of flow and task results, one file each; None: skip.
    """
    found = find_aged(training_days * DAY, log_days * DAY, settings or load_settings(), results)
    removed = []
    for one in tuple(found):
        removed.append(Removed(one.what, one.name, size_of(one.path)))
        remove(one.path)
    return tuple(removed)


def find_aged(training: float, log: float, settings: Settings, results: Path | None = None) -> Iterator[Unreferenced]:
    """Find the files that `remove_aged` removes; ages are in seconds."""
    for pattern in ("unfinished-*", "*.safetensors"):
        for path in _older(settings.checkpoints_dir, pattern, training):
            yield Unreferenced("training", path.name, path)
    for path in _older(home() / "predictions", "[0-9]*.jsonl*", log):
        if psutil.pid_exists(int(path.name.partition(".")[0])):
            continue  # the process still runs and may write again
        yield Unreferenced("prediction log", path.name, path)
    for path in _older(results, RESULT, log) if results else ():
        yield Unreferenced("result", path.name, path)


def _older(folder: Path, pattern: str, age: float) -> list[Path]:
    return [path for path in sorted(folder.glob(pattern)) if age_of(path) >= age]
