"""The input sanity check on images of any size and number of channels."""

import dataclasses

import numpy as np
import pytest

from components.catalogues.catalogue import InputBounds
from components.contract import Images, ImageSpec
from components.readers.images.content import has_content
from components.readers.images.statistics import measure_images
from components.scoring.expectations import check_images
from components.scoring.sanity import inspect_images

WIDE = InputBounds()
SPECS = [ImageSpec(8, 9), ImageSpec(20, 24), ImageSpec(20, 24, 3), ImageSpec(128, 128, 3)]


def draw(image: ImageSpec, rows: int = 3) -> Images:
    """A shaded square on black, red if RGB."""
    grey = np.zeros((rows, image.height, image.width), np.uint8)
    grey[:, 2:-2, 2:-2] = np.linspace(100, 250, image.width - 4).astype(np.uint8)
    return grey if image.channels == 1 else grey[..., None] * np.array([1, 0, 0], np.uint8)


@pytest.mark.parametrize("image", SPECS, ids=str)
@pytest.mark.parametrize("rows", [1, 3])
def test_each_size_is_judged_by_its_own_bounds(image: ImageSpec, rows: int) -> None:
    images = draw(image, rows)
    strict = dataclasses.replace(WIDE, edge=50.0)
    assert inspect_images(images, strict) == inspect_images(images[:0], strict) == ()
    (inverted,) = inspect_images(255 - images, strict)
    assert (inverted.kind, inverted.is_wrong) == ("inverted", True)
    assert inspect_images(255 - images, WIDE) == (), "without a bound on the edge, the background may be bright"
    (scaled,) = inspect_images(images // 100, WIDE) if image.height > 8 else inspect_images(images // 250, WIDE)
    assert scaled.kind in {"scale", "blank"}


@pytest.mark.parametrize("image", SPECS, ids=str)
def test_a_single_colour_is_blank(image: ImageSpec) -> None:
    blank = np.zeros((2, *image.shape), np.uint8)
    blank[..., :1] = 255 if image.channels == 3 else 0
    assert has_content(draw(image)).all()
    assert not has_content(blank).any()


@pytest.mark.parametrize("image", SPECS, ids=str)
def test_the_edge_is_the_mean_of_the_outermost_pixels(image: ImageSpec) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *image.shape)).astype(np.uint8)
    mask = np.ones(image.shape, bool)
    mask[1:-1, 1:-1] = False
    expected = [one[mask].mean() for one in images]
    assert measure_images(images)["edge"] == pytest.approx(expected, abs=0.001)


def test_great_expectations_checks_colour_images() -> None:
    images = draw(ImageSpec(20, 24, 3), 100)
    assert {finding.kind for finding in check_images(images, WIDE)} == {"unusual"}  # because all images are equal
    (inverted,) = check_images(255 - images, dataclasses.replace(WIDE, edge=50.0))
    assert (inverted.kind, inverted.is_wrong) == ("inverted", True)
