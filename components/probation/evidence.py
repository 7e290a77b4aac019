"""Records of served traffic, cut into consecutive blocks of time: the spread between blocks is the traffic's own."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.monitoring.serving_record import BUCKETS, CONFIDENCE_BINS, ServingRecord

Counts = NDArray[np.int64]

MINUTE, HOUR = 60.0, 3_600.0  # seconds
MIN_BLOCKS = 12  # of the champion's traffic; fewer say little about its spread
AFTER_BLOCKS = 10  # of the new model's


@dataclass(frozen=True)
class Evidence:
    """What was served in b consecutive blocks of time, for c classes."""

    requests: Counts  # answered, (b,)
    errors: Counts  # answered with a status of 500 or more, (b,)
    seconds: Counts  # answered requests by bucket of latency, (b, BUCKETS)
    classes: Counts  # images by predicted class, (b, c)
    not_sure: Counts  # images, (b,)
    checked: Counts  # images for which the model can tell whether they are known, (b,)
    unknown: Counts  # of those, (b,)
    confidence: Counts  # images by bin, (b, CONFIDENCE_BINS)
    span: float  # length of all blocks, seconds

    @property
    def images(self) -> Counts:
        """Classified images, (b,)."""
        found: Counts = self.confidence.sum(axis=1)
        return found

    def merge(self, seconds: float) -> "Evidence":
        """Merge blocks into longer ones, of about so many seconds, if that leaves enough of them.

        Traffic that wanders over hours spreads more between long blocks, so they should be as long as what they judge.
        """
        blocks = len(self.requests)
        together = int(np.clip(seconds / self.span * blocks, 1, max(blocks // MIN_BLOCKS, 1)))
        starts = np.arange(0, blocks, together)
        sums: dict[str, Any] = {
            one.name: np.add.reduceat(getattr(self, one.name), starts, axis=0)
            for one in fields(self)
            if one.name != "span"
        }
        return replace(self, **sums)


def cut(records: Sequence[ServingRecord], since: float, until: float, blocks: int, classes: Sequence[str]) -> Evidence:
    """Add up records by block of time.

    Args:
        records: of one model.
        since: start of the first block, seconds since 1970.
        until: end of the last block.
        blocks: number of blocks, of equal length.
        classes: class names, in the order of `Evidence.classes`; other names are left out.
    """
    middles = np.array([(one.since + one.until) / 2 for one in records])
    places = np.clip(((middles - since) / max(until - since, 1e-9) * blocks).astype(int), 0, blocks - 1)

    def total(name: str) -> Counts:
        sums = np.zeros(blocks, np.int64)
        np.add.at(sums, places, np.array([getattr(one, name) for one in records], np.int64))
        return sums

    def table(field: str, columns: Sequence[str]) -> Counts:
        column_of = {name: column for column, name in enumerate(columns)}
        sums = np.zeros((blocks, len(columns)), np.int64)
        for place, one in zip(places.tolist(), records, strict=True):
            for name, count in getattr(one, field).items():
                if (column := column_of.get(name)) is not None:
                    sums[place, column] += count
        return sums

    return Evidence(
        requests=total("requests"),
        errors=total("errors"),
        seconds=table("seconds", list(map(str, range(BUCKETS)))),
        classes=table("classes", classes),
        not_sure=total("not_sure"),
        checked=total("checked"),
        unknown=total("unknown"),
        confidence=table("confidence", list(map(str, range(CONFIDENCE_BINS)))),
        span=until - since,
    )
