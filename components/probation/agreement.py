"""Agreement with the champion before, which classifies a share of the new model's traffic in shadow."""

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from components.contract import ModelCard
from components.errors import FashionError, ModelError
from components.files import user_name
from components.probation.expected import ExpectedChanges, expect_changes
from components.probation.state import Probation
from components.registry.verdicts import read_verdict
from components.shadow.control import current_shadow, start_shadow, stop_shadow
from components.shadow.counts import ShadowCounts, read_counts

log = logging.getLogger(__name__)

IMAGES = 20_000  # after which nothing is learned any more
MIN_SHARE = 0.001  # of the images
WHY = "probation of "  # the reason of our shadows, with the model


@dataclass(frozen=True)
class Agreement:
    """Images that two models classified, and how many of them got another label. Classes are the earlier champion's."""

    images: int
    changed: int
    not_sure: int  # images that the earlier champion is not sure of
    now_not_sure: int  # images that the new model is not sure of
    by_class: dict[str, tuple[int, int]]  # class -> images, changed
    expected: ExpectedChanges


def choose_share(images: float, seconds: float, minutes: float) -> float:
    """The share of the traffic to compare so that `IMAGES` last for the minimum length of a probation.

    Args:
        images: that the champion before classified,
        seconds: in so much time.
        minutes: minimum length of a probation.
    """
    coming = images / max(seconds, 1.0) * minutes * 60
    return min(1.0, max(MIN_SHARE, IMAGES / max(coming, 1.0)))


def follow_shadow(probation: Probation, until: float, share: float = 1.0) -> None:
    """Keep the champion before in shadow while the probation runs, and end that shadow afterwards.

    A shadow that a person started stays, and then agreement is not judged.

    Args:
        probation: of the live model.
        until: when its last look is due, seconds since 1970.
        share: of the images to compare.
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
                share=share,
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
    if not counts or not counts.mirrored:
        return None
    return to_agreement(counts, read_expected(probation, before, after))


def read_expected(probation: Probation, before: ModelCard, after: ModelCard) -> ExpectedChanges:
    """What the gate accepted when it compared the model with this champion; else what the test errors let expect."""
    flips = None
    try:
        verdict = read_verdict(probation.model)
        if verdict and verdict.champion == probation.before and verdict.outcome == "passed":
            flips = verdict.flips
    except ModelError as error:
        log.warning("agreement is held against the test errors: %s", error)
    return expect_changes(before, after, flips)


def to_agreement(counts: ShadowCounts, expected: ExpectedChanges) -> Agreement:
    """Sum up the counts of a shadow, in which the model on probation is the champion."""
    images, changed = Counter[str](), Counter[str]()
    for pair in counts.pairs:
        images[pair.candidate] += pair.images
        changed[pair.candidate] += 0 if pair.same else pair.images
    by_class = {name: (count, changed[name]) for name, count in images.items()}
    not_sure, now_not_sure = counts.mirrored - counts.candidate_sure, counts.mirrored - counts.champion_sure
    return Agreement(counts.mirrored, counts.changed, not_sure, now_not_sure, by_class, expected)
