"""The flow that imports labelled images and corrections. The work itself is in `components/dataset/labels`."""

from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import Field

from components.dataset.labels.inbox import Emptied, empty_inbox
from components.errors import InputError
from flows.escaping import escape

MINUTE = 60  # seconds
SETTLE = 60.0  # seconds
ENOUGH = 40 * MINUTE  # after which no import starts; the next run does the rest


@task(name="import labels", cache_policy=NO_CACHE, persist_result=False)
def import_waiting(settle: float) -> list[Emptied]:
    """Import everything in the inbox."""
    return empty_inbox(settle=settle, enough=ENOUGH)


@flow(name="labels", timeout_seconds=60 * MINUTE)
def labels(settle: Annotated[float, Field(ge=0, le=3600)] = SETTLE) -> None:
    """Import everything in data/inbox/labelled for the next training. A failed item does not stop the others.

    Args:
        settle: Seconds without a change after which a file counts as complete.

    Raises:
        InputError: after all items, if any failed.
    """
    emptied = import_waiting(settle)
    get_run_logger().info("%d items imported or failed", len(emptied))
    if emptied:
        create_table_artifact([to_row(one) for one in emptied], key="labels", description="imported labels")
    if failed := [one.name for one in emptied if one.imported is None and not one.waits_for]:
        raise InputError("inbox", f"{len(failed)} of {len(emptied)} could not be imported: {', '.join(failed[:5])}")


def to_row(one: Emptied) -> dict[str, str | int]:
    """A row of the artifact."""
    done = one.imported
    if done is None and one.waits_for:
        return {
            "name": escape(one.name),
            "outcome": escape(f"waiting for the classes {', '.join(one.waits_for[:10])}"),
            "moved to": escape(str(one.moved_to)),
        }
    if done is None:
        return {"name": escape(one.name), "outcome": escape(one.error), "moved to": escape(str(one.moved_to))}
    return {
        "name": escape(one.name),
        "outcome": f"dataset {done.dataset.version}" if done.changed else "nothing new",
        "moved to": escape(str(one.moved_to)),
        "read": done.read,
        "added": sum(done.added.values()),
        "relabelled": len(done.relabelled),
        "rejected": sum(done.rejected.values()),
    }
