"""Letterboxing of photos."""

import numpy as np
import pytest
from PIL import Image

from components.catalogues.preparation.letterbox import letterbox
from components.contract import ImageSpec

RED, GREEN = (200, 20, 20), (20, 180, 20)
SPECS = [ImageSpec(20, 24, 3), ImageSpec(20, 24), ImageSpec(64, 16, 3)]


@pytest.mark.parametrize("image", SPECS, ids=str)
@pytest.mark.parametrize("size", [(300, 90), (90, 300), (7, 5), (1, 4000)])
def test_the_whole_picture_is_visible_and_padded_with_its_border_colour(
    image: ImageSpec, size: tuple[int, int]
) -> None:
    picture = Image.new("RGB", size, RED)
    left, top = size[0] // 3, size[1] // 3
    picture.paste(GREEN, (left, top, max(size[0] - left, left + 1), max(size[1] - top, top + 1)))
    (drawn,) = letterbox(picture, image)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    if min(size) > 4:
        corners = drawn[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
        level = np.array(RED) if image.channels == 3 else np.array(Image.new("RGB", (1, 1), RED).convert("L"))[0]
        assert abs(corners - level).max() <= 12
        middle = drawn[image.height // 2, image.width // 2].astype(int)
        assert abs(middle - corners[0]).max() > 20


@pytest.mark.parametrize("image", SPECS, ids=str)
def test_transparency_becomes_white(image: ImageSpec) -> None:
    picture = Image.new("RGBA", (50, 50))
    assert letterbox(picture, image).min() == 255
    assert letterbox(picture.convert("LA"), image).min() == 255
