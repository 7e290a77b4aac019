"""Does an image show anything? Of one that does not, no model is ever sure, whatever its thresholds.

A model must name a class for every image, and it is often most confident where there is nothing to see: black is a
"Sandal", grey and noise are a "Bag" with a probability of 1.0.
"""

import numpy as np
from numpy.typing import NDArray

from components.catalogues.fashion_mnist import PIXELS
from components.contract import Images

STRAY = 16  # pixels at either end of the brightness that do not count: dust, a few damaged bytes
CONTRAST = 12  # levels between what is left, 5 % of all; Fashion-MNIST's least is 33, that of 341 phone photos 75
BLACK, BACKGROUND = 2, 32  # more than so many pixels up to that level are a background; of the 70,000 each has 44
RELATED = 0.2  # correlation of neighbouring pixels, across or down; Fashion-MNIST's least is 0.26, noise's most 0.15

BRIGHT = 64  # levels; more than `STRAY` pixels above it on a background need no closer look
NOT_BLACK, NOT_BRIGHT = bytes(range(BLACK + 1, 256)), bytes(range(BRIGHT + 1))


def has_content(images: Images) -> NDArray[np.bool_]:
    """Whether each image shows something: it has contrast, and a background or neighbouring pixels that are alike.

    Args:
        images: uint8 (n, 28, 28).

    Returns:
        (n,). It is false of one colour, of a faint pattern, of a few stray pixels, and of noise that fills the image;
        noise that leaves 33 pixels black cannot be told from a picture so cheaply.
    """
    if len(images) == 1 and is_one_clear(images.tobytes()):
        return np.ones(1, bool)
    clear = is_clear(images)
    if not clear.all():
        doubtful = images[~clear].reshape(-1, PIXELS)
        alike = ((doubtful <= BLACK).sum(axis=1) > BACKGROUND) | (_relation(doubtful) >= RELATED)
        clear[~clear] = (_contrast(doubtful) >= CONTRAST) & alike
    return clear


def is_clear(images: Images) -> NDArray[np.bool_]:
    """Whether each image, uint8 (n, 28, 28), shows something at first sight: bright pixels on a black background.

    So do all but 1 in 5,000 of Fashion-MNIST.
    """
    flat = images.reshape(-1, PIXELS)
    masks = np.empty((2, *flat.shape), bool)
    np.less_equal(flat, BLACK, out=masks[0])
    np.greater(flat, BRIGHT, out=masks[1])
    words = np.einsum("kij->ki", masks.view(np.uint64))  # eight counts in each: 784 / 8 fits into a byte
    black, bright = words.view(np.uint8).reshape(*words.shape, 8).sum(axis=2)
    clear: NDArray[np.bool_] = (black > BACKGROUND) & (bright > STRAY)
    return clear


def is_one_clear(pixels: bytes) -> bool:
    """The same of one image, 784 bytes, which `bytes` counts faster than NumPy."""
    black, bright = len(pixels.translate(None, NOT_BLACK)), len(pixels.translate(None, NOT_BRIGHT))
    return black > BACKGROUND and bright > STRAY


def _contrast(flat: NDArray[np.uint8]) -> NDArray[np.int16]:
    ends = np.partition(flat, (STRAY, PIXELS - 1 - STRAY), axis=1).astype(np.int16)
    return ends[:, PIXELS - 1 - STRAY] - ends[:, STRAY]


def _relation(flat: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The correlation of each pixel with the next and with the one below, whichever is larger; float32 (n,)."""
    centred = flat - flat.mean(axis=1, dtype=np.float32, keepdims=True)
    square = centred.reshape(-1, 28, 28)
    across = (square[:, :, 1:] * square[:, :, :-1]).sum(axis=(1, 2))
    down = (square[:, 1:] * square[:, :-1]).sum(axis=(1, 2))
    related: NDArray[np.float32] = np.maximum(across, down) / np.maximum((centred * centred).sum(axis=1), 1)
    return related
