"""Notification messages: what happened, why, where to look, and what to do next."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.probation.state import Probation
    from components.promotion.promote import Promotion
    from components.registry.champion import Move

LONGEST = 1_500  # characters of a reason; longer ones are truncated


@dataclass(frozen=True)
class Message:
    """A notification."""

    what: str  # one line, the subject
    why: str
    next: str  # what to do
    link: str = ""  # URL or path

    @property
    def text(self) -> str:
        """The body."""
        why = self.why if len(self.why) <= LONGEST else f"{self.why[:LONGEST]} ..."
        link = f"Link: {self.link}\n" if self.link else ""
        return f"Why: {why}\n{link}Next: {self.next}"


TEST = Message(
    "test notification",
    "someone ran 'fashion notify --test'; failed runs, rejections, promotions, rollbacks and drift look like this",
    "nothing",
)


def of_promotion(promotion: "Promotion") -> Message:
    """The notification of a promotion or rejection."""
    tag, why = promotion.tag, str(promotion)
    if not promotion.promoted:
        live = f"{promotion.previous} stays live" if promotion.previous else "no model is live"
        if promotion.waits:
            return Message(f"{tag} passed the gate and waits for its shadow; {live}", why, "nothing")
        return Message(f"{tag} was rejected; {live}", why, f"run fashion verdict {tag}, fashion report {tag}")
    replaced = f" and replaces {promotion.previous}" if promotion.previous else ""
    undo = "; fashion rollback restores the previous model" if promotion.previous else ""
    return Message(f"{tag} is live{replaced}", why, f"nothing{undo}")


def of_rollback(move: "Move") -> Message:
    """The notification of a rollback."""
    what = f"{move.tag} is live again and replaces {move.previous}"
    return Message(what, f"{move.who}: {move.why}", f"investigate {move.previous}; fashion history lists the changes")


def of_probation(probation: "Probation") -> Message:
    """The notification of a rollback by the probation."""
    what = f"{probation.model} was rolled back after {probation.looks} looks at its traffic; {probation.before} is live"
    todo = f"investigate {probation.model}, which is barred from promotion; docs/probation.md explains the measures"
    return Message(what, probation.why, todo)
