"""JSON of pixels: `{"images": [...]}`, each image 28 rows of 28 or one list of 784 whole numbers from 0 to 255.

NumPy's own conversion takes "1.5", true and NaN for numbers and reshapes what does not fit, so each value's type is
looked at here. `bytes` refuses what is no whole number from 0 to 255, at C speed, but for booleans.
"""

from itertools import chain
from typing import Any

import numpy as np
import orjson

from components.contract import IMAGE_SHAPE, PIXELS, Images
from components.errors import InputError, InputTooLarge

MOST_IMAGES = 1024  # a request
ROWS, COLUMNS = IMAGE_SHAPE


def read_pixel_json(body: bytes) -> Images:
    """Decode a request's images.

    Returns:
        uint8 (n, 28, 28), n from 1 to 1,024.

    Raises:
        InputError: with the field, such as `images[3][12]`, and the reason.
        InputTooLarge: more than 1,024 images.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("body", f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError("body", f'found {_kind(document)}, expected {{"images": [...]}}')
    if unknown := [key for key in document if key != "images"]:
        raise InputError(unknown[0][:40], "an unknown field; the only one is images")
    images = document.get("images")
    if not isinstance(images, list) or not images:
        raise InputError("images", f"found {_kind(images)}, expected a list of at least one image")
    if len(images) > MOST_IMAGES:
        raise InputTooLarge("images", f"{len(images):,} images, at most {MOST_IMAGES:,} a request")
    only_numbers = b"true" not in body and b"false" not in body  # which `bytes` would take for 1 and 0
    pixels = b"".join(
        (only_numbers and _read_fast(image)) or _read_slowly(image, f"images[{number}]")
        for number, image in enumerate(images)
    )
    return np.frombuffer(pixels, np.uint8).reshape(-1, *IMAGE_SHAPE)


def _read_fast(image: Any) -> bytes | None:
    """An image that is as it should be, booleans aside; None: look closer."""
    try:
        if len(image) == PIXELS:
            return bytes(image)
        if len(image) == ROWS and set(map(type, image)) == {list} and set(map(len, image)) == {COLUMNS}:
            return b"".join(map(bytes, image))
    except (TypeError, ValueError):
        pass
    return None


def _read_slowly(image: Any, field: str) -> bytes:
    """Any image, by looking at each of its values."""
    if not isinstance(image, list):
        raise InputError(field, f"found {_kind(image)}, expected 28 rows of 28 numbers, or 784 numbers")
    if len(image) == ROWS and all(isinstance(row, list) for row in image):
        for number, row in enumerate(image):
            if len(row) != COLUMNS:
                raise InputError(f"{field}[{number}]", f"{len(row)} numbers, expected {COLUMNS}")
        places = [f"[{row}][{column}]" for row in range(ROWS) for column in range(COLUMNS)]
        return _read_pixels(list(chain.from_iterable(image)), field, places)
    if len(image) != PIXELS:
        raise InputError(field, f"{len(image)} items, expected 28 rows of 28 numbers, or 784 numbers")
    return _read_pixels(image, field, [f"[{number}]" for number in range(PIXELS)])


def _read_pixels(values: list[Any], field: str, places: list[str]) -> bytes:
    for value, place in zip(values, places, strict=True):
        if type(value) is not int or not 0 <= value <= 255:
            found = repr(value)[:20] if type(value) in (int, float) else _kind(value)
            raise InputError(field + place, f"found {found}, expected a whole number from 0 to 255")
    return bytes(values)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number") if value != [] else "an empty list"
