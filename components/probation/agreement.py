"""Agreement with the champion before, which classifies a share of the new model's traffic in shadow."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from components.contract import ModelCard
from components.errors import FashionError
from components.files import user_name
from components.probation.state import Probation
from components.shadow.control import current_shadow, start_shadow, stop_shadow
from components.shadow.counts import ShadowCounts, read_counts

log = logging.getLogger(__name__)

SHARE = 0.2  # of the images: enough, and a fifth of the work of the service
IMAGES = 20_000  # after which nothing is learned any more
WHY = "probation of "  # the reason of our shadows, with the model


@dataclass(frozen=True)
class Agreement:
    """Images that two models classified, and how many of them got another label. Classes are the earlier champion's."""

    images: int
    changed: int
    by_class: dict[str, tuple[int, int]] = field(default_factory=dict)  # class -> images, changed
    expected: float = 0.0  # share of changed images that their test images allow, 0 to 1
    expected_by_class: dict[str, float] = field(default_factory=dict)


def follow_shadow(probation: Probation, until: float) -> None:
    """Keep the champion before in shadow while the probation runs, and end that shadow afterwards.

    A shadow that a person started stays, and then agreement is not judged.

    Args:
        probation: of the live model.
        until: when its last look is due, seconds since 1970.
    """
    try:
        shadow = current_shadow()
        ours = shadow is not None and shadow.why == f"{WHY}{probation.model}"
        if probation.state != "running":
            if ours:
                stop_shadow()
        elif shadow is None or (shadow.why.startswith(WHY) and not ours):
            stop_shadow()
            end = datetime.fromtimestamp(until, UTC) + timedelta(minutes=1)
            start_shadow(
                probation.before,
                share=SHARE,
                who=user_name(),
                why=f"{WHY}{probation.model}",
                until=end,
                images=IMAGES,
            )
    except FashionError as error:
        log.warning("agreement with %s is not judged: %s", probation.before, error)


def read_agreement(probation: Probation, before: ModelCard, after: ModelCard) -> Agreement | None:
    """What the champion before found in shadow; None if it has seen nothing.

    Raises:
        ModelError: the record of a shadow is damaged.
    """
    counts = read_counts(probation.before, probation.model)
    return to_agreement(counts, before, after) if counts and counts.mirrored else None


def to_agreement(counts: ShadowCounts, before: ModelCard, after: ModelCard) -> Agreement:
    """Sum up the counts of a shadow, in which the model on probation is the champion."""
    images, changed = Counter[str](), Counter[str]()
    for pair in counts.pairs:
        images[pair.candidate] += pair.images
        changed[pair.candidate] += 0 if pair.same else pair.images
    by_class = {name: (count, changed[name]) for name, count in images.items()}
    return Agreement(counts.mirrored, counts.changed, by_class, *expect_changes(before, after))


def expect_changes(before: ModelCard, after: ModelCard) -> tuple[float, dict[str, float]]:
    """The largest share of changed images that two models' test results allow, overall and by the first one's class.

    Two models that are both right agree, so at most the sum of their errors changes. Of the images that the first one
    gives a class, those outside it (1 - precision), and those that the second one does not find (1 - recall), may.
    """
    recalls = {one.name: one.recall for one in after.test.classes}
    by_class = {
        one.name: min(1.0, (1 - one.precision) + (1 - recalls[one.name]))
        for one in before.test.classes
        if one.name in recalls and one.support
    }
    return min(1.0, 2 - before.test.accuracy - after.test.accuracy), by_class
