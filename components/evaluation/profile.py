"""Computes a Profile: the reference statistics for drift detection, from images and their predictions."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions, Profile
from components.readers.images.statistics import MEASURES, hash_images, log_images

NOT_CHECKED = -1  # value of `known` for a model that does not detect unknown inputs
BINS = 20  # quantile bins, with about the same number of reference images in each
SEEN = np.dtype(
    [
        ("time", "f8"),  # seconds since 1970; 0 if unknown
        ("label", "u2"),  # the predicted class
        ("sure", "?"),
        ("known", "i1"),  # 1, 0, or NOT_CHECKED
        ("hash", "u8"),
        *((measure, "f8") for measure in MEASURES),
    ]
)
Seen: TypeAlias = NDArray[np.void]  # (n,) of SEEN: image statistics and predictions


def to_seen(predictions: Predictions, images: Images) -> Seen:
    """Return what the prediction log would record of images, uint8 (n, height, width[, 3]), without the time."""
    seen = np.zeros(len(images), SEEN)
    seen["label"], seen["sure"], seen["hash"] = predictions.labels, predictions.sure, hash_images(images)
    seen["known"] = NOT_CHECKED if predictions.known is None else predictions.known
    seen["confidence"] = predictions.confidences.astype(np.float64).round(6)
    for measure, values in log_images(images).items():
        seen[measure] = values
    return seen


def make_profile(seen: Seen, classes: int) -> Profile:
    """Compute the profile of reference images, at least 1, that the model was not trained on.

    Args:
        seen: Image statistics and predictions, (n,).
        classes: Number of classes.
    """
    steps = np.linspace(0, 1, BINS + 1)[1:-1]
    limits = {measure: np.unique(np.quantile(seen[measure], steps, method="higher")).tolist() for measure in MEASURES}
    unknown = np.bincount(seen["label"][seen["known"] == 0], minlength=classes)
    return Profile(
        limits={measure: tuple(found) for measure, found in limits.items()},
        counts={
            measure: tuple(map(tuple, count_bins(seen, measure, np.array(limits[measure]), classes).tolist()))
            for measure in MEASURES
        },
        not_sure=tuple(np.bincount(seen["label"][~seen["sure"]], minlength=classes).tolist()),
        unknown=tuple(unknown.tolist()) if is_checked(seen) else (),
    )


def is_checked(seen: Seen) -> bool:
    """Whether each image was checked for being known."""
    return bool((seen["known"] != NOT_CHECKED).all())


def count_bins(
    seen: Seen, measure: str, limits: NDArray[np.float64], classes: int, blocks: int = 1
) -> NDArray[np.int64]:
    """Count the images per bin and predicted class. A value equal to a limit is in the bin below it.

    Args:
        seen: Image statistics and predictions, (n,).
        measure: Name of the statistic.
        limits: Limits between the bins, ascending, (bins - 1,).
        classes: Number of classes.
        blocks: Number of consecutive blocks of equal length to count separately.

    Returns:
        int64 (classes, bins), or (blocks, classes, bins) if there are several blocks.
    """
    bins = len(limits) + 1
    block = np.arange(len(seen)) * blocks // max(len(seen), 1)
    place = np.searchsorted(limits, seen[measure], side="left")
    places = (block * classes + seen["label"]) * bins + place
    counts = np.bincount(places, minlength=blocks * classes * bins).reshape(blocks, classes, bins)
    return counts if blocks > 1 else counts[0]
