"""The first version of a catalogue that passes -> what the next ones must look like.

A catalogue that ships knows its data; of any other, nothing is known before its first version. Its bounds are then
measured on that version, written into the datasets folder and enforced on every later one:

images        each measure's middle 99 %, a quarter wider at each end; 2 % of the images may be outside, so that a few
              new extremes pass
splits        the mean of each measure, give or take 4 standard errors (so that chance passes, in a small split, too)
              and a fifth of a standard deviation (so that new pictures pass that are a little other)
classes       a third to three times the share that each class had, so that skew is what it is; 5 images are added on
              both sides, so that chance in a small class is no jump
rows          at least half as many

docs/data.md has what was measured to pass and to be refused.
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

PROFILED = (*EVERY, "contrast", "skew", "warmth")  # that `to_frame` has of such a catalogue
LIMITS: dict[str, Range] = {  # of what a measure can be
    "mean": (0.0, 255.0),
    "deviation": (0.0, 127.5),
    "ink": (0.0, 1.0),
    "edge": (0.0, 255.0),
    "peak": (0.0, 255.0),
    "skew": (-127.5, 127.5),
    "warmth": (-255.0, 255.0),
}
MIDDLE = (0.005, 0.995)  # quantiles between which an image is usual
WIDER = 0.25  # of the distance between them, at each end
MIN_WIDER = 0.04  # of all that the measure can be, at each end: where all images are alike, others still may come
OUTSIDE = 0.02  # share of a split's images that may be outside
FEW = 3  # images of a split may be outside, however small it is
SHRINKS = 0.5  # a split may have as few rows as this share of what it had
ERRORS = 4.0  # standard errors that a mean may be off
SLOW_CHANGE = 0.2  # standard deviations of the images that a mean may be off besides
MIN_CHANGE = 0.01  # of all that the measure can be, likewise
JUMP = 3.0  # times the share that a class had
BLUR = 5  # images added to a class before and now, so that chance in a small class is no jump


@dataclass(frozen=True)
class StoredBounds:
    """The bounds of a catalogue as they are kept: `bounds/<catalogue>-<contract>.json` in the datasets folder."""

    contract: Sha256  # its fingerprint
    version: str  # of the dataset that they were profiled from
    bounds: ValidationBounds


def profile_bounds(frame: pd.DataFrame, contract: DataContract) -> ValidationBounds:
    """Bounds of the next versions, measured on one that passed.

    Args:
        frame: of `components.dataset.validate.to_frame`, both splits.
        contract: its classes.
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
    """The next version may have half as many rows: the error of the difference of two means is that of both."""
    least, most = LIMITS[name]
    mean, deviation = float(values.mean()), float(values.std(ddof=0))
    error = deviation * math.sqrt((1 + 1 / SHRINKS) / len(values))
    return _widen(name, mean, mean, ERRORS * error + max(SLOW_CHANGE * deviation, MIN_CHANGE * (most - least)))


def _widen(name: str, low: float, high: float, pad: float) -> Range:
    """Rounded outwards to four decimals, within what the measure can be."""
    least, most = LIMITS[name]
    return max(least, math.floor((low - pad) * 1e4) / 1e4), min(most, math.ceil((high + pad) * 1e4) / 1e4)


def _mostly(rows: int) -> float:
    """The share of a split's images that must be within the ranges, where it may have half as many rows."""
    return round(1 - max(OUTSIDE, min(0.5, FEW / math.ceil(SHRINKS * rows))), 4)


def _count_classes(rows: pd.DataFrame, contract: DataContract) -> dict[str, int]:
    counts = np.bincount(rows["label"], minlength=len(contract.classes))
    return dict(zip(contract.classes, counts.tolist(), strict=True))


def measure_jumps(rows: pd.DataFrame, counts: Mapping[str, int], contract: DataContract) -> "pd.Series[float]":
    """How many times as large a share the class of each row has as it had, 1 where it is the same.

    Args:
        rows: those of one split, of `components.dataset.validate.to_frame`.
        counts: class -> its images in that split, as profiled.
        contract: its classes.

    Returns:
        float64, with the index of `rows`. `BLUR` images of the smaller of the two versions are added to each share.
    """
    before = np.array([counts[name] for name in contract.classes])
    now = np.bincount(rows["label"], minlength=len(contract.classes))
    blur = BLUR / max(1, min(before.sum(), now.sum()))
    jumps = (now / max(1, now.sum()) + blur) / (before / max(1, before.sum()) + blur)
    return pd.Series(jumps[rows["label"]], rows.index)


def write_bounds(folder: Path, contract: DataContract, bounds: ValidationBounds, version: str = "") -> Path:
    """Keep a catalogue's bounds, in place of those that are kept.

    Args:
        folder: the datasets folder.
        contract: what they are bounds of.
        bounds: of `profile_bounds`.
        version: of the dataset that they were profiled from.

    Returns:
        The file.
    """
    path = bounds_path(folder, contract)
    stored = asdict(StoredBounds(contract.fingerprint, version, bounds))
    write_whole(path, json.dumps(stored, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def read_bounds(folder: Path, contract: DataContract) -> ValidationBounds | None:
    """The bounds that are kept of a catalogue; None where no version of it has passed yet.

    Raises:
        DatasetError: the file cannot be read, or is of another contract.
    """
    path = bounds_path(folder, contract)
    again = "remove it, and the next version that passes is profiled anew"
    try:
        stored = read_record(StoredBounds, read_file(path, DatasetError), path, DatasetError)
    except FileNotFoundError:
        return None
    except DatasetError as error:
        raise DatasetError(f"{error}; {again}") from error
    if stored.contract != contract.fingerprint:
        raise DatasetError(
            f"{path}: bounds of the contract {stored.contract}, expected {contract.fingerprint}; {again}"
        )
    for split, counts in stored.bounds.class_counts.items():
        if counts.keys() != set(contract.classes):
            raise DatasetError(f"{path}: class_counts.{split}: expected a count of each class; {again}")
    return stored.bounds


def describe_bounds(bounds: ValidationBounds) -> str:
    """Profiled bounds for a person to read, a line a split and a measure."""
    lines = [
        f"{split}: at least {bounds.rows[split][0]:,} rows; {bounds.mostly[split]:.0%} of the images within the ranges"
        for split in bounds.mostly
    ]
    for name in LIMITS:
        ranges = {"an image": getattr(bounds, name)} if name in EVERY else {}
        ranges |= {f"the mean of {split}": means[name] for split, means in bounds.split_means.items() if name in means}
        told = ", ".join(f"{what} {low:.4g} to {high:.4g}" for what, (low, high) in ranges.items())
        lines += [f"{name}: {told}"] if ranges else []
    return "\n".join(lines)


def bounds_path(folder: Path, contract: DataContract) -> Path:
    """Where a catalogue's bounds are in the datasets folder, once a version of it has passed."""
    return folder / "bounds" / f"{contract.name}-{contract.fingerprint[:16]}.json"
