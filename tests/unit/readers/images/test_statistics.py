"""Summary statistics of images."""

import numpy as np
import pytest

from components.readers.images.statistics import EVERY, LOGGED, hash_images, log_images, measure_images


@pytest.mark.parametrize("shape", [(28, 28), (20, 24, 3)])
def test_statistics_agree_with_numpy(shape: tuple[int, ...]) -> None:
    shades = np.arange(1, 51, dtype=np.uint8).reshape(-1, *[1] * len(shape))
    images = np.random.default_rng(0).integers(0, 256, (50, *shape), np.uint8) // shades
    flat, measured = images.reshape(50, -1), measure_images(images)
    assert tuple(measured) == EVERY
    np.testing.assert_array_equal(measured["mean"], flat.mean(axis=1))
    np.testing.assert_allclose(measured["deviation"], flat.std(axis=1), atol=1e-6)
    np.testing.assert_array_equal(measured["ink"], (flat > 0).mean(axis=1))
    np.testing.assert_array_equal(measured["peak"], flat.max(axis=1))
    inside = images[:, 1:-1, 1:-1].reshape(50, -1)
    border = flat.shape[1] - inside.shape[1]
    expected = (flat.sum(axis=1, dtype=int) - inside.sum(axis=1, dtype=int)) / border
    np.testing.assert_array_equal(measured["edge"], expected)


def test_contrast_skew_and_warmth() -> None:
    names = ("contrast", "skew", "warmth")
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 16, 3), np.uint8) // np.array([1, 2, 3], np.uint8)
    measured, inverted = measure_images(images, names), measure_images(255 - images, names)
    assert tuple(measured) == names
    pixels = images.reshape(20, -1, 3)
    np.testing.assert_allclose(measured["contrast"], np.sqrt(pixels.var(axis=1).mean(axis=1)))
    np.testing.assert_allclose(measured["skew"], np.median(pixels, axis=(1, 2)) - pixels.mean(axis=(1, 2)))
    np.testing.assert_allclose(measured["warmth"], pixels[..., 0].mean(axis=1) - pixels[..., 2].mean(axis=1))
    for name, sign in zip(names, (1, -1, -1), strict=True):
        np.testing.assert_allclose(inverted[name], sign * measured[name], atol=1e-9)


def test_a_flat_colour_has_no_contrast_and_greyscale_has_no_warmth() -> None:
    flat = np.broadcast_to(np.array([200, 60, 60], np.uint8), (3, 20, 24, 3))
    assert measure_images(flat, ("contrast",))["contrast"].tolist() == [0, 0, 0]
    grey = np.random.default_rng(0).integers(0, 256, (5, 9, 16), np.uint8)
    measured = measure_images(grey, ("deviation", "contrast", "warmth"))
    np.testing.assert_allclose(measured["contrast"], measured["deviation"], atol=1e-6)
    assert not measured["warmth"].any()


def test_logged_statistics_are_rounded_and_no_images_give_no_values() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), np.uint8)
    logged = log_images(images)
    for name, values in measure_images(images, tuple(LOGGED)).items():
        np.testing.assert_array_equal(logged[name], values.round(LOGGED[name]))
    every = (*EVERY, "contrast", "skew", "warmth")
    assert all(len(values) == 0 for values in measure_images(images[:0], every).values())
    assert len({*hash_images(images).tolist(), *hash_images(images).tolist()}) == 5


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
@pytest.mark.parametrize("ground", [0, 255, 90])
def test_cover_is_the_share_that_differs_from_the_ground(shape: tuple[int, ...], ground: int) -> None:
    images = np.full((2, *shape), ground, np.uint8)
    images[1, 5:15, 10:20] = 200 if ground < 200 else 60
    images[1, 0, 0] = ground ^ 16  # noise
    assert measure_images(images, ("cover",))["cover"].tolist() == [0, pytest.approx(100 / 600)]
