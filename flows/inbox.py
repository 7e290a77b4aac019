"""The flow that scores files dropped into the inbox. The work itself is in `components/inbox`."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import Field

from components.errors import InputError
from components.inbox import MOST, SETTLE, Inbox, find_work, open_inbox
from components.registry.champion import load_model
from components.scoring.delivery import Delivery, deliver, describe_failures
from components.scoring.input_check import InputChecker, Mode
from flows.escaping import escape

HOUR = 3600  # seconds


@task(name="score dropped", cache_policy=NO_CACHE, persist_result=False, task_run_name="score {item.name}")
def score_dropped(
    inbox: Inbox, item: Path, max_reject_rate: float, check: Mode, checker: InputChecker
) -> Delivery | None:
    """Score one item, unless another worker has claimed it."""
    delivery = deliver(inbox, item, load_model(), max_reject_rate, check, checker)
    if delivery:
        get_run_logger().info("%s", delivery)
    return delivery


@flow(name="scoring", timeout_seconds=6 * HOUR)
def inbox(
    folder: str = "",
    settle: Annotated[float, Field(ge=0, le=HOUR)] = SETTLE,
    max_reject_rate: Annotated[float, Field(ge=0, le=1)] = 1.0,
    check: Mode = "fail",
) -> None:
    """Score each file in the inbox once and move it to `done` or `failed`. A failed file does not stop the others.

    A run scores at most 1,000 files, in order of their names; the next run scores the rest.

    Args:
        folder: Inbox folder. Empty: FASHION_INBOX_DIR, or data/inbox/scoring.
        settle: Seconds without a change after which a file counts as complete.
        max_reject_rate: Share of rejected rows, 0 to 1, above which a file fails.
        check: Action if the input sanity check of a file fails: fail, warn or off.

    Raises:
        InputError: after all files, if any failed.
    """
    opened = open_inbox(Path(folder) if folder else None)
    with closing(InputChecker()) as checker:
        work = [
            score_dropped(opened, item, max_reject_rate, check, checker) for item in find_work(opened, settle, MOST)
        ]
    found = [delivery for delivery in work if delivery]
    if found:
        rows = [{name: escape(str(value)) for name, value in asdict(delivery).items()} for delivery in found]
        create_table_artifact(rows, key="inbox", description=f"{len(found)} of {opened.folder}")
    if failures := describe_failures(found):
        raise InputError("inbox", failures)
