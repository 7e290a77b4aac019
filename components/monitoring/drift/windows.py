"""Split traffic into windows with enough distinct images, and derive the verdict from the newest windows.

A window is one hour, counted back from now, or as many hours as it takes to collect enough distinct images. Repeats of
an image in a window count once, so health checks and retries do not count as traffic.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np

from components.contract import Profile
from components.evaluation.profile import Seen
from components.monitoring.drift.bounds import DriftBounds
from components.monitoring.drift.compare import Feature, compare
from components.readers.images.statistics import MEASURES

HOUR = 3600  # seconds

Verdict = Literal["drift", "calm", "too few"]


@dataclass(frozen=True)
class Window:
    """A period of time and its traffic."""

    since: float  # seconds since 1970, exclusive
    until: float  # seconds since 1970, inclusive
    lines: int  # images
    images: int  # distinct images
    features: tuple[Feature, ...]  # (): too few images

    @cached_property
    def drifted(self) -> tuple[str, ...]:
        """The names of the features that drifted."""
        return tuple(feature.name for feature in self.features if feature.drifted)

    @property
    def verdict(self) -> Verdict:
        """The verdict on this window alone."""
        return "drift" if self.drifted else "calm" if self.features else "too few"


Look = Callable[[Seen, float, float], Window]


def cut_windows(seen: Seen, until: float, hours: int, min_images: int, look: Look) -> Iterator[Window]:
    """Split traffic into windows, newest first; the last may have too few images.

    Args:
        seen: traffic in order of time.
        until: end of the newest window, seconds since 1970.
        hours: how far to look back.
        min_images: minimum number of distinct images per window.
        look: images, since, until -> window, with features if it has enough images.
    """
    edges = np.searchsorted(seen["time"], until - HOUR * np.arange(hours + 1), side="right")
    start = 0
    for hour in range(1, hours + 1):
        part = seen[edges[hour] : edges[start]]
        if len(part) >= min_images or (hour == hours and len(part)):
            window = look(part, until - HOUR * hour, until - HOUR * start)
            if window.features or hour == hours:
                yield window
                start = hour


def look_at(
    profile: Profile,
    classes: Sequence[str],
    bounds: DriftBounds,
    seen: Seen,
    since: float,
    until: float,
    measures: Sequence[str] = MEASURES,
) -> Window:
    """Compare the distinct images of a period with a profile, if there are enough."""
    distinct = seen[np.sort(np.unique(seen["hash"], return_index=True)[1])]
    features = compare(profile, classes, distinct, bounds, measures) if len(distinct) >= bounds.min_images else ()
    return Window(since, until, len(seen), len(distinct), features)


def judge_windows(
    profile: Profile, classes: Sequence[str], seen: Seen, until: float, hours: int, bounds: DriftBounds
) -> tuple[Window, ...]:
    """Split traffic into windows and compare each with the profile, newest first. See `cut_windows`."""
    return tuple(cut_windows(seen, until, hours, bounds.min_images, partial(look_at, profile, classes, bounds)))


def weigh(windows: tuple[Window, ...], bounds: DriftBounds) -> Verdict:
    """Derive the verdict: drift if enough of the newest windows drift.

    Args:
        windows: newest first.
        bounds: how many windows to evaluate, and how many must drift.
    """
    judged = [window for window in windows if window.features][: bounds.windows]
    if not judged:
        return "too few"
    return "drift" if sum(bool(window.drifted) for window in judged) >= bounds.drifting else "calm"
