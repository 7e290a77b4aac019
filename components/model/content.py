"""Does an image show anything? Of one that does not, no model is ever sure, whatever its thresholds.

A model must name a class for every image, and it is often most confident where there is nothing to see: one of
Fashion-MNIST names a class of grey and of noise with a probability of 1.0. The bounds were measured on its images. An
RGB image is looked at as a grey one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

STRAY = 16  # pixels at either end of the brightness that do not count: dust, a few damaged bytes
CONTRAST = 12  # levels between what is left, 5 % of all; Fashion-MNIST's least is 33, that of 341 phone photos 75
BLACK, BACKGROUND = 2, 32  # more than so many pixels up to that level are a background; of the 70,000 each has 44
RELATED = 0.2  # correlation of neighbouring pixels, across or down; Fashion-MNIST's least is 0.26, noise's most 0.15

BRIGHT = 64  # levels; more than `STRAY` pixels above it on a background need no closer look
LUMA = np.array([77, 150, 29], np.uint16)  # of 256: what red, green and blue give to the brightness (ITU-R BT.601)
NOT_BLACK, NOT_BRIGHT = bytes(range(BLACK + 1, 256)), bytes(range(BRIGHT + 1))


def has_content(images: Images) -> NDArray[np.bool_]:
    """Whether each image shows something: it has contrast, and a background or neighbouring pixels that are alike.

    Args:
        images: uint8 (n, height, width[, 3]).

    Returns:
        (n,). It is false of one colour, of a faint pattern, of a few stray pixels, and of noise that fills the image;
        noise that leaves 33 pixels black cannot be told from a picture so cheaply.
    """
    grey = _to_grey(images)
    if len(grey) == 1 and is_one_clear(grey.tobytes()):
        return np.ones(1, bool)
    clear = is_clear(grey)
    if not clear.all():
        doubtful = grey[~clear]
        alike = ((doubtful <= BLACK).sum(axis=(1, 2)) > BACKGROUND) | (_relation(doubtful) >= RELATED)
        clear[~clear] = (_contrast(doubtful) >= CONTRAST) & alike
    return clear


def _to_grey(images: Images) -> Images:
    return images if images.ndim == 3 else (images @ LUMA >> 8).astype(np.uint8)


def is_clear(images: Images) -> NDArray[np.bool_]:
    """Whether each image, uint8 (n, height, width[, 3]), shows something at first sight: bright pixels on black.

    So do all but 1 in 5,000 of Fashion-MNIST.
    """
    size = math.prod(images.shape[1:3])
    flat = _to_grey(images).reshape(len(images), size)
    masks = np.empty((2, *flat.shape), bool)
    np.less_equal(flat, BLACK, out=masks[0])
    np.greater(flat, BRIGHT, out=masks[1])
    if size % 8 or size > 8 * 255:
        black, bright = np.count_nonzero(masks, axis=2)
    else:
        words = np.einsum("kij->ki", masks.view(np.uint64))  # eight counts in each, as wide as a byte
        black, bright = words.view(np.uint8).reshape(*words.shape, 8).sum(axis=2)
    clear: NDArray[np.bool_] = (black > BACKGROUND) & (bright > STRAY)
    return clear


def is_one_clear(pixels: bytes) -> bool:
    """The same of one grey image, whose `bytes` are counted faster than by NumPy."""
    black, bright = len(pixels.translate(None, NOT_BLACK)), len(pixels.translate(None, NOT_BRIGHT))
    return black > BACKGROUND and bright > STRAY


def _contrast(grey: Images) -> NDArray[np.int16]:
    flat = grey.reshape(len(grey), -1)
    last = flat.shape[1] - 1 - STRAY
    ends = np.partition(flat, (STRAY, last), axis=1).astype(np.int16)
    return ends[:, last] - ends[:, STRAY]


def _relation(grey: Images) -> NDArray[np.float32]:
    """The correlation of each pixel with the next and with the one below, whichever is larger; float32 (n,)."""
    flat = grey.reshape(len(grey), -1)
    centred = (flat - flat.mean(axis=1, dtype=np.float32, keepdims=True)).reshape(grey.shape)
    across = (centred[:, :, 1:] * centred[:, :, :-1]).sum(axis=(1, 2))
    down = (centred[:, 1:] * centred[:, :-1]).sum(axis=(1, 2))
    squares = (centred * centred).reshape(flat.shape).sum(axis=1)
    related: NDArray[np.float32] = np.maximum(across, down) / np.maximum(squares, 1)
    return related
