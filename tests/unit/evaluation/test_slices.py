"""Slices: a planted weak slice is found, and where none is, none is called weaker in at least 95 % of draws."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from components.evaluation.attributes import Attribute, Groups
from components.evaluation.slices import CHANCE, Slices, find_slices, fisher, holm
from components.intervals import wilson

CLASSES = ("boot", "coat", "bag", "hat", "cap")
DRAWS = 400


def draw_attributes(random: np.random.Generator, images: int) -> tuple[Attribute, ...]:
    """Class, two attributes of numbers, and one of values with missing ones."""
    names = ("north", "south", "east", "west")
    return (
        Attribute("class", random.integers(0, len(CLASSES), images), CLASSES),
        Attribute("brightness", random.normal(100, 30, images)),
        Attribute("size", random.random(images)),
        Attribute("shop", random.integers(-1, len(names), images), names),
    )


def slice_drawn(random: np.random.Generator, images: int, accuracy: float, weak: float | None = None) -> Slices:
    """Slices of random answers; with `weak`, images of the shop "south" have that accuracy."""
    attributes = draw_attributes(random, images)
    right = random.random(images) < accuracy
    if weak is not None:
        south = attributes[3].values == 1
        right[south] = random.random(int(south.sum())) < weak
    sure = random.random(images) < 0.8
    return find_slices("test images", right, sure, attributes[0].values, attributes)


def test_a_planted_weak_slice_is_found_and_comes_first() -> None:
    for seed in range(20):
        found = slice_drawn(np.random.default_rng(seed), 3_000, 0.9, weak=0.75)
        assert (found.slices[0].name, found.slices[0].weaker) == ("shop south", True)
        assert found.weaker == found.slices[:1], "only that one"
        assert found.slices[0].interval[1] < found.accuracy


@pytest.mark.parametrize(("images", "accuracy"), [(600, 0.99), (1_000, 0.9), (3_000, 0.6)])
def test_where_no_slice_is_weaker_none_is_called_so_in_95_percent_of_draws(images: int, accuracy: float) -> None:
    """A plain 95 % interval that is below the accuracy of all images is much more frequent."""
    random = np.random.default_rng(7)
    drawn = [slice_drawn(random, images, accuracy) for _ in range(DRAWS)]
    alarms = sum(bool(one.weaker or one.pairs) for one in drawn)
    assert alarms <= CHANCE * DRAWS
    assert sum(any(part.interval[1] < one.accuracy for part in one.slices) for one in drawn) > 3 * CHANCE * DRAWS
    assert all(one.pairs_tested for one in drawn)


def test_a_pair_is_listed_only_if_it_is_weaker_than_both_of_its_slices() -> None:
    random = np.random.default_rng(3)
    attributes = draw_attributes(random, 8_000)
    coat, south = attributes[0].values == 1, attributes[3].values == 1
    right = random.random(8_000) < np.where(coat, 0.7, 0.95)
    sure = np.ones(8_000, bool)
    found = find_slices("images", right, sure, attributes[0].values, attributes)
    assert [one.name for one in found.weaker] == ["class coat"]
    assert found.pairs == (), "every pair with coat is weak, but not weaker than coat"
    right[coat & south] = random.random(int((coat & south).sum())) < 0.3
    found = find_slices("images", right, sure, attributes[0].values, attributes)
    assert [one.name for one in found.pairs] == ["class coat, shop south"]
    assert found.pairs[0].images == (coat & south).sum()


def test_the_counts_of_a_slice_are_those_of_its_images() -> None:
    random = np.random.default_rng(11)
    attributes = draw_attributes(random, 2_000)
    labels = attributes[0].values
    right, sure = random.random(2_000) < 0.8, random.random(2_000) < 0.7
    found = find_slices("images", right, sure, labels, attributes)
    (one,) = (each for each in found.slices if each.name == "shop missing")
    rows = attributes[3].values == -1
    assert (one.images, one.right) == (rows.sum(), right[rows].sum())
    assert one.accuracy == pytest.approx(right[rows].mean())
    assert one.abstained == pytest.approx(1 - sure[rows].mean())
    by_class = np.array([right[labels == label].mean() for label in range(len(CLASSES))])
    assert one.by_classes == pytest.approx(by_class[labels[rows]].mean())
    assert found.accuracy == pytest.approx(right.mean())
    by_brightness = [each for each in found.slices if each.by == ("brightness",)]
    assert sum(each.images for each in by_brightness) == 2_000
    rest = [each for each in found.slices if not each.weaker]
    assert all(before.accuracy <= after.accuracy for before, after in pairwise(rest))


def test_a_slice_that_is_weak_because_of_its_classes_shows_that() -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 4_000)
    dark = random.random(4_000) < np.where(labels == 0, 0.9, 0.1)
    right = random.random(4_000) < np.where(labels == 0, 0.6, 0.95)
    attributes = [Attribute("light", dark.astype(int), ("bright", "dark"))]
    (one,) = find_slices("images", right, right, labels, attributes).weaker
    assert one.name == "light dark"
    assert one.by_classes == pytest.approx(one.accuracy, abs=0.03)


def test_intervals_and_chances_are_those_of_scipy() -> None:
    images, right = np.array([1, 30, 500, 7]), np.array([1, 21, 499, 0])
    for number, (low, high) in enumerate(zip(*wilson(right, images), strict=True)):
        expected = binomtest(int(right[number]), int(images[number])).proportion_ci(0.95, method="wilson")
        assert (low, high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))
    chances = fisher(np.array([9, 0]), np.array([40, 35]), 60, 1_000)
    for chance, wrong, part in zip(chances, (9, 0), (40, 35), strict=True):
        table = [[wrong, part - wrong], [60 - wrong, 1_000 - part - 60 + wrong]]
        assert chance == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def test_holm_corrects_each_chance_for_those_that_are_left() -> None:
    assert holm(np.array([0.04, 0.01, 0.03, 0.5])).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


def test_classes_with_one_example_are_merged_and_counted() -> None:
    labels = np.array([0] * 60 + [1] * 60 + list(range(2, 42)))
    names = tuple(f"class {number}" for number in range(42))
    right = np.ones(160, bool)
    right[130:] = False
    found = find_slices("images", right, right, labels, [Attribute("class", labels, names)])
    assert found.slices[0].name == "class 40 rare values"
    assert (found.slices[0].images, found.slices[0].weaker) == (40, True)
    assert found.notes == ("class: 40 values with fewer than 30 images are one slice of 40 images",)


def test_answers_that_are_all_right_or_all_wrong_have_no_weaker_slice() -> None:
    random = np.random.default_rng(1)
    attributes = draw_attributes(random, 500)
    for right in (np.ones(500, bool), np.zeros(500, bool)):
        found = find_slices("images", right, right, attributes[0].values, attributes)
        assert found.slices
        assert not found.weaker + found.pairs


def test_few_images_have_no_slices_and_the_notes_say_why() -> None:
    right = np.array([True] * Groups.LEAST)
    attributes = draw_attributes(np.random.default_rng(2), Groups.LEAST)
    found = find_slices("images", right, right, attributes[0].values, attributes)
    assert (found.slices, found.pairs, found.pairs_tested) == ((), (), 0)
    assert "brightness: not sliced, expected two values or more with 30 images each" in found.notes
