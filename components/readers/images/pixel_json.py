"""Pixels as JSON: `{"images": [...]}`. Each image is a list of rows, or a flat list of values from 0 to 255.

A row is a list of pixels; a pixel is a number, or a list of three for RGB images.

NumPy accepts "1.5", true and NaN as numbers and reshapes silently, so the types are checked here. `bytes` rejects
everything but integers from 0 to 255 at C speed, except booleans.

The JSON parser holds the GIL, and a list, object or key takes far longer to parse than its two bytes suggest. So a
large body is parsed only if it has no more of them than its images can have.
"""

from itertools import chain
from typing import Any

import numpy as np
import orjson

from components.contract import Images, ImageSpec
from components.errors import InputError, InputTooLarge

MAX_IMAGES = 1024  # per request
SMALL = 64 << 10  # bytes, which are parsed in milliseconds whatever their content
SPARE = 100  # images above the limit that are still counted exactly
KEY = len('"images"')
BOM = b"\xef\xbb\xbf"  # UTF-8 byte order mark, which some tools write


def read_pixel_json(body: bytes, image: ImageSpec) -> Images:
    """Decode the images of a request.

    Returns:
        uint8 (n, height, width[, 3]), n from 1 to 1,024.

    Raises:
        InputError: names the field, such as `images[3][12]`, and the reason.
        InputTooLarge: more than 1,024 images, or more lists, objects and strings than they have.
    """
    if len(body) > SMALL:
        _refuse_excess(body, image)
    try:
        document = orjson.loads(body.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        raise InputError("body", f"invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError("body", f'found {_kind(document)}, expected {{"images": [...]}}')
    if unknown := [key for key in document if key != "images"]:
        raise InputError(unknown[0][:40], "unknown field, expected only images")
    images = document.get("images")
    if not isinstance(images, list) or not images:
        raise InputError("images", f"found {_kind(images)}, expected a list of at least one image")
    if len(images) > MAX_IMAGES:
        raise InputTooLarge("images", f"found {len(images):,} images, expected at most {MAX_IMAGES:,} per request")
    only_numbers = b"r" not in body and b"l" not in body  # no true or false, which `bytes` accepts as 1 and 0
    pixels = b"".join(
        _read_fast(found, image, only_numbers) or _read_slowly(found, image, f"images[{number}]")
        for number, found in enumerate(images)
    )
    _refuse_repeated(body)
    return np.frombuffer(pixels, np.uint8).reshape(-1, *image.shape)


def _refuse_excess(body: bytes, image: ImageSpec) -> None:
    content, images = np.frombuffer(body, np.uint8), MAX_IMAGES + SPARE
    lists = 1 + image.height * (1 if image.channels == 1 else 1 + image.width)
    # Quotes and braces belong to one object with one key
    for sign, most in {"[": images * lists, ",": images * image.size, "{": 1_000, '"': 1_000}.items():
        if np.count_nonzero(content == ord(sign)) > most:
            message = f"found {sign} more than {most:,} times, expected fewer for {MAX_IMAGES:,} images"
            raise InputTooLarge("body", message)


def _refuse_repeated(body: bytes) -> None:
    """Refuse a repeated key: the parser would use the last. If all images are valid, only keys have quotes."""
    if body.rfind(b'"') - body.find(b'"') != KEY - 1 and body.count(b'"') > 2:
        raise InputError("images", "found more than once, expected once")


def _read_fast(found: Any, image: ImageSpec, only_numbers: bool) -> bytes | None:
    """Read a valid image; None: use `_read_slowly`."""
    try:
        if len(found) == image.size:
            return bytes(found) if only_numbers or _are_numbers(found) else None
        if _are_lists(found, image.height, image.width):
            rows = found
            if image.channels > 1:
                if not all(_are_lists(row, image.width, image.channels) for row in rows):
                    return None
                rows = [list(chain.from_iterable(row)) for row in rows]
            return b"".join(map(bytes, rows)) if only_numbers or all(map(_are_numbers, rows)) else None
    except (TypeError, ValueError):
        pass
    return None


def _are_lists(found: Any, count: int, length: int) -> bool:
    """Whether `found` has `count` lists of that length."""
    return len(found) == count and set(map(type, found)) == {list} and set(map(len, found)) == {length}


def _are_numbers(values: Any) -> bool:
    return set(map(type, values)) == {int}


def _read_slowly(found: Any, image: ImageSpec, field: str) -> bytes:
    """Read any image value by value, or name the first invalid one."""
    words = ("numbers",) if image.channels == 1 else ("pixels", "numbers")
    expected = f"expected {image.height} rows of {image.width} {words[0]}, or {image.size} numbers"
    if not isinstance(found, list):
        raise InputError(field, f"found {_kind(found)}, {expected}")
    if len(found) == image.height and all(isinstance(row, list) for row in found):
        paths = [f"[{number}]" for number in range(image.height)]
        for length, word in zip(image.shape[1:], words, strict=True):
            for item, path in zip(found, paths, strict=True):
                if not isinstance(item, list):
                    raise InputError(field + path, f"found {_kind(item)}, expected {length} {word}")
                if len(item) != length:
                    raise InputError(field + path, f"found {len(item)} {word}, expected {length}")
            found = list(chain.from_iterable(found))
            paths = [f"{path}[{number}]" for path in paths for number in range(length)]
        return _read_pixels(found, field, paths)
    if len(found) != image.size:
        raise InputError(field, f"found {len(found)} items, {expected}")
    return _read_pixels(found, field, [f"[{number}]" for number in range(image.size)])


def _read_pixels(values: list[Any], field: str, paths: list[str]) -> bytes:
    for value, path in zip(values, paths, strict=True):
        if type(value) is not int or not 0 <= value <= 255:
            found = repr(value)[:20] if type(value) in (int, float) else _kind(value)
            advice = ". Multiply pixels from 0 to 1 by 255 and round them" if type(value) is float else ""
            raise InputError(field + path, f"found {found}, expected a whole number from 0 to 255{advice}")
    return bytes(values)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number") if value != [] else "an empty list"
