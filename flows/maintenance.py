"""What has to go from time to time, so that a system that nobody watches does not fill its disk.

Prefect's own database is cleaned by its server: `ops/layout.py` has for how long it keeps what. Of what runs
returned it has files, which nobody else removes.
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
    """What a run of the flow came to; every field is JSON."""

    removed: int
    bytes: int
    kept: int  # models


@task(name="prune", **OPTIONS)
def prune_models(keep: int) -> tuple[tuple[Removed, ...], dict[str, str]]:
    """Models, with what belonged to them, and what killed processes left -> what went, and why the others stay."""
    done = prune(keep)
    for name, why in done.kept.items():
        get_run_logger().info("kept %s: %s", name, why)
    return done.removed, done.kept


@task(name="remove-aged", **OPTIONS)
def remove_old(training_days: float, log_days: float) -> tuple[Removed, ...]:
    """Unfinished trainings, prediction logs, and what runs returned."""
    return remove_aged(training_days, log_days, results=get_current_settings().results.local_storage_path)


@flow(name="maintenance", timeout_seconds=60 * 60, persist_result=True, result_serializer="json")
def maintenance(keep_models: Keep = 10, training_days: Days = 14, log_days: Days = 90) -> Maintained:
    """Remove what nothing needs any more; the live model, the one before and pinned ones always stay.

    Args:
        keep_models: how many models stay besides those that always do.
        training_days: days after which an unfinished training is given up.
        log_days: days for which the prediction log is kept, and what a run returned.
    """
    pruned, kept = prune_models(keep_models)
    removed = (*pruned, *remove_old(training_days, log_days))
    result = Maintained(len(removed), sum(one.bytes for one in removed), len(kept))
    rows = [{"what": one.what, "name": one.name, "bytes": one.bytes} for one in removed]
    told = f"{result.removed} things removed, {result.bytes / 1e6:.1f} MB; {result.kept} models kept"
    create_table_artifact(rows, key="maintenance", description=told)
    get_run_logger().info(told)
    return result
