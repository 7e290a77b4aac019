"""Quality floors for every model: set by its catalogue, or else derived from the test images."""

import math
from dataclasses import asdict, replace

from components.catalogues import catalogue_of
from components.catalogues.catalogue import QualityFloors
from components.contract import ClassMetrics, DataContract, Metrics
from components.evaluation.metrics import BINS
from components.promotion.bounds import GateBounds

Z_95 = 1.96  # standard errors of a two-sided 95 % interval
FALSE_REJECTIONS = 0.05  # of models with a recall of 1/3 in every class
CALIBRATION_ERROR = 0.05  # served probabilities are right to within five percentage points
REASONS = {  # for each derived floor
    "min_accuracy": "significantly above the majority-class baseline",
    "min_f1": "every class is predicted correctly at least once",
    "max_loss": "below the entropy of the class distribution",
    "max_calibration_error": "0.05 plus the expected sampling error",
}


def fit_floors(bounds: GateBounds, contract: DataContract, metrics: Metrics) -> tuple[QualityFloors, dict[str, str]]:
    """Return the floors of one trial, and the reason for each that neither the settings nor the catalogue set."""
    own = catalogue_of(contract).floors
    floors = own or imply_floors(metrics)
    given = {name: value for name in asdict(floors) if (value := getattr(bounds, name)) is not None}
    return replace(floors, **given), {name: why for name, why in REASONS.items() if not own and name not in given}


def imply_floors(metrics: Metrics) -> QualityFloors:
    """Derive floors from the size and class distribution of the test split: what any trained model reaches."""
    rows, accuracy = metrics.rows, metrics.accuracy
    shares = [one.support / rows for one in metrics.classes if one.support]
    majority = max(shares)
    # The ECE of a perfectly calibrated model is a mean of absolute normal variables, one per bin.
    chance = math.sqrt(2 / math.pi * BINS * accuracy * (1 - accuracy) / rows)
    return QualityFloors(
        min_accuracy=min(1.0, majority + Z_95 * math.sqrt(majority * (1 - majority) / rows)),
        min_f1=1 / rows,  # one true positive gives at least that
        max_loss=-sum(share * math.log(share) for share in shares),
        max_calibration_error=CALIBRATION_ERROR + chance,
    )


def min_macro_f1(metrics: Metrics) -> float:
    """Return the macro F1 of the majority-class baseline."""
    supports = [one.support for one in metrics.classes if one.support]
    return 2 * max(supports) / (metrics.rows + max(supports)) / len(supports)


def large_enough(metrics: Metrics) -> list[ClassMetrics]:
    """Return the classes with enough test images for the F1 floor, see `min_images`."""
    enough = min_images(len(metrics.classes))
    return [one for one in metrics.classes if one.support >= enough]


def min_images(classes: int) -> int:
    """Return how many test images per class the F1 floor needs.

    With n images per class, a model with a recall of 1/3 misses all images of some class with a probability of at most
    classes * (2/3)^n; this is the smallest n for which that is at most 0.05.
    """
    return math.ceil(math.log(FALSE_REJECTIONS / classes) / math.log(2 / 3))
