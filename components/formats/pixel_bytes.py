"""Raw bytes of pixels: 784 an image, row-major, one image after the other."""

import numpy as np

from components.contract import IMAGE_SHAPE, PIXELS, Images
from components.errors import InputError, InputTooLarge
from components.formats.pixel_json import MOST_IMAGES


def read_pixel_bytes(body: bytes) -> Images:
    """Take a request's images as they are.

    Returns:
        uint8 (n, 28, 28), n from 1 to 1,024, over the body's own memory.

    Raises:
        InputError: no image, or a part of one.
        InputTooLarge: more than 1,024 images.
    """
    if not body or len(body) % PIXELS:
        raise InputError("body", f"{len(body):,} bytes, expected {PIXELS} for each of at least one image")
    if len(body) > MOST_IMAGES * PIXELS:
        raise InputTooLarge("body", f"{len(body) // PIXELS:,} images, at most {MOST_IMAGES:,} a request")
    return np.frombuffer(body, np.uint8).reshape(-1, *IMAGE_SHAPE)
