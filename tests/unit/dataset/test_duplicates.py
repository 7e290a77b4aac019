"""The fast search finds the same near-duplicates as a full comparison."""

from collections.abc import Callable

import numpy as np
import pytest
from correlations import best_matches, correlate_within, nearest_of
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from components.contract import Images
from components.dataset.duplicates import (
    COMPARISONS,
    ROWS,
    Comparison,
    find_duplicates,
    find_duplicates_within,
    find_outliers,
    find_pairs,
)

Random = np.random.Generator
ROUNDING = 1e-5  # error of float32 sums in different order


def noise(random: Random) -> Images:
    return random.integers(0, 256, (ROWS + 90, 10, 10), np.uint8)


def smooth(random: Random) -> Images:
    """Groups of similar images, with correlations on both sides of the thresholds."""
    few = gaussian_filter(random.normal(0, 1, (12, 16, 16)), 2, axes=(1, 2)).repeat(60, 0)
    varied = few + random.normal(0, 1, few.shape) * random.uniform(0, 0.04, (len(few), 1, 1))
    images: Images = (128 + 900 * varied).clip(0, 255).astype(np.uint8)[random.permutation(len(few))]
    return images


def in_colour(random: Random) -> Images:
    grey = smooth(random)
    tint = random.uniform(0.5, 1, (len(grey), 1, 1, 3))
    return (grey[..., None] * tint).astype(np.uint8)


def large(random: Random) -> Images:
    return smooth(random).repeat(3, 1).repeat(3, 2)


def nearly_all_alike(random: Random) -> Images:
    one = random.integers(0, 200, (1, 12, 12), np.uint8).repeat(ROWS // 2 + 90, 0)
    images: Images = one + random.integers(0, 8, one.shape, np.uint8)
    return images


def flat(random: Random) -> Images:
    """Some images of one flat colour, which correlate with nothing."""
    images = smooth(random)
    images[::3] = random.integers(0, 256, (len(images[::3]), 1, 1))
    return images


def pairs_of(
    blocks: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]],
) -> dict[tuple[int, int], float]:
    return {
        (row, other): value
        for rows, others, values in blocks
        for row, other, value in zip(rows.tolist(), others.tolist(), values.tolist(), strict=True)
    }


def compare_all(images: Images, comparison: Comparison) -> dict[tuple[int, int], float]:
    """Compare every pair."""
    values = correlate_within(images, comparison)
    rows, others = np.nonzero(values >= comparison.threshold)
    return pairs_of([(rows, others, values[rows, others])])


@pytest.mark.parametrize("comparison", COMPARISONS, ids=["plain", "edges"])
@pytest.mark.parametrize("draw", [noise, smooth, in_colour, large, nearly_all_alike, flat])
def test_the_pairs_match_a_full_comparison(draw: Callable[[Random], Images], comparison: Comparison) -> None:
    images = draw(np.random.default_rng(1))
    expected = compare_all(images, comparison)
    found = pairs_of([(one.rows, one.others, one.values) for one in find_pairs(images, comparison)])
    differ = [(found | expected)[pair] for pair in found.keys() ^ expected.keys()]
    assert np.allclose(differ, comparison.threshold, atol=ROUNDING), "only what is on the threshold itself"
    assert all(abs(found.get(pair, value) - value) < ROUNDING for pair, value in expected.items())


def test_some_smooth_images_are_near_duplicates_and_most_are_not() -> None:
    images = smooth(np.random.default_rng(1))
    for comparison in COMPARISONS:
        assert 0 < len(compare_all(images, comparison)) < len(images) ** 2 / 8


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_images_have_few_pairs(number: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8).repeat(number, 0)
    assert sum(len(one.rows) for one in find_pairs(images, COMPARISONS[0])) == max(0, number - 1)


@pytest.mark.parametrize("draw", [noise, smooth, in_colour, large, nearly_all_alike, flat])
def test_the_matches_across_two_sets_are_those_of_a_full_comparison(draw: Callable[[Random], Images]) -> None:
    images = draw(np.random.default_rng(1))
    moved, others = np.roll(images[::2], 1, axis=1), images[1::2]
    best = [best_matches(moved, others, comparison) for comparison in COMPARISONS]
    expected = dict[int, float]()
    for comparison, values in zip(COMPARISONS, best, strict=True):
        for row in np.flatnonzero(values >= comparison.threshold).tolist():
            expected.setdefault(row, float(values[row]))
    done = list[tuple[int, int]]()
    found = {pair.row: pair for pair in find_duplicates(moved, others, progress=lambda *one: done.append(one))}
    on_threshold = [
        row
        for row in found.keys() ^ expected.keys()
        if not any(abs(values[row] - c.threshold) < ROUNDING for c, values in zip(COMPARISONS, best, strict=True))
    ]
    assert not on_threshold
    assert all(abs(found[row].correlation - expected[row]) < 1e-3 for row in found.keys() & expected.keys())
    assert done[-1] == (2 * len(moved), 2 * len(moved))


@pytest.mark.parametrize("draw", [noise, smooth, in_colour, large, nearly_all_alike, flat])
def test_the_outliers_are_those_of_a_full_comparison(draw: Callable[[Random], Images]) -> None:
    images = draw(np.random.default_rng(1))
    expected = np.sort(nearest_of(images))[:20]
    found = find_outliers(images, 20)
    assert np.allclose([value for _, value in found], expected, atol=ROUNDING)
    assert np.allclose([nearest_of(images)[row] for row, _ in found], expected, atol=ROUNDING)


def test_duplicates_within_a_set_come_once_and_in_order() -> None:
    images = smooth(np.random.default_rng(1))
    found = [(pair.row, pair.other) for pair in find_duplicates_within(images)]
    assert found == sorted({pair for comparison in COMPARISONS for pair in compare_all(images, comparison)})
