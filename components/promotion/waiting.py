"""Models that passed everything but a required shadow: shadow the newest one, and promote it when it has seen enough.

Nothing is remembered in between. A model waits if its last verdict is younger than the live model, and lacks only
images in shadow beside it. So a step can be killed, repeated or skipped, and a promotion or rollback ends the wait.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from components.errors import ModelError
from components.files import DAY, user_name
from components.promotion.bounds import GateBounds, load_bounds
from components.promotion.shadowed import is_shadow_required, lacks_only_shadow, needed_images
from components.registry.champion import Move, current_move
from components.registry.shadowed import Shadow
from components.registry.store import list_stored
from components.registry.verdicts import read_verdict
from components.shadow.control import current_shadow, start_shadow, stop_shadow
from components.shadow.counts import is_over, read_counts

if TYPE_CHECKING:
    from components.promotion.promote import Promotion

SHARE = 0.2  # of the images
WHY = "required before its promotion"
PATIENCE = DAY  # after which a newer model that waits takes the place of the one in shadow


def _promote(tag: str, why: str) -> "Promotion":
    from components.promotion.promote import promote  # imports torch, for which most steps have no use

    return promote(tag, why)


def follow_waiting(
    bounds: GateBounds | None = None, promote: "Callable[[str, str], Promotion]" = _promote
) -> "Promotion | None":
    """Take the next step with the model that waits: start its shadow, or promote it if it has seen enough.

    A shadow that a person or a probation started stays, and the model waits until it is over.

    Returns:
        The result of a promotion attempt; None if there was none.

    Raises:
        ModelError: a record of the shadow or of the live model is damaged.
        FashionError: see `promote`.
    """
    bounds, live, shadow = bounds or load_bounds(), current_move(), current_shadow()
    ours = shadow if shadow and shadow.why == WHY else None
    tag = _find_waiting(live, ours) if live and is_shadow_required(bounds) else None
    if ours and ours.tag != tag:  # it was promoted or rejected, another model went live, or a newer one waits
        _stop(ours)
        shadow = ours = None
    if live is None or tag is None:
        return None
    if shadow is None or (ours is None and is_over(shadow)):
        start_shadow(tag, share=SHARE, who=user_name(), why=WHY)
    counts = read_counts(tag, live.tag) if ours else None
    if ours is None or counts is None or (counts.mirrored < needed_images(bounds) and not counts.failed):
        return None
    promotion = promote(tag, f"{counts.mirrored:,} images in shadow")
    _stop(ours)
    return promotion


def _find_waiting(live: Move, shadow: Shadow | None) -> str | None:
    """The newest model that waits; for a day, the one in shadow if it does."""
    tags = [one.tag for one in reversed(list_stored()) if not one.problem and _is_waiting(one.tag, live)]
    if shadow and shadow.tag in tags and time.time() - _seconds(shadow.since) < PATIENCE:
        return shadow.tag
    return next(iter(tags), None)


def _is_waiting(tag: str, live: Move) -> bool:
    try:
        verdict = read_verdict(tag)
    except ModelError:  # damaged; the next training has another one
        return False
    if verdict is None or verdict.champion != live.tag or not lacks_only_shadow(verdict):
        return False
    return _seconds(verdict.when) > _seconds(live.when)


def _stop(shadow: Shadow) -> None:
    """End a shadow, unless someone has replaced it."""
    if current_shadow() == shadow:
        stop_shadow()


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()
