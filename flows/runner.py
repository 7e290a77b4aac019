"""What the tasks of a flow run in."""

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def make_runner(workers: int) -> TaskRunner[Any]:
    """Threads of this process, so many at a time."""
    return ThreadPoolTaskRunner(max_workers=workers)
