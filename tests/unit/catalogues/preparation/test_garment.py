"""Finding a garment on a busy background."""

import numpy as np
import pytest
from garments import HEIGHT, WIDTH, encode, photo, shirt

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.preparation.fashion_mnist import WIDTHS
from components.catalogues.preparation.garment import MEAN, draw_garment, find_garment
from components.readers.images.photos import read_photo, read_views

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
    assert abs(drawn[box].mean() - MEAN) < 10


@COLORS
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_photo_becomes_a_bright_garment_on_black(color: tuple[int, int, int], form: str) -> None:
    """Which fills the 28 pixels, as the dataset's garments do."""
    (seen,) = read_photo(encode(color, form), CONTRACT)
    lit = seen > 60
    assert lit.any(axis=1).sum() >= 26
    assert 0.4 < lit.mean() < 0.75
    assert not seen[:, :2].any(), "it is centred, with nothing of the carpet beside it"
    assert abs(seen[lit].mean() - MEAN) < 10


def test_a_garment_in_a_photo_is_seen_in_several_widths_and_mirrored() -> None:
    views = read_views(encode((30, 60, 160)), CONTRACT)
    assert views.dtype == np.uint8
    assert views.shape == (2 * len(WIDTHS), 28, 28)
    assert np.array_equal(views[0], read_photo(encode((30, 60, 160)), CONTRACT)[0]), (
        "what a person is shown is the first"
    )
    assert np.array_equal(views[len(WIDTHS) :], views[: len(WIDTHS), :, ::-1])
    lit = (views[: len(WIDTHS)] > 60).any(axis=1).sum(axis=1)
    assert np.allclose(lit, lit[0] * np.array(WIDTHS), atol=1.5)
    assert (views > 60).any(axis=2).sum(axis=1).min() >= 26, "each is as tall as it can be"


def test_the_same_photo_gives_the_same_views() -> None:
    assert np.array_equal(read_views(encode((170, 30, 50)), CONTRACT), read_views(encode((170, 30, 50)), CONTRACT))
