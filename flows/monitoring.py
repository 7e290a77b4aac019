"""The hourly flow that checks the live model's traffic for drift. Each drift is reported once."""

from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.logging import get_run_logger
from pydantic import Field

from components.monitoring.drift.check import DriftCheck, check_live
from components.monitoring.drift.episode import News, find_news, read_episode, write_episode
from components.monitoring.drift.page import write_page
from components.settings import load_settings
from flows.escaping import to_paths
from flows.notify.message import Message

MINUTE = 60  # seconds
DETECTED, ENDED = "fashion.drift.detected", "fashion.drift.ended"


@flow(name="monitoring", timeout_seconds=10 * MINUTE, persist_result=True, result_serializer="json")
def monitoring(hours: Annotated[int, Field(ge=1, le=24 * 31)] = 24) -> str:
    """Compare recent traffic of the live model with its test images, and report when a drift starts or ends.

    Args:
        hours: Hours of traffic to check.

    Returns:
        drift, calm, or too few.
    """
    check, settings = check_live(hours), load_settings()
    page = settings.reports_dir / "drift.html"
    write_page(check, page)
    summary = f"{check.verdict}: {check.model}" + (f", {', '.join(check.drifted)}" if check.drifted else "")
    create_table_artifact(to_rows(check), key="drift", description=summary)
    create_markdown_artifact(to_paths({"page": page}), key="drift-page", description=summary)
    get_run_logger().info("%s; %s", summary, page)
    news, episode = find_news(read_episode(settings.drift_path), check)
    for one in news:
        emit(one, check)
    write_episode(settings.drift_path, episode)  # last: if killed before, the news is reported twice, not never
    return check.verdict


def emit(news: News, check: DriftCheck) -> None:
    """Emit an event for Prefect's automations. An error here fails the run, and the next run reports the news."""
    event = DETECTED if news.what == "detected" else ENDED
    episode, windows = news.episode, [window.verdict for window in check.judged]
    details = {"model": episode.model, "since": episode.since, "drifted": list(episode.drifted), "windows": windows}
    resource = {"prefect.resource.id": f"fashion.model.{episode.model}", "prefect.resource.name": episode.model}
    message = to_message(news)
    emit_event(event, resource, payload={**details, "what": message.what, "why": message.why, "next": message.next})
    get_run_logger().warning("%s: %s, %s", event, episode.model, ", ".join(episode.drifted))


def to_message(news: News) -> Message:
    """The notification of the news."""
    model, features = news.episode.model, ", ".join(news.episode.drifted)
    why = f"{features} since {news.episode.since}"
    if news.what != "detected":
        return Message(f"drift of {model} has ended, or another model is live", why, "nothing")
    todo = "run 'fashion drift' for details; docs/drift.md explains them; train-on-drift retrains, if enabled"
    return Message(f"traffic has drifted from the test data of {model}", why, todo)


def to_rows(check: DriftCheck) -> list[dict[str, Any]]:
    """The newest window as a table, one row per feature."""
    return [
        {
            "feature": feature.name,
            "reference": round(feature.reference, 4),
            "now": round(feature.now, 4),
            "distance": round(feature.distance, 4),
            "bound": feature.bound,
            "chance": f"{feature.chance:.2g}",
            "verdict": "DRIFT" if feature.drifted else "ok",
        }
        for feature in (check.judged[0].features if check.judged else ())
    ]
