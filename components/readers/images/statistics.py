"""Summary statistics of images, shared by validation, the input check, training and the prediction log.

mean       mean of all values, 0 to 255
deviation  their standard deviation, 0 to 127.5
ink        share of non-zero values, 0 to 1
edge       mean of the outermost pixels, 0 to 255
peak       maximum, 0 to 255
contrast   standard deviation of the pixels from the mean colour, 0 to 127.5; equals the deviation for greyscale images,
           0 for a single flat colour
skew       median minus mean, -127.5 to 127.5; has the opposite sign for an inverted image
cover      share of the pixels that differ from the median colour of the outermost ones by more than 25 in a channel,
           0 to 1: how much of the image the product covers on a plain background
warmth     mean of red minus mean of blue, -255 to 255; 0 for greyscale images
hash       BLAKE2b of the bytes, 8 bytes; equal for identical images
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, pictures_of

APART = 25  # difference from the background, a tenth of the range, above which a pixel is part of the product
EVERY = ("mean", "deviation", "ink", "edge", "peak")
LOGGED = {"mean": 3, "ink": 4, "edge": 3}  # decimals in the prediction log and in a profile
MEASURES = (*LOGGED, "confidence")


def measure_images(images: Images, names: Sequence[str] = EVERY) -> dict[str, NDArray[Any]]:
    """Compute statistics of images.

    Args:
        images: (n,), n may be 0.
        names: statistics from the list above.

    Returns:
        float64 (n,) each, uint8 (n,) for peak.
    """
    images = pictures_of(images)
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
    if "cover" in names:
        found["cover"] = _measure_cover(images)
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


def _measure_cover(images: Images) -> NDArray[np.float64]:
    """float64 (n,)."""
    pixels = _split_channels(images)
    background = np.median(pixels[:, border_of(images.shape[1:3])], axis=1).astype(np.int16)
    apart = np.abs(pixels - background[:, None]).max(axis=2) > APART
    cover: NDArray[np.float64] = apart.mean(axis=1)
    return cover


def _split_channels(images: Images) -> NDArray[np.uint8]:
    """uint8 (n, height, width[, 3]) -> (n, pixels, channels)."""
    return images.reshape(len(images), math.prod(images.shape[1:3]), *(images.shape[3:] or (1,)))


def log_images(images: Images) -> dict[str, NDArray[np.float64]]:
    """The statistics in `LOGGED` of images, (n,), rounded; float64 (n,) each."""
    measured = measure_images(images, tuple(LOGGED))
    return {name: values.round(LOGGED[name]) for name, values in measured.items()}


def hash_images(images: Images) -> NDArray[np.uint64]:
    """Images (n,) -> uint64 (n,)."""
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in images)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def flatten(images: Images) -> NDArray[np.uint8]:
    """(n, height, width[, 3]) -> (n, values per image), n may be 0."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


@cache
def border_of(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Flat indices of the outermost pixels of an image, row by row."""
    mask = np.ones(shape, bool)
    mask[1:-1, 1:-1] = False
    return np.flatnonzero(mask)


def sum_border(images: Images) -> NDArray[np.uint32]:
    """Sum of the outermost pixels of uint8 (n, height, width[, 3]), uint32 (n,)."""
    border = flatten(images)[:, border_of(images.shape[1:])]
    sums: NDArray[np.uint32] = np.einsum("ij->i", border, dtype=np.uint32)
    return sums
