"""What two models' test images let expect: the gate has seen it, so it is not held against the new model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import ModelCard, Profile
from components.monitoring.serving_record import CONFIDENCE_BINS


@dataclass(frozen=True)
class Expected:
    """Differences of a new model from the champion before it, each 0 to 1."""

    not_sure: float = 0.0  # more images below their threshold
    unknown: float = 0.0  # more unknown images
    confidence: float = 0.0  # Kolmogorov-Smirnov distance of the predicted class's probability


NOTHING = Expected()


def expect(before: ModelCard, after: ModelCard) -> Expected:
    """Compare the profiles of two models; nothing is expected if one has none, or they have other test images."""
    old, new = before.profile, after.profile
    if not old or not new or before.test.split_version != after.test.split_version:
        return NOTHING
    sizes = [sum(map(sum, one.counts["confidence"])) for one in (old, new)]
    if not all(sizes):
        return NOTHING
    not_sure = sum(new.not_sure) / sizes[1] - sum(old.not_sure) / sizes[0]
    both = old.unknown and new.unknown
    unknown = sum(new.unknown) / sizes[1] - sum(old.unknown) / sizes[0] if both else 0.0
    distance = float(np.abs(_curve(old) - _curve(new)).max())
    return Expected(max(not_sure, 0.0), max(unknown, 0.0), distance)


def _curve(profile: Profile) -> NDArray[np.float64]:
    """The share of test images below each inner edge of the confidence bins."""
    counts = np.array(profile.counts["confidence"]).sum(axis=0)
    edges = np.arange(1, CONFIDENCE_BINS) / CONFIDENCE_BINS
    limits = [0.0, *profile.limits["confidence"], 1.0]
    shares: NDArray[np.float64] = np.interp(edges, limits, [0.0, *(np.cumsum(counts) / counts.sum())])
    return shares
