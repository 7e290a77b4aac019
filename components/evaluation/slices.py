"""Finds the slices of labelled images on which a model is weaker. Pure: arrays in, `Slices` out.

A slice is the images with one value of an attribute, such as the darkest fifth, or with one value of each of two. It is
weaker if its errors are more than chance explains: Fisher's exact test against all other images, one-sided, corrected
for the number of slices (Holm, doi:10.2307/4615733), and the 95 % interval of its accuracy is below the accuracy of all
images. A pair must differ in this way from the rest of both of its slices, so that it says more than they do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from components.contract import Natural, Positive, Share
from components.evaluation.attributes import Attribute, Groups, to_groups
from components.intervals import wilson

CHANCE = 0.05  # of calling any slice weaker where none is
LEVEL = 0.95  # of the intervals
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Slice:
    """A model's accuracy on the images of one slice."""

    by: tuple[str, ...]  # attributes: one, or two for a pair
    values: tuple[str, ...]  # the value of each: "0.5 to 31.2"
    images: Natural
    right: Natural  # images that are classified correctly
    accuracy: Share
    interval: tuple[Share, Share]  # of the accuracy, Wilson's, 95 %
    abstained: Share  # share of the images on which the model abstains
    by_classes: Share  # accuracy that its classes explain: the mean accuracy of the class of each of its images
    chance: Share  # p-value, after the correction for the number of slices
    weaker: bool

    @property
    def name(self) -> str:
        """Its attributes and values: "brightness 0.5 to 31.2, class coat"."""
        return ", ".join(f"{by} {value}" for by, value in zip(self.by, self.values, strict=True))


@dataclass(frozen=True)
class Slices:
    """A model's accuracy by slices, the weaker ones first, then by accuracy."""

    on: str  # the images: "test images"
    images: Positive
    accuracy: Share
    interval: tuple[Share, Share]  # Wilson's, 95 %
    abstained: Share
    chance: Share  # of calling any slice or pair weaker where none is
    slices: tuple[Slice, ...]
    pairs: tuple[Slice, ...]  # only the weaker ones
    pairs_tested: Natural
    notes: tuple[str, ...] = ()  # what is merged or left out

    @property
    def weaker(self) -> tuple[Slice, ...]:
        """The slices that are weaker."""
        return tuple(one for one in self.slices if one.weaker)


@dataclass(frozen=True)
class _Counts:
    """Counts of k groups of images, (k,) each."""

    images: Counts
    wrong: Counts
    abstained: Counts
    by_classes: Floats  # expected number of correct images, see `Slice.by_classes`

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "_Counts":
        return _Counts(self.images[rows], self.wrong[rows], self.abstained[rows], self.by_classes[rows])


@dataclass(frozen=True)
class _Answers:
    """The answers to n images, (n,) each."""

    wrong: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    by_classes: Floats  # accuracy of each image's class

    def count(self, codes: NDArray[np.intp], size: int) -> _Counts:
        """Count by group, (size,) each; a code of -1 is in no group."""
        kept = codes >= 0
        codes = codes[kept]
        return _Counts(
            images=np.bincount(codes, minlength=size),
            wrong=np.bincount(codes[self.wrong[kept]], minlength=size),
            abstained=np.bincount(codes[self.abstained[kept]], minlength=size),
            by_classes=np.bincount(codes, self.by_classes[kept], size).astype(np.float64),
        )


def find_slices(
    on: str,
    right: NDArray[np.bool_],
    sure: NDArray[np.bool_],
    labels: NDArray[np.integer],
    attributes: Sequence[Attribute],
    chance: float = CHANCE,
) -> Slices:
    """Measure a model's accuracy by slices.

    Args:
        on: The images, in words.
        right: Whether each prediction is correct, (n,), n at least 1.
        sure: Whether the model does not abstain, (n,).
        labels: True labels, (n,).
        attributes: What to slice by, (n,) each.
        chance: Largest probability of calling any slice or pair weaker where none is. Slices and pairs share it.
    """
    images, accuracy = len(right), float(right.mean())
    counted = np.bincount(labels)
    by_label = np.bincount(labels, right) / np.maximum(counted, 1)
    answers = _Answers(~right, ~sure, by_label[labels])
    found = [to_groups(attribute) for attribute in attributes]
    groups = [one for one in found if len(one.names) > 1]
    level = chance / 2 if len(groups) > 1 else chance
    pairs = list(_pair(groups, answers))
    weaker, tested = _find_weaker_pairs(pairs, accuracy, level)
    return Slices(
        on=on,
        images=images,
        accuracy=accuracy,
        interval=_bounds(images, images - int(answers.wrong.sum())),
        abstained=float(answers.abstained.mean()),
        chance=chance,
        slices=_sort(_test_singles(groups, answers, accuracy, level)),
        pairs=_sort(weaker),
        pairs_tested=tested,
        notes=tuple(note for one in found for note in one.notes),
    )


def holm(chances: Floats) -> Floats:
    """Correct p-values, (k,), for their number: Holm's step-down, valid for tests that depend on each other."""
    order = np.argsort(chances, kind="stable")
    steps = np.maximum.accumulate(chances[order] * np.arange(len(chances), 0, -1))
    corrected = np.empty(len(chances))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def fisher(wrong: Counts, images: Counts, all_wrong: Counts | int, all_images: Counts | int) -> Floats:
    """Return the chances of at least so many errors in a part of images, if all were equally difficult, (k,).

    Args:
        wrong: Errors of each part, (k,).
        images: Images of each part, (k,).
        all_wrong: Errors among all images that the part was taken from.
        all_images: Number of these.
    """
    found: Floats = np.clip(hypergeom.sf(wrong - 1, all_images, all_wrong, images), 0, 1)
    return found


def _test_singles(groups: Sequence[Groups], answers: _Answers, accuracy: float, level: float) -> list[Slice]:
    counts = [answers.count(one.codes, len(one.names)) for one in groups]
    if not counts:
        return []
    names = [((one.by,), (name,)) for one in groups for name in one.names]
    joined = _join(counts)
    chances = holm(fisher(joined.wrong, joined.images, int(answers.wrong.sum()), len(answers.wrong)))
    return list(_to_slices(names, joined, chances, accuracy, level))


@dataclass(frozen=True)
class _Pairs:
    """The pairs of the values of two attributes that have enough images."""

    names: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]
    counts: _Counts
    chances: Floats  # the larger one of the two tests against the rest of each slice


def _pair(groups: Sequence[Groups], answers: _Answers) -> Iterator[_Pairs]:
    for one, other in combinations(groups, 2):
        width = len(other.names)
        both = np.where((one.codes >= 0) & (other.codes >= 0), one.codes * width + other.codes, -1)
        counts = answers.count(both, len(one.names) * width)
        alone = [answers.count(each.codes, len(each.names)) for each in (one, other)]
        places = np.flatnonzero(counts.images >= Groups.LEAST)
        kept, parents = counts[places], [alone[0][places // width], alone[1][places % width]]
        tests = [fisher(kept.wrong, kept.images, parent.wrong, parent.images) for parent in parents]
        names = [
            ((one.by, other.by), (one.names[place // width], other.names[place % width])) for place in places.tolist()
        ]
        yield _Pairs(names, kept, np.maximum(*tests))


def _find_weaker_pairs(pairs: Sequence[_Pairs], accuracy: float, level: float) -> tuple[list[Slice], int]:
    """Return the weaker pairs, and how many were tested."""
    if not pairs:
        return [], 0
    names = [name for one in pairs for name in one.names]
    chances = holm(np.concatenate([one.chances for one in pairs]))
    slices = _to_slices(names, _join([one.counts for one in pairs]), chances, accuracy, level)
    return [one for one in slices if one.weaker], len(names)


def _join(counts: Sequence[_Counts]) -> _Counts:
    fields = ("images", "wrong", "abstained", "by_classes")
    return _Counts(*(np.concatenate([getattr(one, field) for one in counts]) for field in fields))


def _to_slices(
    names: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    counts: _Counts,
    chances: Floats,
    accuracy: float,
    level: float,
) -> Iterator[Slice]:
    lows, highs = wilson(counts.images - counts.wrong, counts.images)
    for place, (by, values) in enumerate(names):
        images, wrong = int(counts.images[place]), int(counts.wrong[place])
        yield Slice(
            by=by,
            values=values,
            images=images,
            right=images - wrong,
            accuracy=(images - wrong) / images,
            interval=(float(lows[place]), float(highs[place])),
            abstained=int(counts.abstained[place]) / images,
            by_classes=min(float(counts.by_classes[place]) / images, 1.0),
            chance=float(chances[place]),
            weaker=bool(chances[place] <= level and highs[place] < accuracy),
        )


def _sort(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    return tuple(sorted(slices, key=lambda one: (not one.weaker, one.accuracy, -one.images)))


def _bounds(images: int, right: int) -> tuple[float, float]:
    low, high = wilson(right, images)
    return float(low), float(high)
