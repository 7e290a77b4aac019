"""Compare a window of traffic with a model's profile: the distance of each feature, and its significance.

Brightness and confidence depend on the class, so more shoes alone would move them. Every feature except the class
distribution is therefore compared with the profile's images reweighted to the window's predicted classes.

A distance is a share of images, 0 to 1. A feature drifts if its distance exceeds a bound (it matters) and its p-value
is below the significance level, Bonferroni-corrected over the features (it is not chance). Images of one upload are
alike, so they carry less information than independent ones. The design effect accounts for that: the window is split
into consecutive slices, and the effective sample size shrinks by the factor by which the variance between slices
exceeds that of independent images (Rao and Scott, doi:10.1214/aos/1176346391).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from components.contract import Profile
from components.evaluation.profile import Seen, count_bins, is_checked
from components.monitoring.drift.bounds import DriftBounds
from components.readers.images.statistics import MEASURES

NOT_SURE, UNKNOWN, MIX = "not sure", "unknown", "classes"
SLICES = 20  # per window
COCHRAN = 5  # minimum mean of independent images per class for Pearson's test
Shares = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Feature:
    """One compared feature of a window."""

    name: str
    reference: float  # expected value: a median, or a share of images
    now: float  # found value, in the same unit
    distance: float  # share of images, 0 to 1
    bound: float  # maximum distance
    chance: float  # p-value
    max_chance: float  # significance level
    clumps: float  # design effect: number of images that carry as much information as one independent image
    expected: tuple[float, ...]  # share of images in each bin or class
    found: tuple[float, ...]
    most_moved: str = ""  # class distribution only: the class that `reference` and `now` refer to

    @property
    def drifted(self) -> bool:
        """Whether the distance is large and significant."""
        return self.distance > self.bound and self.chance < self.max_chance


def compare(
    profile: Profile, classes: Sequence[str], seen: Seen, bounds: DriftBounds, measures: Sequence[str] = MEASURES
) -> tuple[Feature, ...]:
    """Compare images with a profile: measures, abstention rate, share of unknown images, class distribution.

    The share of unknown images is left out if those of the profile, or any of these images, were not checked.

    Args:
        profile: the model's profile.
        classes: class names by label.
        seen: distinct images in order of time, at least 30.
        bounds: bounds of distances and p-values.
        measures: measures available in `seen`.
    """
    sizes = np.array(profile.counts[MEASURES[0]]).sum(axis=1)
    rates = [(NOT_SURE, "sure", profile.not_sure, bounds.not_sure)]
    if profile.unknown and is_checked(seen):
        rates.append((UNKNOWN, "known", profile.unknown, bounds.unknown))
    max_chance = bounds.chance / (len(measures) + len(rates) + 1)
    features = []
    for measure in measures:
        limits, counts = np.array(profile.limits[measure]), np.array(profile.counts[measure])
        found = count_bins(seen, measure, limits, len(sizes), SLICES)
        features.append(_compare_bins(measure, counts, found, limits, bounds.shift, max_chance))
    for name, field, below, bound in rates:
        counts, limits = np.stack([below, sizes - below], axis=1), np.array([0.5])
        found = count_bins(seen, field, limits, len(sizes), SLICES)
        features.append(_compare_bins(name, counts, found, limits, bound, max_chance))
    features.append(_compare_classes(classes, sizes, found.sum(axis=2), bounds.classes, max_chance))
    return tuple(features)


def _compare_bins(name: str, counts: Counts, found: Counts, limits: Shares, bound: float, max_chance: float) -> Feature:
    """Two-sample Kolmogorov-Smirnov test over the profile's bins.

    Binning can only reduce the distance, and stratifying by class can only reduce its variance, so the p-value is an
    upper bound.

    Args:
        name: name of the feature.
        counts: images of the profile, (classes, bins).
        found: images of the window, (slices, classes, bins).
        limits: upper limits of the bins, (bins - 1,).
        bound: maximum distance.
        max_chance: significance level.
    """
    sizes, rows = counts.sum(axis=1), found.sum(axis=(1, 2))
    given = np.cumsum(counts, axis=1)[:, :-1] / np.maximum(sizes, 1)[:, None]  # below each limit, by class
    given[sizes == 0] = np.cumsum(counts.sum(axis=0))[:-1] / sizes.sum()  # class without reference images: use all
    shares = found.sum(axis=(0, 2)) / rows.sum()
    below = np.cumsum(found.sum(axis=1), axis=1)[:, :-1] / rows[:, None]
    surplus = below - found.sum(axis=2) / rows[:, None] @ given  # (slices, bins - 1)
    distance = float(np.abs(rows @ surplus / rows.sum()).max(initial=0))
    clumps = _design_effect(surplus, shares @ (given * (1 - given)), rows.sum())
    variance = clumps / rows.sum() + float((shares**2 / np.where(sizes > 0, sizes, sizes.sum())).sum())
    expected, now = (np.diff(curve, prepend=0, append=1) for curve in (shares @ given, rows @ below / rows.sum()))
    return Feature(
        name=name,
        reference=_summarize(name, expected, limits),
        now=_summarize(name, now, limits),
        distance=distance,
        bound=bound,
        chance=float(kolmogorov(distance / np.sqrt(variance))),
        max_chance=max_chance,
        clumps=clumps,
        expected=tuple(expected.tolist()),
        found=tuple(now.tolist()),
    )


def _compare_classes(
    classes: Sequence[str], sizes: NDArray[np.int64], found: Counts, bound: float, max_chance: float
) -> Feature:
    """Total variation distance, and Pearson's chi-squared test of two samples corrected by the design effect.

    Args:
        classes: class names.
        sizes: images of the profile by class, (classes,).
        found: images of the window, (slices, classes).
        bound: maximum distance.
        max_chance: significance level.
    """
    seen = found.sum(axis=0)
    expected, shares, together = (counts / counts.sum() for counts in (sizes, seen, sizes + seen))
    clumps = _design_effect(found / found.sum(axis=1, keepdims=True), shares * (1 - shares), seen.sum())
    some = together > 0
    rows = seen.sum() / clumps
    squares = sum(
        count * float(((part - together)[some] ** 2 / together[some]).sum())
        for count, part in ((rows, shares), (sizes.sum(), expected))
    )
    most = int(np.argmax(np.abs(shares - expected)))
    return Feature(
        name=MIX,
        reference=float(expected[most]),
        now=float(shares[most]),
        distance=float(np.abs(shares - expected).sum() / 2),
        bound=bound,
        chance=float(chdtrc(max(np.count_nonzero(some) - 1, 1), squares)) if rows >= COCHRAN * len(sizes) else 1.0,
        max_chance=max_chance,
        clumps=clumps,
        expected=tuple(expected.tolist()),
        found=tuple(shares.tolist()),
        most_moved=classes[most],
    )


def _design_effect(shares: Shares, variances: Shares, rows: int) -> float:
    """Return the variance of shares between slices, relative to that of independent images; at least 1.

    Args:
        shares: shares per slice, (slices, k).
        variances: variances of one image, (k,).
        rows: number of images in all slices.
    """
    between = shares.var(axis=0, ddof=1).sum() * rows / SLICES
    return max(1.0, float(between / variances.sum())) if variances.sum() > 0 else 1.0


def _summarize(name: str, shares: Shares, limits: Shares) -> float:
    """Return the share of a rate; for other features, the upper limit of the bin that contains the median."""
    if name in (NOT_SURE, UNKNOWN):
        return float(shares[0])
    return float(limits[min(int(np.searchsorted(np.cumsum(shares), 0.5)), len(limits) - 1)]) if len(limits) else 0.0
