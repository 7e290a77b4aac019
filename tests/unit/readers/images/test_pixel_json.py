"""Pixels as JSON."""

import re
from typing import Any

import numpy as np
import orjson
import pytest
from noises import noise

from components.catalogues.fashion_mnist import CONTRACT
from components.errors import InputError, InputTooLarge
from components.readers.images.pixel_json import MAX_IMAGES, _read_fast, read_pixel_json


def body(*images: Any) -> bytes:
    return orjson.dumps({"images": images})


def flat(*changes: tuple[int, Any]) -> list[Any]:
    values: list[Any] = [1] * 784
    for place, value in changes:
        values[place] = value
    return values


def in_rows(*changes: tuple[int, Any]) -> list[list[Any]]:
    values = flat(*changes)
    return [values[start : start + 28] for start in range(0, 784, 28)]


def test_rows_and_flat_lists_give_the_same_images() -> None:
    images = noise(3, 28, 28)
    rows, lists = (
        read_pixel_json(body(*images.tolist()), CONTRACT.image),
        read_pixel_json(body(*images.reshape(3, 784).tolist()), CONTRACT.image),
    )
    assert rows.dtype == np.uint8
    assert np.array_equal(rows, images)
    assert np.array_equal(lists, images)
    assert np.array_equal(
        read_pixel_json(body(images[0].tolist(), images[1].ravel().tolist()), CONTRACT.image), images[:2]
    )


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (b"", "body", "invalid JSON"),
        (b"images", "body", "invalid JSON"),
        (b'{"images": [', "body", "invalid JSON"),
        (b'{"images": [[\xff]]}', "body", "invalid JSON"),
        (b'{"images": [[NaN]]}', "body", "invalid JSON"),
        (b'{"images": [[Infinity]]}', "body", "invalid JSON"),
        (b'{"images": [[-Infinity]]}', "body", "invalid JSON"),
        (b'{"images": [[1e400]]}', "body", "invalid JSON"),
        (b'{"images": ' + b"[" * 30_000, "body", "invalid JSON"),
        (b'{"images": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "body", "invalid JSON"),
        (b'{"images": [[1]], "images": [[1]]}', "images[0]", "1 items"),
        (b"[[1, 2]]", "body", r"found a list, expected \{\"images\""),
        (b"null", "body", "found nothing"),
        (b'"images"', "body", "found a string"),
        (b"{}", "images", "found nothing, expected a list"),
        (b'{"images": null}', "images", "found nothing"),
        (b'{"images": {}}', "images", "found an object"),
        (b'{"images": "1"}', "images", "found a string"),
        (b'{"images": true}', "images", "found a boolean"),
        (b'{"images": 1}', "images", "found a number"),
        (b'{"images": []}', "images", "found an empty list, expected a list of at least one image"),
        (b'{"images": [[1]], "image": 1}', "image", "unknown field, expected only images"),
        (b'{"' + b"x" * 999 + b'": 1}', "x" * 40, "unknown field"),
    ],
)
def test_errors_in_the_body_name_the_field(content: bytes, field: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        read_pixel_json(content, CONTRACT.image)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("image", "field", "reason"),
    [
        (None, "", "found nothing, expected 28 rows"),
        (7, "", "found a number, expected 28 rows"),
        ("abc", "", "found a string, expected 28 rows"),
        ({}, "", "found an object, expected 28 rows"),
        ([], "", "0 items, expected 28 rows"),
        (flat()[:-1], "", "783 items, expected 28 rows of 28 numbers, or 784 numbers"),
        ([*flat(), 1], "", "785 items"),
        (in_rows()[:-1], "", "27 items"),
        ([*in_rows(), [1] * 28], "", "29 items"),
        ([*in_rows()[:-1], 5], "", "28 items"),
        ([*in_rows()[:-1], []], "[27]", "0 numbers, expected 28"),
        ([[1] * 27, *in_rows()[1:]], "[0]", "27 numbers, expected 28"),
        ([in_rows()[0], [1] * 29, *in_rows()[2:]], "[1]", "29 numbers, expected 28"),
    ],
)
def test_errors_in_the_shape_name_the_image(image: Any, field: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        read_pixel_json(body(flat(), in_rows(), image), CONTRACT.image)
    assert refused.value.field == f"images[2]{field}"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (256, "256"),
        (-1, "-1"),
        (2**64 - 1, "18446744073709551615"),
        (1.5, "1.5"),
        (1.0, "1.0"),
        ("5", "a string"),
        (True, "a boolean"),
        (False, "a boolean"),
        (None, "nothing"),
        ([1], "a list"),
        ([], "an empty list"),
        ({}, "an object"),
    ],
)
def test_errors_in_a_value_name_the_pixel(value: Any, found: str) -> None:
    advice = ". Multiply pixels from 0 to 1 by 255 and round them" if isinstance(value, float) else ""
    reason = f"^{{}}: found {re.escape(found)}, expected a whole number from 0 to 255{re.escape(advice)}$"
    with pytest.raises(InputError, match=reason.format(r"images\[0\]\[70\]")):
        read_pixel_json(body(flat((70, value))), CONTRACT.image)
    with pytest.raises(InputError, match=reason.format(r"images\[1\]\[2\]\[14\]")):
        read_pixel_json(body(in_rows(), in_rows((70, value), (71, value))), CONTRACT.image)


@pytest.mark.parametrize(
    ("crowd", "sign"),
    [
        (b"[],", r"\["),
        (b"{},", r"\{"),
        (b'"",', '"'),
        (b"0,", ","),
        (b"null,", ","),
        (b"[" * 400 + b"]" * 400 + b",", r"\["),
        (b'"key":0,', '"'),
    ],
)
def test_a_body_that_takes_long_to_parse_is_refused(crowd: bytes, sign: str) -> None:
    """Parsing eight megabytes of it took over a second, during which no other request was answered."""
    number = 1_000_000 // len(crowd) if sign != "," else 900_000
    content = b'{"images":[' + crowd * number + b"0]}"
    with pytest.raises(
        InputTooLarge, match=f"^body: found {sign} more than [0-9,]+ times, expected fewer for 1,024 images$"
    ):
        read_pixel_json(content, CONTRACT.image)


@pytest.mark.parametrize("image", [flat(), in_rows()])
def test_a_boolean_does_not_slow_down_other_images(image: list[Any]) -> None:
    """A single boolean made every image of a request take the slow path: half a second for a thousand."""
    assert _read_fast(image, CONTRACT.image, only_numbers=False) == bytes([1] * 784)
    for wrong in (True, 1.0, 256, None):
        assert _read_fast(flat((5, wrong)), CONTRACT.image, only_numbers=False) is None
        assert _read_fast(in_rows((5, wrong)), CONTRACT.image, only_numbers=False) is None


def test_a_repeated_images_key_is_refused() -> None:
    """Parsers use the last of repeated keys; a proxy may have read the first."""
    image = orjson.dumps(flat())
    for content in (b'{"images":[%b],"images":[%b]}', b'{"images":[%b], "im\\u0061ges" : [%b]}'):
        with pytest.raises(InputError, match=r"^images: found more than once, expected once$"):
            read_pixel_json(content % (image, image), CONTRACT.image)
    for content in (b'{"im\\u0061ges":[%b]}', b'\xef\xbb\xbf{"images":[%b]}', b'\n{ "images"\t:[%b]}\r\n'):
        assert read_pixel_json(content % image, CONTRACT.image).shape == (1, 28, 28)


def test_a_request_has_at_most_1024_images() -> None:
    image = orjson.dumps(flat())
    full = b'{"images": [' + b",".join([image] * MAX_IMAGES) + b"]}"
    assert read_pixel_json(full, CONTRACT.image).shape == (1024, 28, 28)
    with pytest.raises(InputTooLarge, match="images: found 1,025 images, expected at most 1,024 per request"):
        read_pixel_json(full.replace(b"[", b"[" + image + b",", 1), CONTRACT.image)
