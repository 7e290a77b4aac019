"""Detection of blank images."""

import os
from pathlib import Path

import numpy as np
import pytest
from blanks import draw_blanks

from components.catalogues.fashion_mnist import INPUTS
from components.dataset.manifest import Examples
from components.readers.images.content import has_content
from components.scoring.sanity import inspect_images

SOURCE = Path(os.environ.get("FASHION_SOURCE", "auto"))
BLANKS = draw_blanks()


@pytest.mark.parametrize("name", BLANKS)
def test_a_blank_image_shows_nothing(name: str) -> None:
    assert not has_content(BLANKS[name]).any()
    assert not has_content(BLANKS[name][:1]).any()


def test_a_garment_shows_something_bright_or_dark_or_faint(test_split: Examples) -> None:
    images = test_split.images
    assert has_content(images).all()
    assert has_content(255 - images).all()
    assert has_content(images // 2 + 100).all()  # on grey
    assert has_content(images // 3).all()


def test_a_single_image_gives_the_same_result_as_in_a_batch(test_split: Examples) -> None:
    images = np.concatenate([*BLANKS.values(), test_split.images])
    assert has_content(images).tolist() == [bool(has_content(image[None])[0]) for image in images]
    assert has_content(images[:0]).tolist() == []


def test_images_that_pass_the_input_check_show_something(test_split: Examples) -> None:
    """So a request needs no second check."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28), np.uint8)
    images = np.concatenate([test_split.images[:100], test_split.images[:100] // 6, noise, *draw_blanks().values()])
    for image in images:
        if not inspect_images(image[None], INPUTS):
            assert has_content(image[None]).all()
    assert any(inspect_images(image[None], INPUTS) for image in images)


@pytest.mark.parametrize("shape", [(20, 24, 3), (9, 11), (64, 64), (128, 128, 3)])
def test_images_of_any_size_and_channels_are_judged(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    blank = np.full((1, *shape), 90, np.uint8)
    noise = generator.integers(1, 256, (1, *shape), np.uint8)
    slope = np.broadcast_to(np.linspace(20, 220, shape[1]).reshape(1, -1, *[1] * (len(shape) - 2)), shape)
    images = np.concatenate([blank, noise, slope[None].astype(np.uint8)])
    assert has_content(images).tolist() == [False, False, True]
    assert has_content(images).tolist() == [bool(has_content(image[None])[0]) for image in images]
