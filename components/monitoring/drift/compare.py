"""A profile and what was seen -> how far each feature is from it, and whether that is more than chance.

Brightness and confidence differ from class to class, so that more shoes alone would move them. Everything but the mix
of classes is therefore held against the profile's images of the same predicted classes in the same shares.

Every distance is a share of the images, 0 to 1, and every feature asks two questions: is it enough to matter (a bound),
and is it more than chance (a p-value, Bonferroni's correction over the features). Images that come together are alike,
so that a hundred of them tell less than a hundred that have nothing to do with each other. How much less is measured
in the window itself: it is cut into stretches of time, and where these differ more than chance would have them, the
test takes the images for as many fewer (a design effect, as Rao and Scott divide by, doi:10.1214/aos/1176346391).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from components.contract import Profile
from components.evaluation.profile import Seen, count_bins
from components.monitoring.drift.bounds import DriftBounds
from components.readers.images.statistics import MEASURES

NOT_SURE, MIX = "not sure", "classes"
STRETCHES = 20  # of a window
COCHRAN = 5  # images a class, that come one by one, on the mean: with fewer, Pearson's test is no test
Shares = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Feature:
    """One question of a window, and its answer."""

    name: str
    reference: float  # what is expected: a mean, or a share of the images
    now: float  # likewise
    distance: float  # a share of the images, 0 to 1
    bound: float  # of the distance
    chance: float  # the p-value
    max_chance: float  # the bound of that
    clumps: float  # the design effect: so many images tell as much as one, because they come together
    expected: tuple[float, ...]  # shares of the images in each bin or class
    found: tuple[float, ...]
    most_moved: str = ""  # of the mix: the class that `reference` and `now` are of

    @property
    def drifted(self) -> bool:
        """Whether it is far away, and not by chance."""
        return self.distance > self.bound and self.chance < self.max_chance


def compare(
    profile: Profile, classes: Sequence[str], seen: Seen, bounds: DriftBounds, measures: Sequence[str] = MEASURES
) -> tuple[Feature, ...]:
    """Hold n images against a profile: their measures, the share of unsure answers, the mix of classes.

    Args:
        profile: the model's.
        classes: their names, by label.
        seen: different images in the order of time, at least 30.
        bounds: of distance and chance.
        measures: those that `seen` has.
    """
    sizes = np.array(profile.counts[MEASURES[0]]).sum(axis=1)
    max_chance = bounds.chance / (len(measures) + 2)
    features = []
    for measure in measures:
        limits, counts = np.array(profile.limits[measure]), np.array(profile.counts[measure])
        found = count_bins(seen, measure, limits, len(sizes), STRETCHES)
        features.append(_compare_bins(measure, counts, found, limits, bounds.shift, max_chance))
    unsure = np.array(profile.not_sure)
    counts, limits = np.stack([unsure, sizes - unsure], axis=1), np.array([0.5])
    found = count_bins(seen, "sure", limits, len(sizes), STRETCHES)
    features.append(_compare_bins(NOT_SURE, counts, found, limits, bounds.not_sure, max_chance))
    features.append(_compare_classes(classes, sizes, found.sum(axis=2), bounds.classes, max_chance))
    return tuple(features)


def _compare_bins(name: str, counts: Counts, found: Counts, limits: Shares, bound: float, max_chance: float) -> Feature:
    """Kolmogorov's and Smirnov's distance of two samples over the profile's bins.

    The bins can only make it smaller, and drawing each class in its share can only make it vary less, so that the
    p-value is an upper bound.

    Args:
        name: the feature's.
        counts: the profile's images, (classes, bins).
        found: the window's, (stretches, classes, bins).
        limits: of the bins, (bins - 1,).
        bound: of the distance.
        max_chance: of the p-value.
    """
    sizes, rows = counts.sum(axis=1), found.sum(axis=(1, 2))
    given = np.cumsum(counts, axis=1)[:, :-1] / np.maximum(sizes, 1)[:, None]  # below each limit, by class
    given[sizes == 0] = np.cumsum(counts.sum(axis=0))[:-1] / sizes.sum()  # of a class nobody has seen: as of any
    shares = found.sum(axis=(0, 2)) / rows.sum()
    below = np.cumsum(found.sum(axis=1), axis=1)[:, :-1] / rows[:, None]
    surplus = below - found.sum(axis=2) / rows[:, None] @ given  # (stretches, bins - 1)
    distance = float(np.abs(rows @ surplus / rows.sum()).max(initial=0))
    clumps = _clumping(surplus, shares @ (given * (1 - given)), rows.sum())
    variance = clumps / rows.sum() + float((shares**2 / np.where(sizes > 0, sizes, sizes.sum())).sum())
    expected, now = (np.diff(told, prepend=0, append=1) for told in (shares @ given, rows @ below / rows.sum()))
    return Feature(
        name=name,
        reference=_tell(name, expected, limits),
        now=_tell(name, now, limits),
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
    """Total variation, and Pearson's test of two samples of counts, divided by the design effect.

    Args:
        classes: their names.
        sizes: the profile's images of each class, (classes,).
        found: the window's, (stretches, classes).
        bound: of the distance.
        max_chance: of the p-value.
    """
    seen = found.sum(axis=0)
    expected, shares, together = (counts / counts.sum() for counts in (sizes, seen, sizes + seen))
    clumps = _clumping(found / found.sum(axis=1, keepdims=True), shares * (1 - shares), seen.sum())
    some = together > 0
    rows = seen.sum() / clumps
    squares = sum(
        count * float(((told - together)[some] ** 2 / together[some]).sum())
        for count, told in ((rows, shares), (sizes.sum(), expected))
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


def _clumping(shares: Shares, variances: Shares, rows: int) -> float:
    """How many times as much shares vary between stretches as they would among images that come one by one; 1 or more.

    Args:
        shares: (stretches, k).
        variances: of one image, (k,).
        rows: images in all stretches.
    """
    between = shares.var(axis=0, ddof=1).sum() * rows / STRETCHES
    return max(1.0, float(between / variances.sum())) if variances.sum() > 0 else 1.0


def _tell(name: str, shares: Shares, limits: Shares) -> float:
    """The share that is not sure; else the limit of the bin in which the median is."""
    if name == NOT_SURE:
        return float(shares[0])
    return float(limits[min(int(np.searchsorted(np.cumsum(shares), 0.5)), len(limits) - 1)]) if len(limits) else 0.0
