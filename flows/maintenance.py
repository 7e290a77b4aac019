"""The flow that removes old files, so that an unattended system does not fill its disk.

The Prefect server cleans its own database; `ops/layout.py` sets the retention. It does not remove the files with the
results of runs, so this flow does.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from pydantic import Field

from components.registry.retention.aged import remove_aged
from components.registry.retention.prune import Removed, prune

OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, "timeout_seconds": 30 * 60}

Keep = Annotated[int, Field(ge=0)]
Days = Annotated[float, Field(ge=1)]


@dataclass(frozen=True)
class Maintained:
    """Result of the flow; every field is JSON-serializable."""

    removed: int
    bytes: int
    kept: int  # models


@task(name="prune", **OPTIONS)
def prune_models(keep: int) -> tuple[tuple[Removed, ...], dict[str, str]]:
    """Remove old models with their files, and leftovers of killed processes.

    Returns:
        What was removed, and model -> reason for those kept.
    """
    done = prune(keep)
    for name, why in done.kept.items():
        get_run_logger().info("kept %s: %s", name, why)
    return done.removed, done.kept


@task(name="remove-aged", **OPTIONS)
def remove_old(training_days: float, log_days: float) -> tuple[Removed, ...]:
    """Remove old unfinished trainings, prediction logs and results of runs."""
    return remove_aged(training_days, log_days, results=get_current_settings().results.local_storage_path)


@flow(name="maintenance", timeout_seconds=60 * 60, persist_result=True, result_serializer="json")
def maintenance(keep_models: Keep = 10, training_days: Days = 14, log_days: Days = 90) -> Maintained:
    """Remove everything no longer needed. Always keeps the live model, its predecessor and pinned models.

    Args:
        keep_models: Number of models to keep in addition to those always kept.
        training_days: Days after which an unfinished training is removed.
        log_days: Days to keep prediction logs and results of runs.
    """
    pruned, kept = prune_models(keep_models)
    removed = (*pruned, *remove_old(training_days, log_days))
    result = Maintained(len(removed), sum(one.bytes for one in removed), len(kept))
    rows = [{"what": one.what, "name": one.name, "bytes": one.bytes} for one in removed]
    summary = f"{result.removed} items removed, {result.bytes / 1e6:.1f} MB; {result.kept} models kept"
    create_table_artifact(rows, key="maintenance", description=summary)
    get_run_logger().info(summary)
    return result
