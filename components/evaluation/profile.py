"""Images and what was said of them -> Profile: what traffic should look like, in a few kilobytes."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions, Profile
from components.readers.images.statistics import MEASURES, hash_images, log_images

BINS = 20  # of about as many reference images each
SEEN = np.dtype(
    [
        ("time", "f8"),  # seconds since 1970; 0 where nobody knows
        ("label", "u2"),  # the predicted class
        ("sure", "?"),
        ("hash", "u8"),
        *((measure, "f8") for measure in MEASURES),
    ]
)
Seen: TypeAlias = NDArray[np.void]  # (n,) of SEEN: images, and what was said of them


def to_seen(predictions: Predictions, images: Images) -> Seen:
    """What the prediction log would have of n images, uint8 (n, height, width[, 3]), but for the time."""
    seen = np.zeros(len(images), SEEN)
    seen["label"], seen["sure"], seen["hash"] = predictions.labels, predictions.sure, hash_images(images)
    seen["confidence"] = predictions.confidences.astype(np.float64).round(6)
    for measure, values in log_images(images).items():
        seen[measure] = values
    return seen


def make_profile(seen: Seen, classes: int) -> Profile:
    """Count n images, at least 1, that a model of so many classes was not trained on."""
    steps = np.linspace(0, 1, BINS + 1)[1:-1]
    limits = {measure: np.unique(np.quantile(seen[measure], steps, method="higher")).tolist() for measure in MEASURES}
    return Profile(
        limits={measure: tuple(found) for measure, found in limits.items()},
        counts={
            measure: tuple(map(tuple, count_bins(seen, measure, np.array(limits[measure]), classes).tolist()))
            for measure in MEASURES
        },
        not_sure=tuple(np.bincount(seen["label"][~seen["sure"]], minlength=classes).tolist()),
    )


def count_bins(
    seen: Seen, measure: str, limits: NDArray[np.float64], classes: int, blocks: int = 1
) -> NDArray[np.int64]:
    """How many images fall into which bin, by stretch and predicted class. A limit is in the bin below it.

    Returns:
        int64 (classes, bins); of several stretches, as long as each other, (blocks, classes, bins).
    """
    bins = len(limits) + 1
    block = np.arange(len(seen)) * blocks // max(len(seen), 1)
    place = np.searchsorted(limits, seen[measure], side="left")
    places = (block * classes + seen["label"]) * bins + place
    counts = np.bincount(places, minlength=blocks * classes * bins).reshape(blocks, classes, bins)
    return counts if blocks > 1 else counts[0]
