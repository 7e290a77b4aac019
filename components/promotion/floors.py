"""What any model must reach, whatever is live: what its catalogue says, or else what the test images imply."""

import math
from dataclasses import asdict, replace

from components.catalogues import catalogue_of
from components.catalogues.catalogue import QualityFloors
from components.contract import ClassMetrics, DataContract, Metrics
from components.evaluation.metrics import BINS
from components.promotion.bounds import GateBounds

SURE = 1.96  # standard errors: two-sided, 95 %
UNFOUND = 0.05  # how often a model that finds a third of each class is refused because chance hid one from it
CALIBRATION_ERROR = 0.05  # probabilities that are meant to be read are right to five points
REASONS = {  # of each floor that the test images imply
    "min_accuracy": "surely more than always saying the most frequent class",
    "min_f1": "each class is found at all",
    "max_loss": "less than that of the classes' shares, without looking at an image",
    "max_calibration_error": "0.05, and what chance makes of so many images",
}


def fit_floors(bounds: GateBounds, contract: DataContract, metrics: Metrics) -> tuple[QualityFloors, dict[str, str]]:
    """The floors of one trial, and the reason for each that neither a person nor the catalogue set."""
    own = catalogue_of(contract).floors
    floors = own or imply_floors(metrics)
    given = {name: value for name in asdict(floors) if (value := getattr(bounds, name)) is not None}
    return replace(floors, **given), {name: why for name, why in REASONS.items() if not own and name not in given}


def imply_floors(metrics: Metrics) -> QualityFloors:
    """What a model reaches that has learned anything, with the classes' shares of the test images and their number."""
    rows, accuracy = metrics.rows, metrics.accuracy
    shares = [one.support / rows for one in metrics.classes if one.support]
    most = max(shares)
    # The calibration error of a perfectly calibrated model is the mean of absolute normal numbers, one for each bin.
    chance = math.sqrt(2 / math.pi * BINS * accuracy * (1 - accuracy) / rows)
    return QualityFloors(
        min_accuracy=min(1.0, most + SURE * math.sqrt(most * (1 - most) / rows)),
        min_f1=1 / rows,  # of a class of which one image is found it is at least that
        max_loss=-sum(share * math.log(share) for share in shares),
        max_calibration_error=CALIBRATION_ERROR + chance,
    )


def min_macro_f1(metrics: Metrics) -> float:
    """The macro F1 of always saying the most frequent class."""
    supports = [one.support for one in metrics.classes if one.support]
    return 2 * max(supports) / (metrics.rows + max(supports)) / len(supports)


def large_enough(metrics: Metrics) -> list[ClassMetrics]:
    """The classes with so many images that a model that finds a third of them hardly misses all by chance."""
    least = min_images(len(metrics.classes))
    return [one for one in metrics.classes if one.support >= least]


def min_images(classes: int) -> int:
    """How many that takes: (2/3)^n for each class, added up over all."""
    return math.ceil(math.log(UNFOUND / classes) / math.log(2 / 3))
