"""Corrupted pictures of every format are read or refused within the time limit. Every run uses the same ones."""

import random
import time

import numpy as np
import pytest
from harmed_pictures import harm, whole_pictures

from components.catalogues.fashion_mnist import CONTRACT
from components.errors import InputError
from components.readers.images.photos import read_views

WHOLE = whole_pictures()
SECONDS = 1.0  # of CPU time


def read_or_refuse(content: bytes) -> bool:
    """Return whether it was read. Anything but an image or an InputError is a bug."""
    began = time.process_time()
    try:
        images = read_views(content, CONTRACT)
    except InputError:
        return False
    finally:
        assert time.process_time() - began < SECONDS
    assert images.dtype == np.uint8
    assert images.shape[1:] == (28, 28)
    return True


@pytest.mark.parametrize("form", WHOLE)
def test_intact_pictures_are_read(form: str) -> None:
    read = [read_or_refuse(content) for content in WHOLE[form]]
    assert read.count(False) == (form == "WEBP"), "the animated one"


def try_harmed(form: str, number: int) -> None:
    rng = random.Random(f"{form} {number}")
    read = sum(read_or_refuse(harm(form, WHOLE[form], rng)) for _ in range(number))
    assert 0.05 * number < read < 0.95 * number, "the harm is neither too great nor too small to find anything"


@pytest.mark.parametrize("form", WHOLE)
def test_corrupted_pictures_are_read_or_refused(form: str) -> None:
    try_harmed(form, 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "number"), [("PNG", 10_000), ("JPEG", 5000), ("WEBP", 3000), ("GIF", 2000), ("BMP", 2000)]
)
def test_twenty_two_thousand_corrupted_pictures_are_read_or_refused(form: str, number: int) -> None:
    try_harmed(form, number)
