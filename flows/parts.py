"""Prefect tasks that score batches of parts, in local threads or on a Dask cluster.

Remote workers import this module by name. That does not work for `flows/scoring.py`, which Prefect loads as a file.
"""

import contextlib
import tempfile
import threading
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from components.errors import FashionError, SettingsError
from components.model.classifier import Classifier
from components.readers.folders.opening import open_input
from components.readers.folders.parts import Input, InputPart
from components.registry.champion import load_model
from components.scoring.job import Opened
from components.scoring.precision import take_one_core, use
from components.scoring.work import Job, Result, find_done, name_part, score_part
from components.settings import read_settings
from components.storage import locate, whole
from flows.cluster import LOCAL, ClusterSettings

LOADING = threading.Lock()


def make_runner(workers: int) -> TaskRunner[Any]:
    """Create the task runner for batches.

    Args:
        workers: number of threads, or of processes in a local cluster.

    Raises:
        SettingsError: the address is invalid, or a cluster is configured, but the extra `dask` is not installed.
    """
    address = read_settings(ClusterSettings).dask_address
    if not address:
        return ThreadPoolTaskRunner(max_workers=workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise SettingsError("FASHION_DASK_ADDRESS needs the extra dask: pip install -e '.[dask]'") from error
    if address != LOCAL:
        return DaskTaskRunner(address=address)
    local: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
    }
    local["local_directory"] = tempfile.gettempdir()  # Dask's default is the working directory
    return DaskTaskRunner(cluster_kwargs=local)


def count_slots(runner: TaskRunner[Any], workers: int) -> int:
    """Number of batches that can run in parallel now; a cluster may grow during the run."""
    if isinstance(runner, ThreadPoolTaskRunner):
        return workers
    threads: dict[str, int] = runner.client.nthreads()  # type: ignore[attr-defined]
    return max(sum(threads.values()), 1)


def losses() -> tuple[type[Exception], ...]:
    """Exceptions that a cluster raises for a task whose workers died repeatedly."""
    try:
        from distributed import KilledWorker
    except ImportError:
        return ()
    return (KilledWorker,)


def is_retryable(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry disk and network errors, but not an input that cannot be read."""
    try:
        state.result()
    except FashionError:
        return False
    except Exception:
        return True
    return False


@task(
    name="score-parts",
    task_run_name="parts from {first}",
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=is_retryable,
    cache_policy=NO_CACHE,
    persist_result=False,  # each part's file and JSON persist instead
)
def score_batch(first: int, job: dict[str, Any], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score a batch of parts in any process. Arguments and results are plain data."""
    known = Job.from_json(job)
    read, model = open_once(known), load_once(known)
    take_one_core()  # now that integer products are imported, if they are needed
    results = [_score(known, read, InputPart(**part), model) for part in parts]
    rows = sum(result.count.rows for result in results)
    get_run_logger().info("%d parts from number %d, %s rows", len(parts), first, f"{rows:,}")
    return [asdict(result) for result in results]


def hand_over(opened: Opened, part: InputPart) -> dict[str, Any]:
    """Convert a part to plain data.

    Lines in the part are written to the job's folder, where any worker can read them. Pictures in the part (from a tar
    archive) are scored here, and the worker finds them done.
    """
    job = opened.job
    if part.pictures:
        model = load_once(job)
        take_one_core()
        score_part(job, opened.read, part, model)
    elif part.lines is not None and not find_done(job, part):
        with whole(_lines_of(job, part)) as temporary:
            temporary.write_bytes(part.lines)
    return asdict(replace(part, lines=None, pictures=()))


def load_once(job: Job) -> Classifier:
    """Load the job's model from the local store, once per process."""
    with LOADING:
        return _load(job.model, job.arithmetic)


def open_once(job: Job) -> Input:
    """Open the job's input, once per process."""
    with LOADING:
        return _open(job)


@lru_cache(maxsize=2)
def _load(tag: str, arithmetic: str) -> Classifier:
    return use(load_model(tag), arithmetic)


@lru_cache(maxsize=2)
def _open(job: Job) -> Input:
    return open_input(locate(job.source), job.reading, _load(job.model, job.arithmetic).contract)


def _score(job: Job, read: Input, part: InputPart, model: Classifier) -> Result:
    lines = _lines_of(job, part)
    with contextlib.suppress(FileNotFoundError):
        part = replace(part, lines=lines.read_bytes())
    result = score_part(job, read, part, model)
    if part.lines is not None:
        lines.unlink(missing_ok=True)
    return result


def _lines_of(job: Job, part: InputPart) -> Path:
    return name_part(job, part).with_suffix(".lines")
