"""What the counts of a shadow say: how many answers would change, of which classes, with 95 % intervals."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.intervals import Z_95, wilson
from components.shadow.counts import PairCount, ShadowCounts

NAMED = 3  # label changes in the sentence
MIN_IMAGES = 20  # of a class, to be named in the sentence
MIN_SHARE = 0.01  # of a class, to be named in the sentence


@dataclass(frozen=True)
class Proportion:
    """A part of some images, and Wilson's score interval.

    It assumes that the images are independent. Pictures of one upload are not, so the true interval may be wider.
    """

    count: int
    of: int  # at least 1
    z: float = Z_95  # standard errors of the interval

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.count / self.of

    @property
    def low(self) -> float:
        """Lower end of the interval, 0 to 1."""
        return float(wilson(self.count, self.of, self.z)[0])

    @property
    def high(self) -> float:
        """Upper end of the interval, 0 to 1."""
        return float(wilson(self.count, self.of, self.z)[1])

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f} %)"

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {"count": self.count, "of": self.of, "share": self.share, "interval": [self.low, self.high]}


@dataclass(frozen=True)
class ClassFlips:
    """The images that the champion gives one label."""

    name: str
    changed: Proportion
    to: tuple[tuple[str, Proportion], ...]  # other labels of the candidate, most frequent first


@dataclass(frozen=True)
class ShadowVerdict:
    """The counts of a shadow, as proportions."""

    counts: ShadowCounts

    @property
    def changed(self) -> Proportion | None:
        """Mirrored images with another label; None if nothing was mirrored."""
        return Proportion(self.counts.changed, self.counts.mirrored) if self.counts.mirrored else None

    @property
    def coverage(self) -> Proportion | None:
        """Images that were mirrored, of those that were seen; None if none was seen."""
        return Proportion(self.counts.mirrored, self.counts.seen) if self.counts.seen else None

    @cached_property
    def classes(self) -> tuple[ClassFlips, ...]:
        """The champion's labels, those that change most first."""
        pairs = defaultdict[str, list[PairCount]](list)
        for one in self.counts.pairs:
            pairs[one.champion].append(one)
        found = [_weigh_class(name, some) for name, some in pairs.items()]
        return tuple(sorted(found, key=lambda one: (-one.changed.low, one.name)))

    def __str__(self) -> str:
        if not self.changed:
            return "no image has been mirrored yet"
        named = [f"{100 * part.share:.0f} % of {name} become {other}" for name, other, part in self._worst()]
        return "; ".join([f"would change {self.changed} of answers", *named])

    def _worst(self) -> list[tuple[str, str, Proportion]]:
        """The label changes that most likely concern the largest share of a class."""
        found = [
            (one.name, other, part)
            for one in self.classes
            for other, part in one.to
            if part.of >= MIN_IMAGES and part.share >= MIN_SHARE
        ]
        return sorted(found, key=lambda one: -one[2].low)[:NAMED]

    def describe(self) -> Iterator[tuple[str, str]]:
        """Yield what people want to know: a name and a value each."""
        counts = self.counts
        yield "verdict", str(self)
        share = f" ({100 * self.coverage.share:.1f} %)" if self.coverage else ""
        yield "mirrored", f"{counts.mirrored:,} of {counts.seen:,} images seen{share}"
        yield "skipped", ", ".join(f"{reason} {images:,}" for reason, images in sorted_reasons(counts)) or "none"
        if counts.mirrored:
            sure = (counts.champion_sure, counts.candidate_sure, counts.both_sure)
            champion, candidate, both = (100 * one / counts.mirrored for one in sure)
            yield "sure", f"champion {champion:.1f} %, candidate {candidate:.1f} %, both {both:.1f} %"
        half, most = counts.seconds_at(0.5), counts.seconds_at(0.99)
        if half and most:
            times = f"half below {1000 * half:.3g} ms, 99 % below {1000 * most:.3g} ms"
            yield "processor time", f"{times} per image of the candidate, in batches"
        if counts.error:
            yield "last error", counts.error
        if counts.unreadable:
            yield "damaged", f"{counts.unreadable} files of counts cannot be read; their images are missing"

    def to_json(self) -> dict[str, Any]:
        """Return everything for JSON."""
        counts = self.counts
        plain = ("champion", "candidate", "since", "until", "seen", "mirrored", "skipped", "failed", "error")
        return {
            "verdict": str(self),
            **{name: getattr(counts, name) for name in plain},
            "changed": self.changed.to_json() if self.changed else None,
            "coverage": self.coverage.to_json() if self.coverage else None,
            "sure": {name: getattr(counts, f"{name}_sure") for name in ("champion", "candidate", "both")},
            "cpu_seconds": {"total": counts.cpu_seconds, "p50": counts.seconds_at(0.5), "p99": counts.seconds_at(0.99)},
            "classes": [
                {
                    "name": one.name,
                    "changed": one.changed.to_json(),
                    "to": [{"name": other, **part.to_json()} for other, part in one.to],
                }
                for one in self.classes
            ],
            "unreadable": counts.unreadable,
        }


def sorted_reasons(counts: ShadowCounts) -> list[tuple[str, int]]:
    """Reasons for skipped images and their numbers, most frequent first."""
    return sorted(counts.skipped.items(), key=lambda one: (-one[1], one[0]))


def _weigh_class(name: str, pairs: list[PairCount]) -> ClassFlips:
    images = sum(one.images for one in pairs)
    changed = sum(one.images for one in pairs if not one.same)
    other = [(one.candidate, Proportion(one.images, images)) for one in pairs if not one.same]
    return ClassFlips(name, Proportion(changed, images), tuple(sorted(other, key=lambda one: -one[1].count)))
