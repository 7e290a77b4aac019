"""A garment on any background becomes bright on black; a blank picture becomes an image of one level."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.preparation.ground import cut_from_ground, find_ground
from components.dataset.manifest import Examples
from components.readers.images.photos import read_photo, read_views, write_png

Pixels = NDArray[np.uint8]
OUTLINE = [(30, 30), (170, 30), (190, 90), (150, 95), (150, 190), (50, 190), (50, 95), (10, 90)]
SIDE = 200


def encode(picture: Image.Image | NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(content, form, **options)
    return content.getvalue()


def shape() -> Pixels:
    """The mask of a shirt with soft edges, 0 to 255."""
    picture = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(picture).polygon(OUTLINE, fill=255)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7)))


def shirt(level: float, detail: float = 0) -> NDArray[np.float64]:
    """One level, with stripes that are brighter by `detail`, (h, w)."""
    return level + detail * (np.arange(SIDE)[:, None] // 20 % 2) + np.zeros((SIDE, SIDE))


def photo(garment: NDArray[np.float64], ground: float | NDArray[np.float64]) -> Pixels:
    share = shape() / 255
    return (share * garment + (1 - share) * ground).clip(0, 255).round().astype(np.uint8)


def silhouette() -> NDArray[np.bool_]:
    """The shirt's mask in the prepared image."""
    return np.asarray(read_photo(encode(255 - shape()), CONTRACT)[0] > 127)


def overlap(image: Pixels, least: int = 40) -> float:
    """Intersection over union with the shirt's silhouette. Levels up to `least` count as black."""
    seen = image > least
    return float((seen & silhouette()).sum() / (seen | silhouette()).sum())


@pytest.mark.parametrize("ground", range(0, 256, 51))
@pytest.mark.parametrize("garment", range(0, 256, 51))
def test_a_garment_of_one_colour_is_a_silhouette_on_any_background(ground: int, garment: int) -> None:
    if ground != garment:
        (image,) = read_views(encode(photo(shirt(garment), ground)), CONTRACT)
        assert overlap(image) > 0.9
        assert image[silhouette()].mean() > 100


@pytest.mark.parametrize("ground", [(200, 250), (230, 245), (255, 240), (30, 10), (0, 15), (128, 140)])
def test_a_garment_with_low_contrast_to_the_background_is_visible(ground: tuple[int, int]) -> None:
    (image,) = read_views(encode(photo(shirt(ground[1]), ground[0])), CONTRACT)
    assert overlap(image) > 0.85


def test_a_white_garment_on_light_grey_is_drawn_with_detail_in_both_polarities() -> None:
    views = read_views(encode(photo(shirt(232, 18), 200)), CONTRACT)
    assert len(views) == 2, "it could be a photo or a negative"
    for view in views:
        assert overlap(view) > 0.85
        assert view[10:24, 9:19].std() > 8, "its stripes"
    assert np.corrcoef(views[0, 10:24, 9:19].ravel(), views[1, 10:24, 9:19].ravel())[0, 1] < -0.9


@pytest.mark.parametrize("ground", [200, 128, 60])
def test_a_garment_with_brighter_and_darker_parts_keeps_both(ground: int) -> None:
    views = read_views(encode(photo(shirt(ground - 50, 80), ground)), CONTRACT)
    assert max(overlap(view, 3) for view in views) > 0.9


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("garment", [20, 110, 240])
def test_a_gradient_counts_as_background(form: str, garment: int) -> None:
    light = 150 + 60 * np.linspace(-1, 1, SIDE)[:, None] - 20 * np.linspace(-1, 1, SIDE)[None] ** 2
    (image,) = read_views(encode(photo(shirt(garment), light), form), CONTRACT)
    assert image[silhouette()].mean() > 100
    assert overlap(image) > 0.75, "parts where the light has the garment's level are invisible"


def test_a_soft_shadow_stays_darker_than_the_garment() -> None:
    shadow = np.asarray(Image.fromarray(np.roll(shape(), (8, 6), (0, 1))).filter(ImageFilter.GaussianBlur(6)))
    (image,) = read_views(encode(photo(shirt(40), 230 - shadow * 0.2)), CONTRACT)
    assert image[silhouette()].mean() > 180
    assert ((image > 100) & silhouette()).sum() / (image > 100).sum() > 0.9


def test_a_garment_is_separated_by_colour_alone() -> None:
    red, green = np.array([200, 60, 60.0]), np.array([60, 120, 114.0])
    share = shape()[..., None] / 255
    (image,) = read_views(encode((share * red + (1 - share) * green).astype(np.uint8)), CONTRACT)
    assert overlap(image) > 0.9


# --- polarity ---


def lay(image: Pixels, ground: int, light: bool) -> Pixels:
    """Draw a dataset image or its negative five times as large on a background, as in `benchmarks.grounds`."""
    ink = Image.fromarray(((image > 12) * 255).astype(np.uint8)).resize((140, 140), Image.Resampling.BILINEAR)
    large = Image.fromarray(image if light else 255 - image).resize((140, 140), Image.Resampling.BICUBIC)
    share = np.pad(np.asarray(ink, np.float64) / 255, 20)
    return (share * np.pad(np.asarray(large, np.float64), 20) + (1 - share) * ground).round().astype(np.uint8)


def apart(image: Pixels, ground: int, light: bool) -> bool:
    """Whether hardly any pixel of the garment has the background's level."""
    garment = (image if light else 255 - image)[image > 12].astype(int)
    return bool((abs(garment - ground) <= 12).mean() < 0.1)


def correlation(view: Pixels, image: Pixels) -> float:
    """The correlation of two garments, independent of position and size; negative if one is the other's negative."""
    shown, wanted = (one[np.ix_((one > 12).any(1), (one > 12).any(0))] for one in (view, image))
    resized = np.asarray(Image.fromarray(shown).resize(wanted.shape[::-1]), float)
    inside = wanted > 12
    return float(np.corrcoef(resized[inside], wanted[inside])[0, 1])


@pytest.mark.parametrize("ground", [0, 60, 128, 190, 255])
@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
def test_a_dataset_image_is_recovered_from_any_background(test_split: Examples, ground: int, light: bool) -> None:
    """The image is one of the views, and for most the only one."""
    images = [image for image in test_split.images[:60] if apart(image, ground, light)]
    assert len(images) >= 10
    views = [read_views(encode(lay(image, ground, light)), CONTRACT) for image in images]
    correlations = [max(correlation(view, image) for view in seen) for seen, image in zip(views, images, strict=True)]
    assert np.mean(np.array(correlations) > 0.6) >= 0.9
    assert np.mean([len(seen) == 1 for seen in views]) >= 0.6


def test_a_photo_on_nearly_black_is_not_treated_as_a_negative() -> None:
    """Its rim is slightly darker than the rest, which is inconclusive."""
    views = read_views(encode(photo(shirt(200, -60), 6)), CONTRACT)
    assert len(views) == 2
    assert np.corrcoef(views[0, 10:24, 9:19].ravel(), views[1, 10:24, 9:19].ravel())[0, 1] < -0.9


def test_the_inside_of_a_bright_rim_is_garment() -> None:
    """The inside differs half as much from the background as the rim, but is not half transparent."""
    picture = np.zeros((180, 180, 3), np.float32)
    picture[20:160, 20:160] = 200
    picture[23:157, 23:157] = 100
    ground = find_ground(picture)
    assert ground
    cut = cut_from_ground(picture, ground, side=28)
    assert cut
    assert cut.opacity[90, 23] > 0.75


# --- transparency ---


def cut_out(garment: NDArray[np.float64], alpha: Pixels | None = None) -> Image.Image:
    grey = garment.round().astype(np.uint8)
    return Image.fromarray(np.dstack([grey, grey, grey, shape() if alpha is None else alpha]))


@pytest.mark.parametrize("level", [0, 90, 128, 255])
@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("WEBP", "RGBA"), ("GIF", "RGBA")]
)
def test_a_transparent_cut_out_of_any_colour_is_a_silhouette(form: str, mode: str, level: int) -> None:
    picture = cut_out(shirt(level), (shape() > 127).astype(np.uint8) * 255)
    if mode == "P":
        palette = Image.fromarray((shape() > 127).astype(np.uint8)).convert("P")
        palette.putpalette([255, 255, 255, level, level, level])
        content = encode(palette, form, transparency=0)
    else:
        content = encode(picture.convert(mode), form)
    (image,) = read_views(content, CONTRACT)
    assert overlap(image) > 0.9
    assert image[silhouette()].mean() > 100


def test_a_white_cut_out_keeps_its_detail() -> None:
    views = read_views(encode(cut_out(shirt(220, 30))), CONTRACT)
    assert all(overlap(view) > 0.85 and view[10:24, 9:19].std() > 15 for view in views)


def test_a_drawing_in_the_alpha_channel_only_is_the_image(test_split: Examples) -> None:
    for noisy in test_split.images[:10]:
        image = np.where(noisy > 60, noisy, 0)
        for level in (0, 255):
            picture = np.dstack([np.full((28, 28, 3), level, np.uint8), image])
            (seen,) = read_views(encode(picture), CONTRACT)
            assert abs(seen.astype(int) - image).mean() < 6


def test_a_translucent_shadow_is_not_part_of_the_garment() -> None:
    shadow = np.roll(shape(), (12, 9), (0, 1)) * 0.35
    garment = np.where(shape() > 127, shirt(70, 60), 0)
    views = read_views(encode(cut_out(garment, np.maximum(shape(), shadow).astype(np.uint8))), CONTRACT)
    assert all(overlap(view) > 0.85 for view in views)


@pytest.mark.parametrize("hidden", [0, 4])
def test_alpha_that_hides_hardly_anything_is_not_a_mask(hidden: int) -> None:
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:hidden, :hidden] = alpha[-hidden or SIDE :, -hidden or SIDE :] = 0
    picture = Image.fromarray(np.dstack([photo(shirt(40), 220)] * 3 + [alpha]))
    assert overlap(read_photo(encode(picture), CONTRACT)[0]) > 0.9


def test_a_fully_transparent_picture_is_blank() -> None:
    (image,) = read_views(encode(Image.new("RGBA", (90, 60))), CONTRACT)
    assert np.ptp(image) == 0


# --- background only ---


@pytest.mark.parametrize("size", [(28, 28), (90, 120), (300, 40)])
@pytest.mark.parametrize("level", [0, 70, 128, 200, 255])
def test_a_blank_picture_has_one_level(size: tuple[int, int], level: int) -> None:
    assert np.ptp(read_views(encode(np.full(size, level, np.uint8)), CONTRACT)) == 0


@pytest.mark.parametrize("level", [0, 128, 240])
@pytest.mark.parametrize("noise", [2, 4])
def test_noise_on_a_blank_background_is_not_a_garment(level: int, noise: float) -> None:
    random = np.random.default_rng(0)
    for form in ("PNG", "JPEG"):
        pixels = (level + random.normal(0, noise, (240, 200))).clip(0, 255).astype(np.uint8)
        assert np.ptp(read_views(encode(pixels, form), CONTRACT)) == 0


# --- 28 x 28 ---


def test_images_of_the_dataset_pass_bit_for_bit(test_split: Examples) -> None:
    for image in test_split.images:
        assert np.array_equal(read_views(write_png(image), CONTRACT), image[None])


def test_a_negative_of_28_by_28_is_negated_back(test_split: Examples) -> None:
    """Its background is white, so the size alone is not enough to pass it unchanged."""
    for image in test_split.images[:50]:
        assert abs(read_photo(write_png(255 - image), CONTRACT)[0].astype(int) - image).mean() < 4


@pytest.mark.parametrize("side", [28, 29, 56])
def test_pictures_of_any_size_are_prepared(side: int) -> None:
    small = Image.fromarray(photo(shirt(60, 50), 255)).resize((side, side))
    assert overlap(read_photo(encode(small), CONTRACT)[0]) > (0.7 if side == 28 else 0.85), "28 x 28 is not trimmed"
