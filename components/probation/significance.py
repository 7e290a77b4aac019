"""Significance tests for shares of traffic, which is not a sample of independent images.

Images of an upload are alike, and the mix changes with the hour. Both make a share vary more between blocks of time
than that of independent images, by a factor: the design effect (Rao and Scott, doi:10.1214/aos/1176346391). It is
estimated from the champion's blocks, and again from those of the new model, which covers an incident that the champion
never had; the larger one counts. A sample then counts as its size divided by the design effect.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, chdtri, kolmogorov

from components.probation.evidence import Counts

DOUBT = 0.05  # chance that the design effect of the champion's traffic is larger than assumed
MIN_FILLED = 8  # blocks with traffic, for an estimate of the spread
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A share, or several, of a sample that counts as `size` independent images or requests."""

    shares: Shares  # (k,), each 0 to 1
    size: float
    rows: float  # images or requests, independent or not
    own: float = 1.0  # design effect within the sample's own blocks


def compare_samples(before: tuple[Counts, Counts], after: tuple[Counts, Counts]) -> tuple[Sample, Sample] | None:
    """Estimate shares and effective sizes of the champion's traffic and the new model's.

    Args:
        before: counts by block, (b, k), and their totals, (b,).
        after: the same of the new model, with other blocks.

    Returns:
        The two samples; None if one is empty, or the champion's traffic fills too few blocks.
    """
    (counts, sizes), (found, totals) = before, after
    filled = int(np.count_nonzero(sizes))
    if filled < MIN_FILLED or not totals.sum():
        return None
    spread = spread_of(counts, sizes)
    # Blocks wander as a whole, so a sample of twice a block's size varies as much, and counts as no more.
    of_new = 1 + (spread - 1) * max(1.0, float(totals.sum() / (sizes.sum() / filled)))
    own = design_effect(found, totals)
    rows, images = float(sizes.sum()), float(totals.sum())
    return (
        Sample(counts.sum(axis=0) / rows, rows / spread, rows),
        Sample(found.sum(axis=0) / images, images / max(of_new, own), images, own),
    )


def spread_of(counts: Counts, sizes: Counts) -> float:
    """The upper confidence limit of the design effect of the champion's traffic; at least 1."""
    filled = int(np.count_nonzero(sizes))
    return max(1.0, design_effect(counts, sizes) * (filled - 1) / float(chdtri(filled - 1, 1 - DOUBT)))


def design_effect(counts: Counts, sizes: Counts) -> float:
    """The variance of shares between blocks, relative to that of independent images; at least 1."""
    counts, sizes = counts[sizes > 0], sizes[sizes > 0]
    if len(sizes) < 2:
        return 1.0
    shares = counts.sum(axis=0) / sizes.sum()
    variance = float((shares * (1 - shares)).sum())
    between = float((sizes[:, None] * (counts / sizes[:, None] - shares) ** 2).sum()) / (len(sizes) - 1)
    return max(1.0, between / variance) if variance > 0 else 1.0


def _upper_limits(share: float, size: float, chances: Shares) -> Shares:
    """The upper Clopper-Pearson limits of a share: the true one is above each with at most this chance."""
    limits: Shares = betaincinv(share * size + 1, max((1 - share) * size, 1e-9), 1 - chances)
    return limits


def chance_of_excess(before: Sample, after: Sample, margin: float, rare: bool = False) -> float:
    """The chance to find the new share or more if the true one is the champion's plus the margin.

    The champion's true share is not known: this is the mean over its Clopper-Pearson confidence distribution.

    Args:
        before: one share of the champion.
        after: the same of the new model.
        margin: 0 to 1.
        rare: the share comes in incidents that do not grow with it, as failures do. Their spread then adds to that of
            the allowed share, instead of multiplying it.
    """
    was, found, size = float(before.shares[0]), float(after.shares[0]), after.size
    if rare:
        allowed = min(was + margin, 0.5)
        incidents = (after.rows / after.size - 1) * was * (1 - was) / (allowed * (1 - allowed))
        size = after.rows / max(after.own, 1 + incidents)
    levels = np.logspace(-9, 0, 91)
    limits = np.minimum(_upper_limits(was, before.size, levels[:-1]) + margin, 1.0)
    chances = betainc(found * size, (1 - found) * size + 1, limits) if found > 0 else np.ones(len(limits))
    return float(levels[0] + np.diff(levels) @ chances)


def lower_limit(share: float, size: float, chance: float) -> float:
    """The lower Clopper-Pearson limit."""
    return 0.0 if share <= 0 else float(betaincinv(share * size, (1 - share) * size + 1, chance))


def chance_of_more(share: float, size: float, expected: float) -> float:
    """The binomial chance to find this share or more if `expected` is the true one; sizes need not be whole."""
    if share <= 0 or expected >= 1:
        return 1.0
    return float(betainc(share * size, (1 - share) * size + 1, expected)) if expected > 0 else 0.0


def chance_of_less(share: float, size: float, expected: float) -> float:
    """The binomial chance to find this share or less if `expected` is the true one."""
    return chance_of_more(1 - share, size, 1 - expected)


def chance_of_distance(distance: float, allowed: float, before: float, after: float) -> float:
    """The chance of a Kolmogorov-Smirnov distance between samples of two distributions `allowed` apart.

    The distance of the samples is at most `allowed` plus that of two samples of one distribution.

    Args:
        distance: found, 0 to 1.
        allowed: of the true distributions.
        before: effective size of one sample.
        after: of the other.
    """
    excess = distance - allowed
    return 1.0 if excess <= 0 else float(kolmogorov(excess / np.sqrt(1 / before + 1 / after)))
