"""Does an image show anything? Of one that does not, no model is ever sure, whatever its thresholds.

A model must name a class for every image, and it is often most confident where there is nothing to see: of black, of
grey and of noise, it can be certain of a class. An RGB image is looked at as a grey one.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

FEW = 49  # one in so many pixels, at either end of the brightness, does not count: dust, a few damaged bytes
CONTRAST = 12  # levels between what is left, 5 % of all; Fashion-MNIST's least is 33, that of 341 phone photos 75
BLACK = 2  # more than two in `FEW` pixels up to that level are a background; of Fashion-MNIST's 70,000 each has more
RELATED = 0.2  # correlation of neighbouring pixels, across or down; Fashion-MNIST's least is 0.26, noise's most 0.15

BRIGHT = 64  # levels; more than one in `FEW` pixels above it on a background need no closer look
LUMA = np.array([77, 150, 29], np.uint16)  # of 256: what red, green and blue give to the brightness (ITU-R BT.601)
NOT_BLACK, NOT_BRIGHT = bytes(range(BLACK + 1, 256)), bytes(range(BRIGHT + 1))
WORD, MAX_IN_A_BYTE = 8, 255


def few_of(shape: tuple[int, ...]) -> int:
    """How many of the pixels of an image, (height, width[, 3]), do not count."""
    return shape[0] * shape[1] // FEW


def has_content(images: Images) -> NDArray[np.bool_]:
    """Whether each image shows something: it has contrast, and a background or neighbouring pixels that are alike.

    Args:
        images: uint8 (n, height, width[, 3]).

    Returns:
        (n,). It is false of one colour, of a faint pattern, of a few stray pixels, and of noise that fills the image;
        noise that leaves one in 24 pixels black cannot be told from a picture so cheaply.
    """
    if len(images) == 1 and is_one_clear(images.tobytes(), images.shape[1:]):
        return np.ones(1, bool)
    grey = to_grey(images)
    clear = is_clear(grey)
    if not clear.all():
        doubtful = grey[~clear]
        flat = doubtful.reshape(len(doubtful), -1)
        background = (flat <= BLACK).sum(axis=1) > 2 * few_of(grey.shape[1:])
        alike = background | (_relation(doubtful) >= RELATED)
        clear[~clear] = (_contrast(flat, few_of(grey.shape[1:])) >= CONTRAST) & alike
    return clear


def to_grey(images: Images) -> Images:
    """uint8 (n, height, width[, 3]) -> (n, height, width)."""
    return images if images.ndim == 3 else (images @ LUMA >> 8).astype(np.uint8)


def is_clear(images: Images) -> NDArray[np.bool_]:
    """Whether each image, uint8 (n, height, width[, 3]), shows something at first sight: bright pixels on a black
    background.

    So do all but 1 in 5,000 of Fashion-MNIST.
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
    """The same of one grey image's bytes, which `bytes` counts faster than NumPy; false of any RGB image."""
    if len(shape) != 2:
        return False
    black, bright = len(pixels.translate(None, NOT_BLACK)), len(pixels.translate(None, NOT_BRIGHT))
    few = few_of(shape)
    return black > 2 * few and bright > few


def _count(masks: NDArray[np.bool_]) -> NDArray[np.integer[Any]]:
    """How many are true in each row of each mask, (k, n, pixels) -> (k, n)."""
    pixels = masks.shape[2]
    if pixels % WORD or pixels > WORD * MAX_IN_A_BYTE:
        counts: NDArray[np.integer[Any]] = np.count_nonzero(masks, axis=2)
    else:
        words = np.einsum("kij->ki", masks.view(np.uint64))  # eight counts in each, of at most 255
        counts = words.view(np.uint8).reshape(*words.shape, WORD).sum(axis=2)
    return counts


def _contrast(flat: NDArray[np.uint8], few: int) -> NDArray[np.int16]:
    last = flat.shape[1] - 1 - few
    ends = np.partition(flat, (few, last), axis=1).astype(np.int16)
    return ends[:, last] - ends[:, few]


def _relation(grey: Images) -> NDArray[np.float32]:
    """The correlation of each pixel with the next and with the one below, whichever is larger; float32 (n,)."""
    flat = grey.reshape(len(grey), -1)
    centred = flat - flat.mean(axis=1, dtype=np.float32, keepdims=True)
    square = centred.reshape(grey.shape)
    across = (square[:, :, 1:] * square[:, :, :-1]).sum(axis=(1, 2))
    down = (square[:, 1:] * square[:, :-1]).sum(axis=(1, 2))
    related: NDArray[np.float32] = np.maximum(across, down) / np.maximum((centred * centred).sum(axis=1), 1)
    return related
