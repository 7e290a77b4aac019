"""Hold what a promoted model did against what the champion before it did.

Each measure has a margin, a change that does not matter, and a significance test beyond it. A measure is breached if
the traffic would look like this by chance alone less often than `chance` divided by the number of looks and measures
(Bonferroni). The champion's own share is uncertain too, which the tests account for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from components.monitoring.serving_record import BUCKETS, LIMITS
from components.probation.agreement import Agreement
from components.probation.evidence import HOUR, Counts, Evidence
from components.probation.expected import NOTHING, Expected
from components.probation.settings import LOOKS
from components.probation.significance import (
    Sample,
    chance_of_distance,
    chance_of_excess,
    chance_of_less,
    chance_of_more,
    compare_samples,
    design_effect,
    lower_limit,
    spread_of,
)

ERRORS, LATENCY, NOT_SURE, UNKNOWN = "server errors", "latency", "not sure", "unknown"
CONFIDENCE, CLASSES, AGREEMENT = "confidence", "classes", "agreement"
MEASURES = (ERRORS, LATENCY, NOT_SURE, UNKNOWN, CONFIDENCE, CLASSES, AGREEMENT)

# Margins: what may change without a rollback.
MORE_ERRORS = 0.01  # of the requests
SLOW_QUANTILE, SLOWER = 0.95, 2.0  # a request is slow above twice the champion's 95th percentile,
FASTEST_SLOW = 0.01  # but never below 10 ms, which no one notices
MORE_SLOW = 0.05  # of the requests
OTHER_NOT_SURE = 0.10  # of the images, more or fewer, beyond what the test images let expect,
OTHER_NOT_SURE_OF_SAME = 0.05  # or half as many of the same images, if these are as hard as the test images
MORE_UNKNOWN = 0.05  # of the images
CONFIDENCE_DISTANCE = 0.15  # Kolmogorov-Smirnov, beyond what the test images let expect
FEWER = 0.5  # a class may fall to half of its share in the champion's lowest hour,
MORE_OF_CLASS = 0.25  # or grow by a quarter of all images
MORE_CHANGED, MORE_OF_CLASS_CHANGED = 0.10, 0.25  # of the images, of those of a class; beyond those of the test images

Outcome = Literal["ok", "breach", "not judged"]


@dataclass(frozen=True)
class Measure:
    """One comparison with the champion before."""

    name: str
    before: float  # the champion's share or distance, 0 to 1
    found: float  # the new model's
    allowed: float  # the champion's and the margin
    chance: float  # of such traffic, if the true share is the one allowed
    max_chance: float
    outcome: Outcome
    about: str = ""  # the class, or the latency

    def __str__(self) -> str:
        what = f"{self.name} ({self.about})" if self.about else self.name
        return f"{what}: found {self.found:.1%}, allowed {self.allowed:.1%}, before {self.before:.1%}"


def judge(
    before: Evidence,
    after: Evidence,
    classes: Sequence[str],
    chance: float,
    expected: Expected = NOTHING,
    agreement: Agreement | None = None,
) -> tuple[Measure, ...]:
    """Compare two models' traffic.

    Args:
        before: the champion's traffic before the promotion, in blocks of about a minute.
        after: the new model's traffic since the promotion.
        classes: the class names of both; () if they differ, and then the mix is not judged.
        chance: false alarm rate of the whole probation.
        expected: differences that the test images let expect.
        agreement: what the champion before found in shadow.
    """
    level, minutes = chance / LOOKS / len(MEASURES), before
    before = minutes.merge(after.span)
    slow = _find_slow(before.seconds.sum(axis=0))
    about = f"over {LIMITS[slow - 1] * 1000:.0f} ms"
    requests, worth = (before.requests, after.requests), _worth_of(minutes, after)
    return (
        _judge_more(
            ERRORS,
            (before.errors, after.errors),
            (before.requests + before.errors, after.requests + after.errors),
            MORE_ERRORS,
            level,
        ),
        _judge_more(
            LATENCY,
            (before.seconds[:, slow:].sum(axis=1), after.seconds[:, slow:].sum(axis=1)),
            requests,
            MORE_SLOW,
            level,
            about,
        ),
        _judge_not_sure(before, after, expected, agreement, worth, level),
        _judge_more(
            UNKNOWN,
            (before.unknown, after.unknown),
            (before.checked, after.checked),
            MORE_UNKNOWN + expected.unknown,
            level,
        ),
        _judge_confidence(before, after, CONFIDENCE_DISTANCE + expected.confidence, level),
        _judge_classes(minutes, after, classes, level),
        _judge_agreement(agreement, worth, level),
    )


def _find_slow(seconds: Counts) -> int:
    """The first bucket of latencies that count as slow."""
    total = seconds.sum()
    if not total:
        return BUCKETS - 1
    usual = int(np.searchsorted(np.cumsum(seconds), SLOW_QUANTILE * total))
    limit = max(SLOWER * LIMITS[min(usual, BUCKETS - 2)], FASTEST_SLOW)
    return min(int(np.searchsorted(LIMITS, limit)) + 1, BUCKETS - 1)


def _not_judged(name: str, level: float) -> Measure:
    return Measure(name, 0.0, 0.0, 1.0, 1.0, level, "not judged")


def _judge_more(
    name: str,
    counts: tuple[Counts, Counts],
    sizes: tuple[Counts, Counts],
    margin: float,
    level: float,
    about: str = "",
) -> Measure:
    """Whether a share grew by more than the margin."""
    samples = compare_samples((counts[0][:, None], sizes[0]), (counts[1][:, None], sizes[1]))
    if samples is None:
        return _not_judged(name, level)
    return _judge_excess(name, *samples, margin, level, about)


def _judge_excess(name: str, before: Sample, after: Sample, margin: float, level: float, about: str) -> Measure:
    was, found = float(before.shares[0]), float(after.shares[0])
    chance = chance_of_excess(before, after, margin, rare=name == ERRORS)
    allowed = min(was + margin, 1.0)
    return Measure(name, was, found, allowed, chance, level, "breach" if chance < level else "ok", about)


def _judge_not_sure(
    before: Evidence, after: Evidence, expected: Expected, agreement: Agreement | None, worth: float, level: float
) -> Measure:
    """Whether the model is sure of fewer images, or of more: with a temperature too low, it is sure of anything.

    The champion before has seen some of the images in shadow. There the traffic makes no difference, so half the margin
    is enough, more if the images are harder than the test images.
    """
    each = level / 4
    found = [(compare_samples(*_not_sure_of(before, after)), OTHER_NOT_SURE, "")]
    if agreement and agreement.images and worth and agreement.expected.test_not_sure:
        images = agreement.images
        margin = OTHER_NOT_SURE_OF_SAME * agreement.expected.harder(agreement.not_sure / images)
        was, now = (
            Sample(np.array([count / images]), images * worth, images)
            for count in (agreement.not_sure, agreement.now_not_sure)
        )
        found.append(((was, now), margin, "on the same images"))
    judged = []
    for samples, margin, about in found:
        if samples is None:
            continue
        judged.append(_judge_excess(NOT_SURE, *samples, margin + expected.more_not_sure, each, about))
        was, now = (replace(one, shares=1 - one.shares) for one in samples)
        sure = _judge_excess(NOT_SURE, was, now, margin + expected.fewer_not_sure, each, about)
        judged.append(replace(sure, before=1 - sure.before, found=1 - sure.found, allowed=1 - sure.allowed))
    return min(judged, key=lambda one: one.chance) if judged else _not_judged(NOT_SURE, level)


def _judge_confidence(before: Evidence, after: Evidence, allowed: float, level: float) -> Measure:
    """Whether the distribution of the predicted class's probability moved."""
    curves = [np.cumsum(one.confidence, axis=1)[:, :-1] for one in (before, after)]
    samples = compare_samples((curves[0], before.images), (curves[1], after.images))
    if samples is None:
        return _not_judged(CONFIDENCE, level)
    was, now = samples
    distance = float(np.abs(was.shares - now.shares).max())
    chance = chance_of_distance(distance, allowed, was.size, now.size)
    return Measure(CONFIDENCE, 0.0, distance, allowed, chance, level, "breach" if chance < level else "ok")


def _judge_classes(before: Evidence, after: Evidence, classes: Sequence[str], level: float) -> Measure:
    """Whether the share of a class collapsed, or one class took over.

    `before` has blocks of a minute. A share that wanders from hour to hour rarely comes close to nothing, so the lowest
    hour is a better margin than the spread: what remains is the chance to draw few images of a class with that share.
    """
    hourly = before.merge(HOUR)
    lowest = (hourly.classes / np.maximum(hourly.images, 1)[:, None])[hourly.images > 0].min(axis=0, initial=1.0)
    judged = []
    each, long = level / max(2 * len(classes), 1), before.merge(after.span)
    for label, name in enumerate(classes):
        counts, found_counts = before.classes[:, label, None], after.classes[:, label, None]
        samples = compare_samples((long.classes[:, label, None], long.images), (found_counts, after.images))
        if samples is None:
            continue
        old, new = samples
        size = after.images.sum() / max(spread_of(counts, before.images), design_effect(found_counts, after.images))
        was, found = float(old.shares[0]), float(new.shares[0])
        least = FEWER * min(float(lowest[label]), lower_limit(was, old.size, each))
        most = min(was + MORE_OF_CLASS, 1.0)
        fewer = chance_of_less(found, float(size), least)
        more = chance_of_excess(old, new, MORE_OF_CLASS)
        chance = min(fewer, more)
        outcome: Outcome = "breach" if chance < each else "ok"
        judged.append(Measure(CLASSES, was, found, least if fewer < more else most, chance, each, outcome, about=name))
    return min(judged, key=lambda one: one.chance) if judged else _not_judged(CLASSES, level)


def _judge_agreement(agreement: Agreement | None, worth: float, level: float) -> Measure:
    """Whether the two models give other labels more often than on the test images, overall or in a class.

    Most changes are expected where the champion before is not sure, so more of them in traffic that is harder. Both
    see the same images, so it does not matter how the traffic wanders, only that images of an upload are alike.
    """
    if agreement is None or not agreement.images or not worth:
        return _not_judged(AGREEMENT, level)
    each = level / (1 + len(agreement.by_class))
    not_sure = agreement.not_sure / agreement.images
    rows = [("", agreement.images, agreement.changed, agreement.expected.overall(not_sure), MORE_CHANGED)]
    rows += [
        (name, images, changed, agreement.expected.of_class(name, not_sure), MORE_OF_CLASS_CHANGED)
        for name, (images, changed) in agreement.by_class.items()
        if images
    ]
    judged = []
    for name, images, changed, expected, margin in rows:
        found, allowed = changed / images, min(expected + margin, 1.0)
        chance = chance_of_more(found, images * worth, allowed)
        outcome: Outcome = "breach" if chance < each else "ok"
        judged.append(Measure(AGREEMENT, expected, found, allowed, chance, each, outcome, about=name))
    return min(judged, key=lambda one: one.chance)


def _not_sure_of(before: Evidence, after: Evidence) -> tuple[tuple[Counts, Counts], tuple[Counts, Counts]]:
    return (before.not_sure[:, None], before.images), (after.not_sure[:, None], after.images)


def _worth_of(before: Evidence, after: Evidence) -> float:
    """How many independent images an image of the shadow counts as, at most 1; 0 if the traffic is too little to tell.

    The shadow counts no blocks: the design effect of "not sure" in the champion's minutes stands in for its own.
    """
    counts = _not_sure_of(before, after)
    return 1 / max(spread_of(*counts[0]), design_effect(*counts[1])) if compare_samples(*counts) else 0.0
