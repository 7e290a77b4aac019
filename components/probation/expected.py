"""What two models' test images let expect: the gate has seen it, so it is not held against the new model."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from components.contract import Flips, ModelCard, Profile
from components.intervals import wilson
from components.monitoring.serving_record import CONFIDENCE_BINS


@dataclass(frozen=True)
class Expected:
    """Differences of a new model from the champion before it, each 0 to 1."""

    more_not_sure: float = 0.0  # more images below their threshold
    fewer_not_sure: float = 0.0
    unknown: float = 0.0  # more unknown images
    confidence: float = 0.0  # Kolmogorov-Smirnov distance of the predicted class's probability


NOTHING = Expected()


@dataclass(frozen=True)
class ExpectedChanges:
    """The largest shares of images that are expected to get another label, each 0 to 1."""

    sure: float  # of the images that the champion before is sure of
    not_sure: float
    by_class: dict[str, float] = field(default_factory=dict)  # by the champion's class, on images like the test images
    test_not_sure: float = 0.0  # share of the test images that the champion before is not sure of; 0: not known

    def harder(self, not_sure: float) -> float:
        """How many times as many images the champion before is not sure of as of the test images; at least 1.

        The share of the test images must be known.
        """
        return max(1.0, not_sure / self.test_not_sure)

    def overall(self, not_sure: float) -> float:
        """Of all images, if the champion before is not sure of such a share of them."""
        return self.sure + not_sure * (self.not_sure - self.sure)

    def of_class(self, name: str, not_sure: float) -> float:
        """Of the images that the champion gives a class. More if the images are harder than the test images."""
        usual = self.overall(self.test_not_sure)
        harder = max(1.0, self.overall(not_sure) / usual) if usual else 1.0
        return min(1.0, harder * self.by_class.get(name, 1.0))


def expect(before: ModelCard, after: ModelCard) -> Expected:
    """Compare the profiles of two models, each on its own test images; nothing is expected if one has none.

    Test images change whenever labels are added, and a model of more data may well be sure of more images.
    """
    old, new = before.profile, after.profile
    if not old or not new:
        return NOTHING
    sizes = [sum(map(sum, one.counts["confidence"])) for one in (old, new)]
    if not all(sizes):
        return NOTHING
    not_sure = sum(new.not_sure) / sizes[1] - sum(old.not_sure) / sizes[0]
    both = old.unknown and new.unknown
    unknown = sum(new.unknown) / sizes[1] - sum(old.unknown) / sizes[0] if both else 0.0
    distance = float(np.abs(_curve(old) - _curve(new)).max())
    return Expected(max(not_sure, 0.0), max(-not_sure, 0.0), max(unknown, 0.0), distance)


def _curve(profile: Profile) -> NDArray[np.float64]:
    """The share of test images below each inner edge of the confidence bins."""
    counts = np.array(profile.counts["confidence"]).sum(axis=0)
    edges = np.arange(1, CONFIDENCE_BINS) / CONFIDENCE_BINS
    limits = [0.0, *profile.limits["confidence"], 1.0]
    shares: NDArray[np.float64] = np.interp(edges, limits, [0.0, *(np.cumsum(counts) / counts.sum())])
    return shares


def expect_changes(before: ModelCard, after: ModelCard, flips: Flips | None = None) -> ExpectedChanges:
    """What two models' test images let expect of the labels.

    Args:
        before: card of the champion before.
        after: card of the new model.
        flips: what the gate counted when it compared the two; None: it did not. Two models that are both right agree,
            so then at most the sum of their errors is expected, and of the images that the first one gives a class,
            those outside it (1 - precision) and those that the second one does not find (1 - recall).
    """
    if flips and (total := flips.sure[0] + flips.not_sure[0]):
        by_class = {name: _upper(*pair) for name, pair in flips.by_class.items()}
        return ExpectedChanges(_upper(*flips.sure), _upper(*flips.not_sure), by_class, flips.not_sure[0] / total)
    profile = before.profile
    sizes = sum(map(sum, profile.counts["confidence"])) if profile else 0
    test_not_sure = sum(profile.not_sure) / sizes if profile and sizes else 0.0
    recalls = {one.name: one.recall for one in after.test.classes}
    by_class = {
        one.name: min(1.0, (1 - one.precision) + (1 - recalls[one.name]))
        for one in before.test.classes
        if one.name in recalls and one.support
    }
    most = min(1.0, 2 - before.test.accuracy - after.test.accuracy)
    return ExpectedChanges(most, most, by_class, test_not_sure)


def _upper(images: int, changed: int) -> float:
    """The upper end of the 95 % interval of a share; 1 without images."""
    return float(wilson(changed, images)[1]) if images else 1.0
