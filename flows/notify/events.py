"""Events of a flow, which Prefect's server keeps, shows, and tells people of: deploy/prefect/notifications.yaml."""

from prefect.events import emit_event
from prefect.logging import get_run_logger

from components.promotion.promote import Promotion
from flows.notify.message import Message, of_promotion
from flows.notify.redact import redact

PROMOTED, REFUSED = "fashion.model.promoted", "fashion.model.refused"


def emit_promotion(promotion: Promotion) -> None:
    """Emit what came of an attempt to promote."""
    emit(PROMOTED if promotion.promoted else REFUSED, promotion.tag, of_promotion(promotion))


def emit(event: str, about: str, message: Message) -> None:
    """Emit an event. One that cannot be emitted is a line in the run's log: whatever it tells of stands.

    Args:
        event: its name, fashion.*; one that the automation expects is sent to people.
        about: what it is about, an exact tag for instance.
        message: what they are told; the server adds the link to the run.
    """
    payload = {"what": redact(message.what), "why": redact(message.why), "next": message.next}
    try:
        resource = {"prefect.resource.id": f"fashion.{about}", "prefect.resource.name": about}
        emit_event(event, resource, payload=payload)
    except Exception as error:
        get_run_logger().warning("%s was not told: %s", event, error)
