"""What people are told: what happened, why, where to look, and what to do next."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.promotion.promote import Promotion
    from components.registry.champion import Move

LONGEST = 1_500  # characters of a reason; what is longer is a page's matter


@dataclass(frozen=True)
class Message:
    """One message."""

    what: str  # a line
    why: str
    next: str  # what a person can do
    link: str = ""  # an address or a path

    @property
    def text(self) -> str:
        """The lines below the subject."""
        why = self.why if len(self.why) <= LONGEST else f"{self.why[:LONGEST]} ..."
        link = f"Link: {self.link}\n" if self.link else ""
        return f"Why: {why}\n{link}Next: {self.next}"


TEST = Message(
    "a test of the notifications",
    "a person ran 'fashion notify --test'; failed runs, refusals, promotions, rollbacks and drift look like this",
    "nothing",
)


def of_promotion(promotion: "Promotion") -> Message:
    """What is told of a model that went live, or was refused."""
    tag, told = promotion.tag, str(promotion)
    if not promotion.promoted:
        live = f"{promotion.previous} stays live" if promotion.previous else "no model is live"
        return Message(f"{tag} was refused; {live}", told, f"fashion verdict {tag}; fashion report {tag}")
    place = f", in the place of {promotion.previous}" if promotion.previous else ""
    undo = "; fashion rollback puts the one before back" if promotion.previous else ""
    return Message(f"{tag} is live{place}", told, f"nothing{undo}")


def of_rollback(move: "Move") -> Message:
    """What is told of a model that was put back."""
    what = f"{move.tag} is live again, in the place of {move.previous}"
    return Message(what, f"{move.who}: {move.why}", f"find out what was wrong with {move.previous}: fashion history")
