"""Raw pixels: one byte per pixel and channel, row-major, images concatenated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, ImageSpec
from components.errors import InputError, InputTooLarge
from components.readers.images.pixel_json import MAX_IMAGES

FLOATS: dict[np.dtype[Any], bytes] = {  # type -> possible last bytes of a pixel
    np.dtype("<f4"): bytes([0, *range(0x37, 0x44)]),
    np.dtype("<f8"): bytes([0, 0x3E, 0x3F, 0x40]),
}
INTEGERS: tuple[np.dtype[Any], ...] = (np.dtype("<i8"), np.dtype("<i4"), np.dtype("<i2"))
LEAST = 2.0**-17  # a float pixel is 0, or from this to 255
FEW = 16  # non-zero values per image; with at most this many, a type cannot be detected


def read_pixel_bytes(body: bytes, image: ImageSpec) -> Images:
    """Read the images of a request.

    Returns:
        uint8 (n, height, width[, 3]), n from 1 to 1,024, a view of `body`.

    Raises:
        InputError: the body is not a multiple of the image size, or has another type or more channels.
        InputTooLarge: more than 1,024 images.
    """
    size = image.size
    if not body or len(body) % size:
        raise InputError("body", f"found {len(body):,} bytes, expected a multiple of {size}, the size of an image")
    if found := _find_other_encoding(body, image):
        kind, _, advice = found.partition("; ")
        raise InputError("body", f"found {kind}, expected one byte per pixel, from 0 to 255. {advice}")
    if len(body) > MAX_IMAGES * size:
        raise InputTooLarge("body", f"found {len(body) // size:,} images, expected at most {MAX_IMAGES:,} per request")
    return np.frombuffer(body, np.uint8).reshape(-1, *image.shape)


def _find_other_encoding(body: bytes, image: ImageSpec) -> str:
    """Detect other encodings: with several bytes per pixel, the body is also a multiple of the image size.

    Each is checked on the first image, then on the whole body. No image of Fashion-MNIST is mistaken for one.

    Returns:
        What was found and what to do, separated by a semicolon; "" for plain bytes.
    """
    size = image.size
    images, start, few = len(body) // size, body[:size], FEW / size
    for kind, last in FLOATS.items():
        if images % kind.itemsize == 0 and not start[kind.itemsize - 1 :: kind.itemsize].translate(None, last):
            numbers = np.frombuffer(body, kind)
            if _are_pixels(numbers, LEAST, few):
                scale = " * 255" if numbers.max() <= 1 else ""
                return f"{kind.name} numbers; Send (pixels{scale}).round().astype('uint8').tobytes()"
    if images % 2 == 0 and not any(start[1::2]):
        for kind in INTEGERS:
            if images % kind.itemsize == 0 and _are_pixels(np.frombuffer(body, kind), 1, few):
                return f"{kind.name} numbers; Send pixels.astype('uint8').tobytes()"
    if image.channels > 1:
        return ""
    if images % 4 == 0 and start[3::4].count(255) == len(start) // 4 and _are_opaque(body):
        return "four bytes per pixel (RGBA); Convert the picture to greyscale, or send the file to /classify"
    end = size - size % 3
    if images % 3 == 0 and start[:end:3] == start[1:end:3] == start[2:end:3] and _are_grey(body):
        return "three equal bytes per pixel (RGB); Send one channel of the picture, or the file to /classify"
    return ""


def _are_pixels(numbers: NDArray[Any], least: float, few: float) -> bool:
    """Whether all values are 0 or from `least` to 255, and more than a fraction `few` is not 0."""
    within = (numbers == 0) | ((numbers >= least) & (numbers <= 255))
    return bool(within.all()) and int(np.count_nonzero(numbers)) > few * len(numbers)


def _are_opaque(body: bytes) -> bool:
    return body[3::4].count(255) == len(body) // 4 and len(set(body)) > 1


def _are_grey(body: bytes) -> bool:
    return body[::3] == body[1::3] == body[2::3] and len(set(body)) > 1
