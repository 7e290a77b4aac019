"""Batches of parts as Prefect tasks, in threads here or on a Dask cluster.

A worker elsewhere imports this module by its name; `flows/scoring.py` has another one where Prefect loads it as a file.
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
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.errors import FashionError, SettingsError
from components.model.classifier import Classifier
from components.readers.folders.opening import open_input
from components.readers.folders.parts import Input, InputPart
from components.registry.champion import load_model
from components.scoring.job import Opened, take_one_core
from components.scoring.work import Job, Result, find_done, name_part, score_part
from components.settings import read_settings
from components.storage import locate, whole

LOCAL = "local"
LOADING = threading.Lock()


class ClusterSettings(BaseSettings):
    """Where batches run."""

    model_config = SettingsConfigDict(env_prefix="FASHION_", frozen=True)

    dask_address: str = ""  # of a scheduler; "local": a cluster that lasts as long as the run; empty: threads here


def make_runner(workers: int) -> TaskRunner[Any]:
    """What the batches run in.

    Args:
        workers: threads here, or processes of a local cluster.

    Raises:
        SettingsError: a cluster is asked for, and the extra `dask` is not installed.
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
    here: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
    }
    here["local_directory"] = tempfile.gettempdir()  # where Dask would take the working directory
    return DaskTaskRunner(cluster_kwargs=here)


def count_slots(runner: TaskRunner[Any], workers: int) -> int:
    """Batches that can run at a time; a cluster may have grown meanwhile."""
    if isinstance(runner, ThreadPoolTaskRunner):
        return workers
    threads: dict[str, int] = runner.client.nthreads()  # type: ignore[attr-defined]
    return max(sum(threads.values()), 1)


def losses() -> tuple[type[Exception], ...]:
    """What a cluster says of a task whose workers died, again and again."""
    try:
        from distributed import KilledWorker
    except ImportError:
        return ()
    return (KilledWorker,)


def may_be_tried_again(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """A disk or a network may work later; an input that cannot be read stays so."""
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
    retry_condition_fn=may_be_tried_again,
    cache_policy=NO_CACHE,
    persist_result=False,  # each part's file and JSON are what stays
)
def score_batch(first: int, job: dict[str, Any], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score some parts, in whichever process; what comes in and goes out are numbers, names and hashes."""
    take_one_core()
    known = Job.from_json(job)
    read, model = open_once(known), load_once(known.model)
    results = [_score(known, read, InputPart(**part), model) for part in parts]
    rows = sum(result.count.rows for result in results)
    get_run_logger().info("%d parts from %d on, %s rows", len(parts), first, f"{rows:,}")
    return [asdict(result) for result in results]


def hand_over(opened: Opened, part: InputPart) -> dict[str, Any]:
    """A part as plain data.

    Lines that it holds go into the job's folder, from where any worker takes them. Pictures that it holds (those of a
    tar archive) are scored here: the worker finds them done.
    """
    job = opened.job
    if part.pictures:
        take_one_core()
        score_part(job, opened.read, part, load_once(job.model))
    elif part.lines is not None and not find_done(job, part):
        with whole(_lines_of(job, part)) as temporary:
            temporary.write_bytes(part.lines)
    return asdict(replace(part, lines=None, pictures=()))


def load_once(tag: str) -> Classifier:
    """The model of that exact tag from this machine's store; a process loads it once."""
    with LOADING:
        return _load(tag)


def open_once(job: Job) -> Input:
    """The job's input; a process opens it once."""
    with LOADING:
        return _open(job)


@lru_cache(maxsize=2)
def _load(tag: str) -> Classifier:
    return load_model(tag)


@lru_cache(maxsize=2)
def _open(job: Job) -> Input:
    return open_input(locate(job.source), job.reading, _load(job.model).contract)


def _score(job: Job, read: Input, part: InputPart, model: Classifier) -> Result:
    held = _lines_of(job, part)
    with contextlib.suppress(FileNotFoundError):
        part = replace(part, lines=held.read_bytes())
    result = score_part(job, read, part, model)
    if part.lines is not None:
        held.unlink(missing_ok=True)
    return result


def _lines_of(job: Job, part: InputPart) -> Path:
    return name_part(job, part).with_suffix(".lines")
