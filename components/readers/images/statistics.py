"""What can be said of an image in a few numbers: the same where data is validated, where inputs are looked at, at the
training and in the prediction log.

mean       of its numbers, 0 to 255
deviation  their standard deviation, 0 to 127.5
ink        share of them that are not 0, 0 to 1
edge       mean of those of the outermost pixels, 0 to 255: what stands at the border
peak       the largest, 0 to 255
contrast   standard deviation of its pixels from the mean colour, 0 to 127.5: of a grey image the deviation, of an image
           of one flat colour 0
skew       median of its numbers less their mean, -127.5 to 127.5: of an inverted image the other way round
warmth     mean of red less mean of blue, -255 to 255: of a grey image 0
hash       BLAKE2b of its bytes, 8 bytes: the same image again has the same
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

EVERY = ("mean", "deviation", "ink", "edge", "peak")
LOGGED = {"mean": 3, "ink": 4, "edge": 3}  # of these, the decimals that the prediction log and a profile have
MEASURES = (*LOGGED, "confidence")


def measure_images(images: Images, names: Sequence[str] = EVERY) -> dict[str, NDArray[Any]]:
    """Measure images.

    Args:
        images: uint8 (n, height, width[, 3]), n may be 0.
        names: which of the measures above.

    Returns:
        float64 (n,) of each, uint8 (n,) of peak.
    """
    flat = flatten(images)
    size = flat.shape[1]
    found: dict[str, NDArray[Any]] = {}
    if {"mean", "deviation"}.intersection(names):
        mean = flat.sum(axis=1, dtype=np.uint32) / size
        found["mean"] = mean
    if "deviation" in names:
        squares = np.square(flat, dtype=np.uint16).sum(axis=1, dtype=np.uint32) / size
        found["deviation"] = np.sqrt(np.maximum(squares - mean**2, 0))
    if "ink" in names:
        found["ink"] = np.count_nonzero(flat, axis=1) / size
    if "edge" in names:
        found["edge"] = sum_border(images) / len(border_of(images.shape[1:]))
    if "peak" in names:
        found["peak"] = flat.max(axis=1, initial=0)
    if "contrast" in names:
        found["contrast"] = _measure_contrast(images)
    if "skew" in names:
        found["skew"] = np.median(flat, axis=1) - flat.mean(axis=1)
    if "warmth" in names:
        red, blue = (_split_channels(images)[:, :, channel].mean(axis=1) for channel in (0, -1))
        found["warmth"] = red - blue
    return {name: found[name] for name in names}


def _measure_contrast(images: Images) -> NDArray[np.float64]:
    """float64 (n,)."""
    pixels = _split_channels(images)
    means = pixels.mean(axis=1, dtype=np.float64)
    squares = np.square(pixels, dtype=np.uint16).mean(axis=1, dtype=np.float64)
    contrast: NDArray[np.float64] = np.sqrt(np.maximum(squares - means**2, 0).mean(axis=1))
    return contrast


def _split_channels(images: Images) -> NDArray[np.uint8]:
    """uint8 (n, height, width[, 3]) -> (n, pixels, channels)."""
    return images.reshape(len(images), math.prod(images.shape[1:3]), *(images.shape[3:] or (1,)))


def log_images(images: Images) -> dict[str, NDArray[np.float64]]:
    """`LOGGED` of uint8 (n, height, width[, 3]), float64 (n,) each, rounded as they are logged."""
    measured = measure_images(images, tuple(LOGGED))
    return {name: values.round(LOGGED[name]) for name, values in measured.items()}


def hash_images(images: Images) -> NDArray[np.uint64]:
    """uint8 (n, height, width[, 3]) -> uint64 (n,)."""
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in images)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def flatten(images: Images) -> NDArray[np.uint8]:
    """(n, height, width[, 3]) -> (n, numbers of an image), n may be 0."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


@cache
def border_of(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The places of the outermost pixels' numbers in an image of that shape, row by row."""
    mask = np.ones(shape, bool)
    mask[1:-1, 1:-1] = False
    return np.flatnonzero(mask)


def sum_border(images: Images) -> NDArray[np.uint32]:
    """Of the numbers of the outermost pixels of uint8 (n, height, width[, 3]), uint32 (n,)."""
    border = flatten(images)[:, border_of(images.shape[1:])]
    sums: NDArray[np.uint32] = np.einsum("ij->i", border, dtype=np.uint32)
    return sums
