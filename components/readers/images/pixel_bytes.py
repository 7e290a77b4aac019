"""Raw bytes of pixels: one a number of an image, row-major, one image after the other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, ImageSpec
from components.errors import InputError, InputTooLarge
from components.readers.images.pixel_json import MAX_IMAGES

FLOATS: dict[np.dtype[Any], bytes] = {  # each with what the last byte of a pixel may be
    np.dtype("<f4"): bytes([0, *range(0x37, 0x44)]),
    np.dtype("<f8"): bytes([0, 0x3E, 0x3F, 0x40]),
}
WHOLE: tuple[np.dtype[Any], ...] = (np.dtype("<i8"), np.dtype("<i4"), np.dtype("<i2"))
LEAST = 2.0**-17  # a float pixel is 0 or more than this, and at most 255
FEW = 16  # numbers of an image that are not 0; so few may be anything


def read_pixel_bytes(body: bytes, image: ImageSpec) -> Images:
    """Take a request's images as they are.

    Returns:
        uint8 (n, height, width[, 3]), n from 1 to 1,024, over the body's own memory.

    Raises:
        InputError: no image, or a part of one; or numbers of several bytes, or colours, in place of bytes.
        InputTooLarge: more than 1,024 images.
    """
    size = image.size
    if not body or len(body) % size:
        raise InputError("body", f"{len(body):,} bytes, expected {size} for each of at least one image")
    if found := _find_other_kind(body, image):
        raise InputError("body", f"found {found}, expected one byte a pixel, from 0 to 255")
    if len(body) > MAX_IMAGES * size:
        raise InputTooLarge("body", f"{len(body) // size:,} images, at most {MAX_IMAGES:,} a request")
    return np.frombuffer(body, np.uint8).reshape(-1, *image.shape)


def _find_other_kind(body: bytes, image: ImageSpec) -> str:
    """What the bytes are if they are no pixels of a byte each: several bytes a pixel also make whole "images".

    Each kind is looked for in the bytes of the first image, and in all where these fit. No images of Fashion-MNIST do.
    """
    size = image.size
    images, start, few = len(body) // size, body[:size], FEW / size
    for kind, last in FLOATS.items():
        if images % kind.itemsize == 0 and not start[kind.itemsize - 1 :: kind.itemsize].translate(None, last):
            numbers = np.frombuffer(body, kind)
            if _are_pixels(numbers, LEAST, few):
                scale = " * 255" if numbers.max() <= 1 else ""
                return f"{kind.name} numbers; send (pixels{scale}).round().astype('uint8').tobytes()"
    if images % 2 == 0 and not any(start[1::2]):
        for kind in WHOLE:
            if images % kind.itemsize == 0 and _are_pixels(np.frombuffer(body, kind), 1, few):
                return f"{kind.name} numbers; send pixels.astype('uint8').tobytes()"
    if image.channels > 1:
        return ""
    if images % 4 == 0 and start[3::4].count(255) == len(start) // 4 and _are_opaque(body):
        return "four bytes a pixel, the last of them opaque; convert the picture to grey, or send the file to /classify"
    whole = size - size % 3
    if images % 3 == 0 and start[:whole:3] == start[1:whole:3] == start[2:whole:3] and _are_grey(body):
        return "three equal bytes a pixel; send one channel of the picture, or the file to /classify"
    return ""


def _are_pixels(numbers: NDArray[Any], least: float, few: float) -> bool:
    """Whether all are 0, or from `least` to 255, and more than a few are not 0."""
    within = (numbers == 0) | ((numbers >= least) & (numbers <= 255))
    return bool(within.all()) and int(np.count_nonzero(numbers)) > few * len(numbers)


def _are_opaque(body: bytes) -> bool:
    return body[3::4].count(255) == len(body) // 4 and len(set(body)) > 1


def _are_grey(body: bytes) -> bool:
    return body[::3] == body[1::3] == body[2::3] and len(set(body)) > 1
