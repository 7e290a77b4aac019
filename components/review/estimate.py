"""The accuracy on live traffic, estimated from the random images that people labelled.

Random images are shown in the order of their rank, which is uniform from 0 to 1 for an image of the traffic, whether it
was kept or not. So whether an image was kept and shown depends on its rank alone: it was if the rank is below

    min(rate, level)

where `rate` is the probability of keeping it and `level` the largest rank that was shown while it was waiting. That
minimum is its inclusion probability, and its inverse is its weight (Horvitz and Thompson; with a threshold that other
items set, as in priority sampling: Duffield, Lund and Thorup, arXiv:cs/0509026). The estimate is the weighted share of
right answers (Hajek). People reach about the same level in quiet and in busy hours, so the weights hardly differ.

The interval is Wilson's for the effective number of images, (sum of weights)^2 / sum of squared weights (Kish). Skipped
images count for the level, but not for the accuracy: the estimate assumes that they are like the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from components.intervals import wilson
from components.review.decisions import Decision
from components.review.images import Source

AT_ONCE = 512  # images whose levels are computed together


@dataclass(frozen=True)
class LiveAccuracy:
    """An estimate, from the random images that were answered in some time."""

    labelled: int  # random images that people labelled
    skipped: int  # and those that they skipped
    accuracy: float | None  # None: nothing was labelled
    low: float  # ends of the 95 % interval
    high: float
    effective: float  # number of equally weighted images that would tell as much


def estimate(decisions: Sequence[Decision], source: Source = "live") -> LiveAccuracy:
    """Estimate the accuracy on the traffic that the decisions are about."""
    chosen = [one for one in decisions if one.kind == "random" and one.source == source]
    levels = find_levels(chosen)
    counted = [(one, level) for one, level in zip(chosen, levels.tolist(), strict=True) if one.rank <= level]
    return _estimate([(one, min(one.rate, level)) for one, level in counted])


def estimate_days(decisions: Sequence[Decision], source: Source = "live") -> dict[str, LiveAccuracy]:
    """The estimate for each UTC day with decisions, by ISO date, oldest first."""
    chosen = [one for one in decisions if one.kind == "random" and one.source == source]
    days = dict[str, list[tuple[Decision, float]]]()
    for one, level in sorted(zip(chosen, find_levels(chosen).tolist(), strict=True), key=lambda pair: pair[0].time):
        if one.rank <= level:
            day = datetime.fromtimestamp(one.time, UTC).date().isoformat()
            days.setdefault(day, []).append((one, min(one.rate, level)))
    return {day: _estimate(found) for day, found in days.items()}


def find_levels(decisions: Sequence[Decision]) -> NDArray[np.float64]:
    """The largest rank that was shown while each random image was waiting, float64 (n,).

    A later decision counts for an image if, at that time, no image as old had been removed because of the bounds.
    """
    shown = [one for one in decisions if one.shown]
    decided = np.array([one.decided for one in shown])
    oldest = np.array([one.oldest for one in shown])
    ranks = np.array([one.rank for one in shown])
    times = np.array([one.time for one in decisions])
    levels = np.array([one.rank if one.shown else 0.0 for one in decisions])
    for start in range(0, len(times) if len(shown) else 0, AT_ONCE):
        part = times[start : start + AT_ONCE, None]
        while_waiting = (decided > part) & (oldest <= part)
        highest = np.where(while_waiting, ranks, 0.0).max(axis=1)
        levels[start : start + AT_ONCE] = np.maximum(levels[start : start + AT_ONCE], highest)
    return levels


def _estimate(counted: Sequence[tuple[Decision, float]]) -> LiveAccuracy:
    """From decisions with their inclusion probabilities."""
    labelled = [(one.is_right, 1 / max(chance, 1e-12)) for one, chance in counted if one.label is not None]
    skipped = len(counted) - len(labelled)
    if not labelled:
        return LiveAccuracy(0, skipped, None, 0.0, 1.0, 0.0)
    right, weights = np.array([one for one, _ in labelled]), np.array([weight for _, weight in labelled])
    accuracy = float(weights[right].sum() / weights.sum())
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    low, high = map(float, wilson(accuracy * effective, effective))
    return LiveAccuracy(len(labelled), skipped, accuracy, low, high, effective)
