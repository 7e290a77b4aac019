"""Attributes of images, and their groups."""

import numpy as np
import pytest
from shop import draw_shop

from components.evaluation.attributes import AT_ONCE, Attribute, measure_attributes, to_groups


def test_numbers_are_divided_into_fifths_with_their_ranges() -> None:
    groups = to_groups(Attribute("price", np.arange(500.0)[::-1]))
    assert groups.names == ("0 to 99", "100 to 199", "200 to 299", "300 to 399", "400 to 499")
    assert np.bincount(groups.codes).tolist() == [100] * 5
    assert groups.codes[[0, -1]].tolist() == [4, 0]
    assert groups.notes == ()


def test_large_numbers_are_written_in_full() -> None:
    names = to_groups(Attribute("price", np.linspace(0.5, 2_000_000, 500))).names
    assert names[0].startswith("0.5 to 39")
    assert names[-1].endswith(" to 2,000,000")


def test_fewer_images_have_fewer_bins() -> None:
    assert len(to_groups(Attribute("price", np.arange(95.0))).names) == 3


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_missing_numbers_are_a_group_of_their_own(nothing: float) -> None:
    values = np.arange(200.0)
    values[:40] = nothing
    groups = to_groups(Attribute("price", values))
    assert groups.names[-1] == "missing"
    assert (groups.codes[:40] == len(groups.names) - 1).all()
    assert (groups.codes[40:] < len(groups.names) - 1).all()


def test_a_few_different_numbers_are_values() -> None:
    groups = to_groups(Attribute("year", np.repeat([2024.0, 2025.0, 2026.5], 40)))
    assert groups.names == ("2024", "2025", "2026.5")


def test_numbers_that_are_mostly_equal_have_the_bins_that_are_left() -> None:
    values = np.concatenate([np.zeros(400), np.linspace(1, 2, 100)])
    groups = to_groups(Attribute("discount", values))
    assert groups.names == ("0", "1 to 2")
    assert np.bincount(groups.codes).tolist() == [400, 100]


def test_rare_values_are_merged_or_left_out() -> None:
    places, names = np.repeat(np.arange(5), [50, 40, 20, 15, 2]), ("a", "b", "c", "d", "e")
    merged = to_groups(Attribute("brand", places, names))
    assert merged.names == ("a", "b", "3 rare values")
    assert np.bincount(merged.codes).tolist() == [50, 40, 37]
    assert merged.notes == ("brand: 3 values with fewer than 30 images are one slice of 37 images",)
    left_out = to_groups(Attribute("brand", places[:110], names))
    assert left_out.names == ("a", "b")
    assert left_out.notes == ("brand: 1 value with fewer than 30 images is left out: 20 images",)
    assert (left_out.codes[-20:] == -1).all()


def test_an_attribute_of_one_value_is_not_sliced() -> None:
    groups = to_groups(Attribute("brand", np.zeros(100, int), ("a",)))
    assert groups.names == ("a",)
    assert groups.notes == ("brand: not sliced, expected two values or more with 30 images each",)
    missing = to_groups(Attribute("price", np.full(100, np.nan)))
    assert missing.names == ("missing",)


def test_brightness_contrast_and_size_of_colour_images() -> None:
    images, _ = draw_shop(AT_ONCE + 30)
    images[1] = 200
    images[2] = 255 - images[2]
    found = {one.name: one.values for one in measure_attributes(images)}
    assert list(found) == ["brightness", "contrast", "size"]
    assert {values.shape for values in found.values()} == {(AT_ONCE + 30,)}
    assert found["brightness"][3] == pytest.approx(images[3].mean())
    assert (found["contrast"][1], found["size"][1]) == (0, 0)
    assert found["size"][[0, -1]] == pytest.approx(12 * 14 / (20 * 24), abs=0.02)
    assert found["size"][2] == pytest.approx(12 * 14 / (20 * 24), abs=0.02), "on any plain background"
