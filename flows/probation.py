"""The flow that judges models by live traffic: the one that was promoted last, and the one that waits for its shadow.

Each rollback is reported once.
"""

from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event
from prefect.logging import get_run_logger

from components.errors import FashionError
from components.probation.check import ProbationCheck, check_probation, mark_reported
from components.probation.state import Probation
from components.promotion.waiting import follow_waiting
from flows.notify.events import ROLLED_BACK, emit_promotion
from flows.notify.message import of_probation
from flows.notify.redact import redact

MINUTE = 60  # seconds


@flow(name="probation", timeout_seconds=25 * MINUTE, persist_result=True, result_serializer="json")
def probation() -> str:
    """Judge the live model if a look is due, and roll back to the champion before it after a breach. Then take the next
    step with a model that waits for its shadow.

    Returns:
        State of the probation: running, passed, too few, rolled back, ended, none, or off.
    """
    state = judge_live()
    try:
        promotion = follow_waiting()
    except FashionError as error:  # the next training meets it too, and reports it
        get_run_logger().error("the model that waits for its shadow: %s", error)
        return state
    if promotion:
        get_run_logger().info("%s", promotion)
        emit_promotion(promotion)
    return state


def judge_live() -> str:
    """Judge the live model. Returns the state of its probation."""
    check = check_probation()
    found = check.probation
    if found is None:
        return "off" if check.off else "none"
    summary = f"{found.state}: {found.model}" + (f", {found.why}" if found.why else "")
    get_run_logger().info("%s", summary)
    if check.measures:
        create_table_artifact(to_rows(check), key="probation", description=summary)
    if found.state == "rolled back" and not found.reported:
        emit_rollback(found)
        mark_reported(found)  # last: if killed before, the news is reported twice, not never
    return found.state


def emit_rollback(found: Probation) -> None:
    """Emit an event for Prefect's automations. An error here fails the run, and the next run reports the news."""
    message = of_probation(found)
    resource = {"prefect.resource.id": f"fashion.{found.model}", "prefect.resource.name": found.model}
    payload = {"what": redact(message.what), "why": redact(message.why), "next": message.next}
    emit_event(ROLLED_BACK, resource, payload=payload)
    get_run_logger().warning("%s: %s, %s", ROLLED_BACK, found.model, found.why)


def to_rows(check: ProbationCheck) -> list[dict[str, Any]]:
    """The measures as a table."""
    return [
        {
            "measure": one.name,
            "before": round(one.before, 4),
            "found": round(one.found, 4),
            "allowed": round(one.allowed, 4),
            "chance": f"{one.chance:.2g}",
            "outcome": one.outcome,
            "about": one.about,
        }
        for one in check.measures
    ]
