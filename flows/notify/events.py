"""Events that a flow emits. The Prefect server stores and shows them and sends notifications:
deploy/prefect/notifications.yaml."""

from typing import TYPE_CHECKING

from prefect.events import emit_event
from prefect.logging import get_run_logger

from flows.notify.message import Message, of_promotion
from flows.notify.redact import redact

if TYPE_CHECKING:
    from components.promotion.promote import Promotion

PROMOTED, REJECTED = "fashion.model.promoted", "fashion.model.rejected"
ROLLED_BACK = "fashion.model.rolled-back"


def emit_promotion(promotion: "Promotion") -> None:
    """Emit the result of a promotion attempt."""
    emit(PROMOTED if promotion.promoted else REJECTED, promotion.tag, of_promotion(promotion))


def emit(event: str, about: str, message: Message) -> None:
    """Emit an event. A failure is only logged, because the reported change is already in effect.

    Args:
        event: name, fashion.*; the names in notifications.yaml trigger a notification.
        about: the subject, such as an exact tag.
        message: the notification; the server adds the link to the run.
    """
    payload = {"what": redact(message.what), "why": redact(message.why), "next": message.next}
    try:
        resource = {"prefect.resource.id": f"fashion.{about}", "prefect.resource.name": about}
        emit_event(event, resource, payload=payload)
    except Exception as error:
        get_run_logger().warning("cannot emit %s: %s", event, error)
