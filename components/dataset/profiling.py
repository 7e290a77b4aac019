"""Profile the first version of a catalogue that passes validation, as the bounds of later versions.

The built-in catalogue defines its bounds in code. For any other, they are measured on the first version that passes,
written to the datasets folder and enforced on every later version:

images        the central 99 % of each measure, widened by a quarter at each end; 2 % of the images may be outside
splits        the mean of each measure, plus or minus 4 standard errors (sampling noise in small splits) and a fifth of
              a standard deviation (slow change)
classes       a third to three times each class's share, so any class imbalance is kept; 5 images are added to both
              counts, so that chance in a small class does not look like a jump
rows          at least half as many

docs/data.md lists what was measured to pass and to fail.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.catalogues import catalogue_of
from components.catalogues.catalogue import Range, ValidationBounds
from components.contract import SPLITS, DataContract, Sha256
from components.errors import DatasetError
from components.files import write_whole
from components.readers.images.statistics import EVERY
from components.records import read_file, read_record

PROFILED = (*EVERY, "contrast", "skew", "warmth")  # columns of `to_frame` for a profiled catalogue
LIMITS: dict[str, Range] = {  # possible values of each measure
    "mean": (0.0, 255.0),
    "deviation": (0.0, 127.5),
    "ink": (0.0, 1.0),
    "edge": (0.0, 255.0),
    "peak": (0.0, 255.0),
    "skew": (-127.5, 127.5),
    "warmth": (-255.0, 255.0),
}
MIDDLE = (0.005, 0.995)  # quantiles that bound the central images
WIDER = 0.25  # margin at each end, as a share of the distance between these quantiles
MIN_WIDER = 0.04  # minimum margin at each end, as a share of the measure's limits: near-constant measures may vary
OUTSIDE = 0.02  # share of a split's images that may be outside the range
FEW = 3  # images that may be outside the range in a small split
SHRINKS = 0.5  # smallest size of a later split, as a share of the profiled one
ERRORS = 4.0  # tolerance of a split's mean, in standard errors
SLOW_CHANGE = 0.2  # added tolerance of a split's mean, in standard deviations of the images
MIN_CHANGE = 0.01  # minimum of that, as a share of the measure's limits
JUMP = 3.0  # largest factor by which a class's share may change
BLUR = 5  # images added to both counts of a class, so that chance in a small class does not look like a jump


@dataclass(frozen=True)
class StoredBounds:
    """The content of `bounds/<catalogue>-<contract>.json` in the datasets folder."""

    contract: Sha256  # the contract's fingerprint
    version: str  # the dataset that was profiled
    bounds: ValidationBounds


def profile_bounds(frame: pd.DataFrame, contract: DataContract) -> ValidationBounds:
    """Measure bounds for later versions on a version that passed.

    Args:
        frame: both splits, from `components.dataset.validate.to_frame`.
        contract: the dataset's contract.
    """
    splits = {split: frame[frame["split"] == split] for split in SPLITS}
    averaged = [name for name in LIMITS if name != "warmth" or contract.image.channels > 1]
    usual = {name: _profile_images(name, frame[name]) for name in EVERY}
    return replace(
        catalogue_of(contract).validation,
        rows={split: (math.ceil(SHRINKS * len(rows)), None) for split, rows in splits.items()},
        mostly={split: _mostly(len(rows)) for split, rows in splits.items()},
        split_means={
            split: {name: _profile_mean(name, rows[name]) for name in averaged} for split, rows in splits.items()
        },
        class_counts={split: _count_classes(rows, contract) for split, rows in splits.items()},
        mean=usual["mean"],
        deviation=usual["deviation"],
        ink=usual["ink"],
        edge=usual["edge"],
        peak=usual["peak"],
    )


def _profile_images(name: str, values: "pd.Series[float]") -> Range:
    least, most = LIMITS[name]
    low, high = np.quantile(values, MIDDLE)
    return _widen(name, low, high, max(WIDER * (high - low), MIN_WIDER * (most - least)))


def _profile_mean(name: str, values: "pd.Series[float]") -> Range:
    """Bounds of a split's mean, with the standard error of the difference to a split half its size."""
    least, most = LIMITS[name]
    mean, deviation = float(values.mean()), float(values.std(ddof=0))
    error = deviation * math.sqrt((1 + 1 / SHRINKS) / len(values))
    return _widen(name, mean, mean, ERRORS * error + max(SLOW_CHANGE * deviation, MIN_CHANGE * (most - least)))


def _widen(name: str, low: float, high: float, pad: float) -> Range:
    """Widen a range by `pad`, rounded outwards to four decimals and clipped to the measure's limits."""
    least, most = LIMITS[name]
    return max(least, math.floor((low - pad) * 1e4) / 1e4), min(most, math.ceil((high + pad) * 1e4) / 1e4)


def _mostly(rows: int) -> float:
    """The share of a later split's images, of which there may be half as many, that must be within the ranges."""
    return round(1 - max(OUTSIDE, min(0.5, FEW / math.ceil(SHRINKS * rows))), 4)


def _count_classes(rows: pd.DataFrame, contract: DataContract) -> dict[str, int]:
    counts = np.bincount(rows["label"], minlength=len(contract.classes))
    return dict(zip(contract.classes, counts.tolist(), strict=True))


def measure_jumps(rows: pd.DataFrame, counts: Mapping[str, int], contract: DataContract) -> "pd.Series[float]":
    """The factor by which each row's class changed its share of the split; 1 means no change.

    Args:
        rows: one split, from `components.dataset.validate.to_frame`.
        counts: class -> images in the profiled split.
        contract: the dataset's contract.

    Returns:
        float64, with the index of `rows`. Both shares are smoothed by `BLUR` images of the smaller version.
    """
    before = np.array([counts[name] for name in contract.classes])
    now = np.bincount(rows["label"], minlength=len(contract.classes))
    blur = BLUR / max(1, min(before.sum(), now.sum()))
    jumps = (now / max(1, now.sum()) + blur) / (before / max(1, before.sum()) + blur)
    return pd.Series(jumps[rows["label"]], rows.index)


def write_bounds(folder: Path, contract: DataContract, bounds: ValidationBounds, version: str = "") -> Path:
    """Write a catalogue's bounds, replacing any stored ones.

    Args:
        folder: the datasets folder.
        contract: the catalogue's contract.
        bounds: from `profile_bounds`.
        version: the dataset that was profiled.

    Returns:
        The file's path.
    """
    path = bounds_path(folder, contract)
    stored = asdict(StoredBounds(contract.fingerprint, version, bounds))
    write_whole(path, json.dumps(stored, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def read_bounds(folder: Path, contract: DataContract) -> ValidationBounds | None:
    """Read a catalogue's stored bounds; None if no version has passed yet.

    Raises:
        DatasetError: the file cannot be read, or belongs to another contract.
    """
    path = bounds_path(folder, contract)
    again = "remove it to profile the next version that passes"
    try:
        stored = read_record(StoredBounds, read_file(path, DatasetError), path, DatasetError)
    except FileNotFoundError:
        return None
    except DatasetError as error:
        raise DatasetError(f"{error}; {again}") from error
    if stored.contract != contract.fingerprint:
        raise DatasetError(
            f"{path}: found bounds of the contract {stored.contract}, expected {contract.fingerprint}; {again}"
        )
    for split, counts in stored.bounds.class_counts.items():
        if counts.keys() != set(contract.classes):
            raise DatasetError(f"{path}: class_counts.{split}: expected a count for each class; {again}")
    return stored.bounds


def describe_bounds(bounds: ValidationBounds) -> str:
    """Format profiled bounds as text: one line per split, then one per measure."""
    lines = [
        f"{split}: at least {bounds.rows[split][0]:,} rows; {bounds.mostly[split]:.0%} of images within the ranges"
        for split in bounds.mostly
    ]
    for name in LIMITS:
        ranges = {"per image": getattr(bounds, name)} if name in EVERY else {}
        ranges |= {f"{split} mean": means[name] for split, means in bounds.split_means.items() if name in means}
        text = ", ".join(f"{what} {low:.4g} to {high:.4g}" for what, (low, high) in ranges.items())
        lines += [f"{name}: {text}"] if ranges else []
    return "\n".join(lines)


def bounds_path(folder: Path, contract: DataContract) -> Path:
    """The path of a catalogue's bounds in the datasets folder."""
    return folder / "bounds" / f"{contract.name}-{contract.fingerprint[:16]}.json"
