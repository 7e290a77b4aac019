"""Models that passed everything but a required shadow: shadow the newest one, and promote it when it has seen enough.

Nothing is remembered in between. A model waits if its last verdict lacks only images in shadow beside the model that
is live now. So a step can be killed, repeated or skipped, and another promotion ends the wait.
"""

from collections.abc import Callable

from components.errors import ModelError
from components.files import user_name
from components.promotion.bounds import GateBounds, load_bounds
from components.promotion.promote import Promotion, promote
from components.promotion.shadowed import is_shadow_required, lacks_only_shadow, needed_images
from components.registry.champion import current_move
from components.registry.store import list_stored
from components.registry.verdicts import read_verdict
from components.shadow.control import current_shadow, start_shadow, stop_shadow
from components.shadow.counts import read_counts

SHARE = 0.2  # of the images
WHY = "required before its promotion"


def follow_waiting(
    bounds: GateBounds | None = None, promote: Callable[[str, str], Promotion] = promote
) -> Promotion | None:
    """Take the next step with the model that waits: start its shadow, or promote it if it has seen enough.

    The shadow of a person or of a probation stays, and the model waits until it ends.

    Returns:
        The result of a promotion attempt; None if there was none.

    Raises:
        ModelError: a record of the shadow or of the live model is damaged.
        FashionError: see `promote`.
    """
    bounds, live, shadow = bounds or load_bounds(), current_move(), current_shadow()
    ours = shadow is not None and shadow.why == WHY
    tag = _find_waiting(live.tag, shadow.tag if shadow else "") if live and is_shadow_required(bounds) else None
    if ours and shadow and shadow.tag != tag:
        stop_shadow()  # it was promoted or rejected, or another model went live
        shadow = None
    if live is None or tag is None:
        return None
    if shadow is None:
        start_shadow(tag, share=SHARE, who=user_name(), why=WHY)
        return None
    counts = read_counts(tag, live.tag) if shadow.tag == tag else None
    if counts is None or counts.mirrored < needed_images(bounds):
        return None
    promotion = promote(tag, f"{counts.mirrored:,} images in shadow")
    if ours:
        stop_shadow()
    return promotion


def _find_waiting(live: str, first: str) -> str | None:
    """The model called `first` if it waits, else the newest one that does."""
    tags = [one.tag for one in list_stored() if not one.problem]
    return next((tag for tag in [first, *reversed(tags)] if tag in tags and _is_waiting(tag, live)), None)


def _is_waiting(tag: str, live: str) -> bool:
    try:
        verdict = read_verdict(tag)
    except ModelError:  # damaged; the next training has another one
        return False
    return verdict is not None and verdict.champion == live and lacks_only_shadow(verdict)
