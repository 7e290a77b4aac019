"""What images are sliced by: attributes, and their groups of images that are large enough to judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from components.contract import Images
from components.readers.images.statistics import measure_images

BINS = 5  # quantile bins of an attribute of numbers
FEW = 10  # an attribute of numbers with at most so many different ones is sliced by number
MISSING = "missing"
MEASURED = {"mean": "brightness", "contrast": "contrast", "cover": "size"}  # statistic -> attribute
AT_ONCE = 1024  # images measured at a time


@dataclass(frozen=True)
class Attribute:
    """A property of n images: numbers, or one of several values."""

    name: str
    values: NDArray[Any]  # float (n,), NaN: missing; with `names`, the place of the value there, int (n,), -1: missing
    names: tuple[str, ...] | None = None  # of the values


@dataclass(frozen=True)
class Groups:
    """Groups of images by the values of an attribute, each of at least 30 images."""

    LEAST: ClassVar[int] = (
        30  # images; below that, an interval spans more than 20 percentage points at an accuracy of 90 %
    )

    by: str
    names: tuple[str, ...]
    codes: NDArray[np.intp]  # group of each image, (n,), -1: none
    notes: tuple[str, ...] = ()  # what is merged or left out


def measure_attributes(images: Images) -> list[Attribute]:
    """Return brightness, contrast and size of images, (n,): see `components.readers.images.statistics`."""
    starts = range(0, len(images), AT_ONCE)
    measured = [measure_images(images[start : start + AT_ONCE], tuple(MEASURED)) for start in starts]
    return [Attribute(name, np.concatenate([one[key] for one in measured])) for key, name in MEASURED.items()]


def to_groups(attribute: Attribute) -> Groups:
    """Group the images by value. Numbers are divided into quantile bins; small groups are merged, or left out."""
    names, codes = _number(attribute) if attribute.names is None else _name(attribute.values, attribute.names)
    names, codes, notes = _merge_small(attribute.name, names, codes, can_merge=attribute.names is not None)
    if len(names) < 2:
        notes = (*notes, f"{attribute.name}: not sliced, expected two values or more with {Groups.LEAST} images each")
    return Groups(attribute.name, names, codes, notes)


def _name(places: NDArray[np.integer], names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the values, `MISSING` last, and the place of each image's value, (n,)."""
    codes = places.astype(np.intp)
    return (*names, MISSING), np.where(codes < 0, len(names), codes)


def _number(attribute: Attribute) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the bins, `MISSING` last, and the bin of each image, (n,)."""
    values = attribute.values.astype(np.float64)
    known = np.isfinite(values)
    different = np.unique(values[known])
    if len(different) <= FEW:
        codes = np.searchsorted(different, values)
        return (*(f"{value:g}" for value in different), MISSING), np.where(known, codes, len(different))
    bins = max(1, min(BINS, int(known.sum()) // Groups.LEAST))
    edges = np.unique(np.quantile(values[known], np.arange(1, bins) / bins))
    codes = np.where(known, np.searchsorted(edges, values, side="right"), len(edges) + 1)
    names = [_describe_range(values[codes == code]) for code in range(len(edges) + 1)]
    return (*names, MISSING), codes


def _describe_range(values: NDArray[np.float64]) -> str:
    low, high = (_format(end) for end in (values.min(initial=np.inf), values.max(initial=-np.inf)))
    return low if low == high else f"{low} to {high}"


def _format(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _merge_small(
    by: str, names: tuple[str, ...], codes: NDArray[np.intp], can_merge: bool
) -> tuple[tuple[str, ...], NDArray[np.intp], tuple[str, ...]]:
    """Return the groups of at least `Groups.LEAST` images. Smaller ones become one if they are that large together."""
    counts = np.bincount(codes, minlength=len(names))
    large, small = counts >= Groups.LEAST, (counts > 0) & (counts < Groups.LEAST)
    places = np.full(len(names), -1, np.intp)
    places[large] = np.arange(large.sum())
    kept = tuple(name for name, is_large in zip(names, large, strict=True) if is_large)
    together, rare = int(counts[small].sum()), int(small.sum())
    if not rare:
        return kept, places[codes], ()
    which = f"{by}: {rare:,} value{'s' * (rare > 1)} with fewer than {Groups.LEAST} images"
    if can_merge and together >= Groups.LEAST:
        places[small] = len(kept)
        return (*kept, f"{rare:,} rare values"), places[codes], (f"{which} are one slice of {together:,} images",)
    left_out = f"{which} {'are' if rare > 1 else 'is'} left out: {together:,} image{'s' * (together > 1)}"
    return kept, places[codes], (left_out,)
