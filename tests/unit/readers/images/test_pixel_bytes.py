"""Raw pixel bytes, and other encodings of a plausible length."""

import os
from pathlib import Path

import numpy as np
import pytest
from blanks import draw_blanks

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Images
from components.dataset.manifest import Examples
from components.errors import InputError
from components.readers.images.pixel_bytes import read_pixel_bytes

ARCHIVE = Path(os.environ.get("FASHION_SOURCE", "auto"), "train-images-idx3-ubyte.gz")


@pytest.fixture
def images(test_split: Examples) -> Images:
    return test_split.images


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    ("kind", "scale", "advice"),
    [
        ("float32", 255, r"Send \(pixels \* 255\)\.round\(\)\.astype\('uint8'\)"),
        ("float32", 1, r"Send \(pixels\)\.round\(\)"),
        ("float64", 255, r"Send \(pixels \* 255\)"),
        ("int64", 1, r"Send pixels\.astype\('uint8'\)"),
        ("int32", 1, "Send pixels"),
        ("uint16", 1, "Send pixels"),
    ],
)
def test_multi_byte_numbers_are_refused(images: Images, kind: str, scale: int, advice: str, count: int) -> None:
    """Each is as long as two, four or eight images."""
    found = f"body: found {kind.removeprefix('u')} numbers, expected one byte per pixel, from 0 to 255"
    with pytest.raises(InputError, match=rf"^{found}\. {advice}"):
        read_pixel_bytes((images[:count] / scale).astype(kind).tobytes(), CONTRACT.image)


def test_rgb_and_rgba_for_greyscale_images_are_refused(images: Images) -> None:
    opaque = np.full_like(images[0], 255)
    with pytest.raises(InputError, match="three equal bytes per pixel"):
        read_pixel_bytes(np.stack([images[0]] * 3, axis=-1).tobytes(), CONTRACT.image)
    with pytest.raises(InputError, match="four bytes per pixel"):
        read_pixel_bytes(np.stack([images[0], images[1], images[2], opaque], axis=-1).tobytes(), CONTRACT.image)


def test_any_number_of_blank_images_is_accepted(images: Images) -> None:
    for blank in draw_blanks().values():
        for count in (1, 2, 3, 4, 8, 24):
            assert len(read_pixel_bytes(blank[:1].tobytes() * count, CONTRACT.image)) == count
