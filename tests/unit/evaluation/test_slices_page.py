"""The page and the JSON of slices."""

from pathlib import Path

import numpy as np
import pytest
from pages import Page

from components.errors import ModelError
from components.evaluation.attributes import Attribute
from components.evaluation.model_slices import ModelSlices
from components.evaluation.slices import Slices, find_slices
from components.evaluation.slices_page import read_slices, write_slices, write_slices_page

HEADINGS = ("slice", "images", "accuracy", "95 % interval", "explained by class", "not sure", "verdict")


def draw_slices(weak: float) -> Slices:
    """Slices of two attributes; one brand has this accuracy, the others 0.9."""
    random = np.random.default_rng(0)
    labels, brands = random.integers(0, 3, 2_000), random.integers(0, 20, 2_000)
    right = random.random(2_000) < np.where(brands == 4, weak, 0.9)
    names = tuple(f"<b>brand {number}</b>" for number in range(20))
    attributes = [Attribute("class", labels, ("boot", "coat", "bag")), Attribute("brand", brands, names)]
    return find_slices("test images", right, right, labels, attributes)


def test_the_weakest_slice_is_the_first_row_and_all_slices_are_there(tmp_path: Path) -> None:
    found = draw_slices(0.4)
    write_slices_page(tmp_path / "slices.html", "catalogue.csv", [found], ["a note"])
    page = Page(tmp_path / "slices.html")
    rows = page.table(*HEADINGS)
    assert rows[0][0] == "brand <b>brand 4</b>"
    assert rows[0][-1] == "weaker"
    assert f"{100 * found.slices[0].accuracy:.1f} %" in rows[0]
    assert [row[0] for row in rows if row[0].startswith(("brand", "class"))] == [one.name for one in found.slices]
    assert "1 of 23 slices are weaker than chance explains" in page.text
    assert "11 more slices" in page.text
    assert "a note" in page.text
    assert "script" not in page.tags


def test_the_page_says_if_no_slice_is_weaker(tmp_path: Path) -> None:
    write_slices_page(tmp_path / "slices.html", "catalogue.csv", [draw_slices(0.9)])
    page = Page(tmp_path / "slices.html")
    assert "None of 23 slices is weaker than chance explains" in page.text
    assert "weaker" not in {cell for row in page.rows for cell in row}


def test_slices_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    slices = ModelSlices("fashion-mlp:aaaaaaaa", "0" * 16, (draw_slices(0.4), draw_slices(0.9)), ("a note",))
    assert read_slices(tmp_path / "slices.json") is None
    write_slices(tmp_path / "slices.json", slices)
    assert read_slices(tmp_path / "slices.json") == slices
    (tmp_path / "slices.json").write_text('{"tag": 3}')
    with pytest.raises(ModelError, match=r"slices.json"):
        read_slices(tmp_path / "slices.json")
