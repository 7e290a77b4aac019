"""A profile and what was seen -> how far each feature is from it, and whether that is more than chance.

Brightness and confidence differ from class to class, so that more shoes alone would move them. Everything but the mix
of classes is therefore held against the profile's images of the same predicted classes in the same shares. Every
distance is a share of the images, 0 to 1, and every feature asks two questions: is it more than chance (a p-value,
Bonferroni's correction over the features), and is it enough to matter (a bound).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, erfc, kolmogorov

from components.contract import CLASSES, Profile
from components.drift.bounds import Bounds
from components.monitoring.measures import MEASURES
from components.monitoring.profile import Seen, count_bins

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """One question of a window, and its answer."""

    name: str
    reference: float  # what is expected: a mean, or a share of the images
    now: float  # likewise
    distance: float  # a share of the images, 0 to 1
    bound: float  # of the distance
    chance: float  # the p-value
    most_chance: float  # the bound of that
    expected: tuple[float, ...]  # shares of the images in each bin or class
    found: tuple[float, ...]

    @property
    def drifted(self) -> bool:
        """Whether it is far away, and not by chance."""
        return self.distance > self.bound and self.chance < self.most_chance


@dataclass(frozen=True)
class Reference:
    """A profile, held against n images: its images of class c count as often as c is among the n."""

    profile: Profile
    seen: Seen  # (n,), n at least 1
    shares: Shares  # of the predicted classes among the n, (10,)
    weights: Shares  # of the profile's classes, (10,): the same, but for classes that the profile has no image of
    sizes: NDArray[np.int64]  # the profile's images, (10,)

    @property
    def variance(self) -> float:
        """Of a share that is measured on both: times p (1 - p)."""
        some = self.sizes > 0
        return 1 / len(self.seen) + float((self.weights[some] ** 2 / self.sizes[some]).sum())


def compare(profile: Profile, seen: Seen, bounds: Bounds, measures: Sequence[str] = MEASURES) -> tuple[Feature, ...]:
    """Hold n images against a profile: their measures, the share of unsure answers, the mix of classes.

    Args:
        profile: the model's.
        seen: different images, at least 1.
        bounds: of distance and chance.
        measures: those that `seen` has.
    """
    sizes = np.array(profile.counts[MEASURES[0]]).sum(axis=1)
    shares = np.bincount(seen["label"], minlength=len(CLASSES)) / len(seen)
    known = np.where(sizes > 0, shares, 0)
    weights = known / known.sum() if known.any() else sizes / sizes.sum()
    reference = Reference(profile, seen, shares, weights, sizes)
    most_chance = bounds.chance / (len(measures) + 2)
    return (
        *(_compare_measure(reference, measure, bounds.shift, most_chance) for measure in measures),
        _compare_sure(reference, bounds.not_sure, most_chance),
        _compare_classes(reference, bounds.classes, most_chance),
    )


def _compare_measure(reference: Reference, measure: str, bound: float, most_chance: float) -> Feature:
    """Kolmogorov's and Smirnov's distance of two samples over the profile's bins.

    The bins can only make it smaller, and drawing each class in its share can only make it vary less, so that the
    p-value is an upper bound.
    """
    limits = np.array(reference.profile.limits[measure])
    counts = np.array(reference.profile.counts[measure])
    expected = reference.weights @ (counts / np.maximum(reference.sizes, 1)[:, None])
    found = count_bins(reference.seen, measure, limits).sum(axis=0) / len(reference.seen)
    distance = float(np.abs(np.cumsum(found - expected)[:-1]).max(initial=0))
    return Feature(
        name=measure,
        reference=_median(expected, limits),
        now=_median(found, limits),
        distance=distance,
        bound=bound,
        chance=float(kolmogorov(distance / np.sqrt(reference.variance))),
        most_chance=most_chance,
        expected=tuple(expected.tolist()),
        found=tuple(found.tolist()),
    )


def _compare_sure(reference: Reference, bound: float, most_chance: float) -> Feature:
    """The two-sided test of two shares; the half an image more keeps a share of nothing from having no variance."""
    rates = np.array(reference.profile.not_sure) / np.maximum(reference.sizes, 1)
    expected, found = float(reference.weights @ rates), float(np.mean(~reference.seen["sure"]))
    pooled = (found * len(reference.seen) + expected / reference.variance + 0.5) / (
        len(reference.seen) + 1 / reference.variance + 1
    )
    deviation = np.sqrt(pooled * (1 - pooled) * reference.variance)
    distance = abs(found - expected)
    return Feature(
        name="not sure",
        reference=expected,
        now=found,
        distance=distance,
        bound=bound,
        chance=float(erfc(distance / deviation / np.sqrt(2))),
        most_chance=most_chance,
        expected=(1 - expected, expected),
        found=(1 - found, found),
    )


def _compare_classes(reference: Reference, bound: float, most_chance: float) -> Feature:
    """Total variation, and Pearson's test of two samples of counts."""
    seen, known = reference.shares * len(reference.seen), reference.sizes
    shares = known / known.sum()
    together = (seen + known) / (seen.sum() + known.sum())
    some = together > 0
    squares = sum(
        float(((counts - counts.sum() * together)[some] ** 2 / (counts.sum() * together)[some]).sum())
        for counts in (seen, known)
    )
    most = int(np.argmax(np.abs(reference.shares - shares)))
    return Feature(
        name="classes",
        reference=float(shares[most]),
        now=float(reference.shares[most]),
        distance=float(np.abs(reference.shares - shares).sum() / 2),
        bound=bound,
        chance=float(chdtrc(max(np.count_nonzero(some) - 1, 1), squares)),
        most_chance=most_chance,
        expected=tuple(shares.tolist()),
        found=tuple(reference.shares.tolist()),
    )


def _median(shares: Shares, limits: Shares) -> float:
    """The upper limit of the bin in which half of the images are reached, as far as bins can tell."""
    if not len(limits):
        return float("nan")
    return float(limits[min(int(np.searchsorted(np.cumsum(shares), 0.5)), len(limits) - 1)])
