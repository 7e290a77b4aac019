"""Detect blank images. The classifier abstains on them, whatever its thresholds.

A model predicts a class for every image, and often with high confidence for black, grey or noise. RGB images are
converted to greyscale first.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, pictures_of

FEW = 49  # one pixel in 49 is ignored at each end of the brightness range: dust, a few damaged bytes
CONTRAST = 12  # levels between the remaining extremes, 5 %; minimum of Fashion-MNIST: 33, of 341 phone photos: 75
BLACK = 2  # up to this level a pixel is background, if over 2/49 of all are; so in all 70,000 of Fashion-MNIST
RELATED = 0.2  # of neighbouring pixels, across or down; Fashion-MNIST: at least 0.26, noise: at most 0.15

BRIGHT = 64  # levels; if over 1/49 of all pixels are brighter, on a background, the image is clear
LUMA = np.array([77, 150, 29], np.uint16)  # of 256: luma weights of red, green and blue (ITU-R BT.601)
NOT_BLACK, NOT_BRIGHT = bytes(range(BLACK + 1, 256)), bytes(range(BRIGHT + 1))
WORD, MAX_IN_A_BYTE = 8, 255


def few_of(shape: tuple[int, ...]) -> int:
    """Number of pixels to ignore at each end of the brightness range; shape (height, width[, 3])."""
    return shape[0] * shape[1] // FEW


def has_content(images: Images) -> NDArray[np.bool_]:
    """Whether each image shows something: it has contrast, and a background or correlated neighbouring pixels.

    Args:
        images: (n,).

    Returns:
        (n,). False for one colour, a faint pattern, a few stray pixels, and noise that fills the image. True for noise
        that leaves one in 24 pixels black, which cannot be detected so cheaply.
    """
    images = pictures_of(images)
    if len(images) == 1 and is_one_clear(images.tobytes(), images.shape[1:]):
        return np.ones(1, bool)
    grey = to_grey(images)
    clear = is_clear(grey)
    if not clear.all():
        doubtful = grey[~clear]
        flat = doubtful.reshape(len(doubtful), -1)
        background = (flat <= BLACK).sum(axis=1) > 2 * few_of(grey.shape[1:])
        structured = background | (_correlation(doubtful) >= RELATED)
        clear[~clear] = (_contrast(flat, few_of(grey.shape[1:])) >= CONTRAST) & structured
    return clear


def to_grey(images: Images) -> Images:
    """uint8 (n, height, width[, 3]) -> (n, height, width)."""
    return images if images.ndim == 3 else (images @ LUMA >> 8).astype(np.uint8)


def is_clear(images: Images) -> NDArray[np.bool_]:
    """Fast check: whether each image, uint8 (n, height, width[, 3]), has bright pixels on a black background.

    True for all but 1 in 5,000 images of Fashion-MNIST.
    """
    grey = to_grey(images)
    flat = grey.reshape(len(grey), math.prod(grey.shape[1:]))
    masks = np.empty((2, *flat.shape), bool)
    np.less_equal(flat, BLACK, out=masks[0])
    np.greater(flat, BRIGHT, out=masks[1])
    black, bright = _count(masks)
    few = few_of(grey.shape[1:])
    clear: NDArray[np.bool_] = (black > 2 * few) & (bright > few)
    return clear


def is_one_clear(pixels: bytes, shape: tuple[int, ...]) -> bool:
    """As `is_clear`, for the bytes of one greyscale image: faster than NumPy. False for RGB images."""
    if len(shape) != 2:
        return False
    black, bright = len(pixels.translate(None, NOT_BLACK)), len(pixels.translate(None, NOT_BRIGHT))
    few = few_of(shape)
    return black > 2 * few and bright > few


def _count(masks: NDArray[np.bool_]) -> NDArray[np.integer[Any]]:
    """Count the true values in each row of each mask, (k, n, pixels) -> (k, n)."""
    pixels = masks.shape[2]
    if pixels % WORD or pixels > WORD * MAX_IN_A_BYTE:
        counts: NDArray[np.integer[Any]] = np.count_nonzero(masks, axis=2)
    else:
        words = np.einsum("kij->ki", masks.view(np.uint64))  # eight counters in each, of at most 255
        counts = words.view(np.uint8).reshape(*words.shape, WORD).sum(axis=2)
    return counts


def _contrast(flat: NDArray[np.uint8], few: int) -> NDArray[np.int16]:
    last = flat.shape[1] - 1 - few
    ends = np.partition(flat, (few, last), axis=1).astype(np.int16)
    return ends[:, last] - ends[:, few]


def _correlation(grey: Images) -> NDArray[np.float32]:
    """The correlation of each pixel with its right or lower neighbour, whichever is larger; float32 (n,)."""
    flat = grey.reshape(len(grey), -1)
    centred = flat - flat.mean(axis=1, dtype=np.float32, keepdims=True)
    square = centred.reshape(grey.shape)
    across = (square[:, :, 1:] * square[:, :, :-1]).sum(axis=(1, 2))
    down = (square[:, 1:] * square[:, :-1]).sum(axis=(1, 2))
    related: NDArray[np.float32] = np.maximum(across, down) / np.maximum((centred * centred).sum(axis=1), 1)
    return related
