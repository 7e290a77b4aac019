"""Segmenting a garment on a busy background."""

import io

import numpy as np
import pytest
from garments import HEIGHT, WIDTH, encode, photo, shirt
from numpy.typing import NDArray
from PIL import Image

from components.catalogues.fashion_mnist import CONTRACT, FIRST_CONTRACT
from components.catalogues.preparation import preparation_of
from components.catalogues.preparation.fashion_mnist import WIDTHS, prepare
from components.catalogues.preparation.garment import (
    MEAN,
    FindGarment,
    draw_garment,
    find_garment,
    find_garment_fast,
    find_garment_sampled,
    garment,
)
from components.contract import DataContract, ImageSpec
from components.readers.images.photos import read_photo, read_views, write_png

COLORS = pytest.mark.parametrize("color", [(30, 60, 160), (230, 230, 225), (20, 20, 22), (170, 30, 50)])
FASTER = pytest.mark.parametrize("find", [find_garment_fast, find_garment_sampled])


@COLORS
def test_a_garment_is_found_on_a_carpet(color: tuple[int, int, int]) -> None:
    mask = find_garment(photo(color))
    assert mask is not None
    assert (mask & shirt()).sum() / (mask | shirt()).sum() > 0.9


@COLORS
@FASTER
def test_a_faster_segmentation_finds_the_same_garment(find: FindGarment, color: tuple[int, int, int]) -> None:
    slow, fast = find_garment(photo(color)), find(photo(color))
    assert slow is not None
    assert fast is not None
    assert (slow & fast).sum() / (slow | fast).sum() > 0.97


@FASTER
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_faster_segmentation_handles_a_flat_photo(find: FindGarment, level: int) -> None:
    mask = find(np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    assert mask is None or mask.any()


@FASTER
@pytest.mark.parametrize("size", [(64, 64), (5, 160), (160, 3)])
def test_a_faster_segmentation_handles_a_small_or_narrow_photo(find: FindGarment, size: tuple[int, int]) -> None:
    mask = find(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert mask is None or (mask.shape == size and mask.any())


def test_the_same_photo_gives_the_same_mask() -> None:
    first, again = find_garment(photo((30, 60, 160))), find_garment(photo((30, 60, 160)))
    assert first is not None
    assert again is not None
    assert np.array_equal(first, again)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_mask_of_a_flat_photo_is_never_empty(level: int) -> None:
    mask = find_garment(np.full((HEIGHT // 2, WIDTH // 2, 3), level, np.uint8))
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
    """The garment fills the 28 pixels, like those of the dataset."""
    (seen,) = read_photo(encode(color, form), CONTRACT)
    lit = seen > 60
    assert lit.any(axis=1).sum() >= 25
    assert 0.4 < lit.mean() < 0.75
    assert not seen[:, :2].any(), "it is centred, without any of the carpet"
    assert abs(seen[lit].mean() - MEAN) < 12


def test_a_photo_has_mirrored_views_in_several_widths() -> None:
    views = read_views(encode((30, 60, 160)), CONTRACT)
    assert views.dtype == np.uint8
    assert views.shape == (2 * len(WIDTHS), 28, 28)
    assert np.array_equal(views[0], read_photo(encode((30, 60, 160)), CONTRACT)[0]), "the first view is displayed"
    assert np.array_equal(views[len(WIDTHS) :], views[: len(WIDTHS), :, ::-1])
    lit = (views[: len(WIDTHS)] > 60).any(axis=1).sum(axis=1)
    assert np.allclose(lit, lit[0] * np.array(WIDTHS), atol=1.5)
    assert (views > 60).any(axis=2).sum(axis=1).min() >= 26, "each is as tall as it can be"


@pytest.mark.parametrize(("contract", "find"), [(FIRST_CONTRACT, find_garment), (CONTRACT, find_garment_sampled)])
def test_each_version_keeps_its_segmentation(contract: DataContract, find: FindGarment) -> None:
    picture = Image.fromarray(photo((30, 60, 160)))
    found = preparation_of(contract).views(picture, contract)
    assert np.array_equal(found, prepare(picture, contract.image, find))
    assert not np.array_equal(found, prepare(picture, contract.image, lambda photo: None))


def test_the_same_photo_gives_the_same_views() -> None:
    assert np.array_equal(read_views(encode((170, 30, 50)), CONTRACT), read_views(encode((170, 30, 50)), CONTRACT))


# --- the preparation for any catalogue ---

SPECS = [ImageSpec(32, 32), ImageSpec(32, 32, 3), ImageSpec(20, 24, 3), ImageSpec(128, 96)]


def prepared(image: ImageSpec, content: bytes) -> NDArray[np.uint8]:
    drawn: NDArray[np.uint8] = read_photo(content, DataContract("shop", ("a", "b"), image, "garment"))[0]
    return drawn


def lit_in(drawn: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of the garment, (h, w)."""
    return np.asarray((drawn > 5).any(axis=2) if drawn.ndim == 3 else drawn > 5)


@COLORS
@pytest.mark.parametrize("image", SPECS, ids=str)
def test_a_garment_on_a_carpet_fills_an_image_of_any_size_on_black(
    color: tuple[int, int, int], image: ImageSpec
) -> None:
    drawn = prepared(image, encode(color))
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    lit = lit_in(drawn)
    rows, columns = np.ptp(np.flatnonzero(lit.any(axis=1))) + 1, np.ptp(np.flatnonzero(lit.any(axis=0))) + 1
    assert max(rows / image.height, columns / image.width) > 0.95
    assert rows / columns == pytest.approx(105 / 90, rel=0.2), "it keeps its shape"
    assert not drawn[[0, -1]][:, [0, -1]].any(), "an upright shirt leaves the corners free"


@pytest.mark.parametrize("image", SPECS[:2], ids=str)
def test_a_garment_on_a_plain_or_transparent_background_is_cut_out(image: ImageSpec) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
    pixels[shirt()] = (170, 30, 50)
    alpha = np.where(shirt(), 255, 0).astype(np.uint8)
    for picture in (Image.fromarray(pixels), Image.fromarray(np.dstack([photo((170, 30, 50)), alpha]))):
        content = io.BytesIO()
        picture.save(content, "PNG")
        lit = lit_in(prepared(image, content.getvalue()))
        assert 0.4 < lit.mean() < 0.8
        assert lit[image.height // 2, image.width // 2]
        assert not lit[0, 0]


def test_brightness_is_normalized_and_colour_is_kept() -> None:
    for color, channel in (((30, 60, 160), 2), ((170, 30, 50), 0)):
        drawn = prepared(ImageSpec(32, 32, 3), encode(color))
        inside = drawn[lit_in(drawn)].mean(axis=0)
        assert inside.argmax() == channel
        grey = prepared(ImageSpec(32, 32), encode(color))
        assert abs(grey[grey > 60].mean() - MEAN) < 15


@pytest.mark.parametrize("image", SPECS[:2], ids=str)
def test_without_a_garment_the_whole_picture_is_used(image: ImageSpec) -> None:
    content = io.BytesIO()
    Image.new("RGB", (300, 200), (90, 120, 60)).save(content, "PNG")
    drawn = prepared(image, content.getvalue())
    assert np.ptp(drawn.reshape(-1, image.channels), axis=0).max() <= 2
    assert drawn.min() > 50


def test_a_picture_of_the_same_size_keeps_its_pixels() -> None:
    image = ImageSpec(20, 24, 3)
    pixels = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    assert np.array_equal(prepared(image, write_png(pixels)), pixels)
    assert np.array_equal(garment(Image.fromarray(pixels), image)[0], pixels)
