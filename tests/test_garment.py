"""Finding a garment on a busy background."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from components.formats.garment import draw_garment, find_garment
from components.formats.photos import read_photo

HEIGHT, WIDTH = 160, 120
OUTLINE = [(30, 30), (90, 30), (105, 70), (88, 75), (88, 135), (32, 135), (32, 75), (15, 70)]


def carpet(seed: int = 0) -> NDArray[np.uint8]:
    """Stripes and noise, brown."""
    random = np.random.default_rng(seed)
    stripes = 20 * (np.arange(HEIGHT)[:, None, None] // 10 % 2)
    noise = random.normal(0, 10, (HEIGHT, WIDTH, 1))
    return np.asarray((np.array([120, 90, 60]) + stripes + noise).clip(0, 255), np.uint8)


def shirt() -> NDArray[np.bool_]:
    picture = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).polygon(OUTLINE, fill=1)
    return np.asarray(picture)


def photo(color: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    pixels = carpet(seed)
    shade = np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 1))
    pixels[shirt()] = (np.array(color) + shade).clip(0, 255).astype(np.uint8)[shirt()]
    return pixels


COLORS = pytest.mark.parametrize("color", [(30, 60, 160), (230, 230, 225), (20, 20, 22), (170, 30, 50)])


@COLORS
def test_a_garment_is_found_on_a_carpet(color: tuple[int, int, int]) -> None:
    mask = find_garment(photo(color))
    assert mask is not None
    assert (mask & shirt()).sum() / (mask | shirt()).sum() > 0.9


def test_the_same_photo_gives_the_same_mask() -> None:
    first, again = find_garment(photo((30, 60, 160))), find_garment(photo((30, 60, 160)))
    assert first is not None
    assert again is not None
    assert np.array_equal(first, again)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_where_nothing_stands_out_whatever_is_found_is_a_mask_of_something(level: int) -> None:
    mask = find_garment(np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    assert mask is None or mask.any()


def test_only_the_garment_is_drawn() -> None:
    drawn = draw_garment(photo((30, 60, 160)), shirt())
    rows, columns = np.flatnonzero(shirt().any(1)), np.flatnonzero(shirt().any(0))
    box = shirt()[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert drawn.shape == box.shape
    assert not drawn[~box].any()
    assert 150 < drawn[box].mean() < 170


@COLORS
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_photo_becomes_a_bright_garment_on_black(color: tuple[int, int, int], form: str) -> None:
    """Which fills the 28 pixels, as the dataset's garments do."""
    content = io.BytesIO()
    Image.fromarray(photo(color)).resize((WIDTH * 3, HEIGHT * 3)).save(content, form)
    (seen,) = read_photo(content.getvalue())
    lit = seen > 60
    assert lit.any(axis=1).sum() >= 26
    assert 0.4 < lit.mean() < 0.75
    assert not seen[:, :2].any(), "it is centred, with nothing of the carpet beside it"
    assert seen[lit].mean() > 130
