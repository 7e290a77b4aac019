"""JSON of pixels: `{"images": [...]}`, each image 28 rows of 28 or one list of 784 whole numbers from 0 to 255.

NumPy's own conversion takes "1.5", true and NaN for numbers and reshapes what does not fit, so each value's type is
looked at here. `bytes` refuses what is no whole number from 0 to 255, at C speed, but for booleans.

Parsing JSON holds Python's lock, and a list, an object or a key takes far longer than the two bytes that it is written
in. So a large body is parsed only if it has no more of them than its images can have.
"""

from itertools import chain
from typing import Any

import numpy as np
import orjson

from components.catalogues.fashion_mnist import IMAGE_SHAPE, PIXELS
from components.contract import Images
from components.errors import InputError, InputTooLarge

MOST_IMAGES = 1024  # a request
ROWS, COLUMNS = IMAGE_SHAPE
SMALL = 64 << 10  # bytes, which are parsed in some milliseconds whatever they are
SPARE = 100  # images beyond those allowed whose number is still counted
MOST_OF = {  # in a larger body; quotes and braces are of one object with one key
    "[": (MOST_IMAGES + SPARE) * (ROWS + 1),
    ",": (MOST_IMAGES + SPARE) * PIXELS,
    "{": 1_000,
    '"': 1_000,
}
KEY = len('"images"')
BOM = b"\xef\xbb\xbf"  # some tools write it at the start of UTF-8


def read_pixel_json(body: bytes) -> Images:
    """Decode a request's images.

    Returns:
        uint8 (n, 28, 28), n from 1 to 1,024.

    Raises:
        InputError: with the field, such as `images[3][12]`, and the reason.
        InputTooLarge: more than 1,024 images, or more lists, objects and texts than these have.
    """
    if len(body) > SMALL:
        _refuse_crowded(body)
    try:
        document = orjson.loads(body.removeprefix(BOM))
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
        _read_fast(image, only_numbers) or _read_slowly(image, f"images[{number}]")
        for number, image in enumerate(images)
    )
    _refuse_repeated(body)
    return np.frombuffer(pixels, np.uint8).reshape(-1, *IMAGE_SHAPE)


def _refuse_crowded(body: bytes) -> None:
    content = np.frombuffer(body, np.uint8)
    for sign, most in MOST_OF.items():
        if np.count_nonzero(content == ord(sign)) > most:
            raise InputTooLarge("body", f"more than {most:,} times {sign}; {MOST_IMAGES:,} images have fewer")


def _refuse_repeated(body: bytes) -> None:
    """The parser takes the last of several keys. Quotes are of keys alone, once all images are of numbers."""
    if body.rfind(b'"') - body.find(b'"') != KEY - 1 and body.count(b'"') > 2:
        raise InputError("images", "found more than once, expected once")


def _read_fast(image: Any, only_numbers: bool) -> bytes | None:
    """An image that is as it should be; None: look closer."""
    try:
        if len(image) == PIXELS:
            return bytes(image) if only_numbers or _are_numbers(image) else None
        if len(image) == ROWS and set(map(type, image)) == {list} and set(map(len, image)) == {COLUMNS}:
            return b"".join(map(bytes, image)) if only_numbers or all(map(_are_numbers, image)) else None
    except (TypeError, ValueError):
        pass
    return None


def _are_numbers(values: Any) -> bool:
    return set(map(type, values)) == {int}


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
            advice = "; multiply pixels of 0 to 1 by 255, and round" if type(value) is float else ""
            raise InputError(field + place, f"found {found}, expected a whole number from 0 to 255{advice}")
    return bytes(values)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number") if value != [] else "an empty list"
