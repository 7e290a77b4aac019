"""What was seen -> windows with enough different images in each, and what the newest of them say together.

A window is an hour, counted back from now, or as many hours as it takes until there are enough different images.
Repeats of an image within a window count once: a health check or a client that retries is not traffic.
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
    """A stretch of time, and what came in it."""

    since: float  # seconds since 1970; what came at exactly that time is not in it
    until: float
    lines: int  # images
    images: int  # different ones
    features: tuple[Feature, ...]  # () where there are too few images

    @cached_property
    def drifted(self) -> tuple[str, ...]:
        """The features that have."""
        return tuple(feature.name for feature in self.features if feature.drifted)

    @property
    def verdict(self) -> Verdict:
        """Of this window alone."""
        return "drift" if self.drifted else "calm" if self.features else "too few"


Look = Callable[[Seen, float, float], Window]


def cut_windows(seen: Seen, until: float, hours: int, min_images: int, look: Look) -> Iterator[Window]:
    """Cut windows, the newest first; the last may have too few images.

    Args:
        seen: in the order of time.
        until: seconds since 1970; the end of the newest window.
        hours: how far back to look.
        min_images: different ones, of a window.
        look: images, since, until -> the window, judged where it has enough.
    """
    edges = np.searchsorted(seen["time"], until - HOUR * np.arange(hours + 1), side="right")
    begun = 0
    for hour in range(1, hours + 1):
        part = seen[edges[hour] : edges[begun]]
        if len(part) >= min_images or (hour == hours and len(part)):
            window = look(part, until - HOUR * hour, until - HOUR * begun)
            if window.features or hour == hours:
                yield window
                begun = hour


def look_at(
    profile: Profile,
    classes: Sequence[str],
    bounds: DriftBounds,
    seen: Seen,
    since: float,
    until: float,
    measures: Sequence[str] = MEASURES,
) -> Window:
    """Hold the different images of a stretch of time against a profile, if there are enough."""
    different = seen[np.sort(np.unique(seen["hash"], return_index=True)[1])]
    features = compare(profile, classes, different, bounds, measures) if len(different) >= bounds.min_images else ()
    return Window(since, until, len(seen), len(different), features)


def judge_windows(
    profile: Profile, classes: Sequence[str], seen: Seen, until: float, hours: int, bounds: DriftBounds
) -> tuple[Window, ...]:
    """The windows of a time, newest first, each held against the profile. See `cut_windows`."""
    return tuple(cut_windows(seen, until, hours, bounds.min_images, partial(look_at, profile, classes, bounds)))


def weigh(windows: tuple[Window, ...], bounds: DriftBounds) -> Verdict:
    """What the newest windows say together: drift where enough of them do.

    Args:
        windows: newest first.
        bounds: how many are looked at, and how many must drift.
    """
    judged = [window for window in windows if window.features][: bounds.windows]
    if not judged:
        return "too few"
    return "drift" if sum(bool(window.drifted) for window in judged) >= bounds.drifting else "calm"
