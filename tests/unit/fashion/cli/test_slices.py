"""`fashion slices`: of a model's test images, and of a scored file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import Page
from readings import PIXEL_COLUMNS
from scored import to_lines

from components.catalogues.fashion_mnist import CLASSES
from components.dataset.manifest import Examples
from components.settings import Settings

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")
Fashion = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scored(fashion: Fashion, live: str, test_split: Examples, tmp_path: Path) -> Path:
    """A table with a label, a brand and a season, scored with them kept. The labels of "acme" are wrong."""
    lines = [line.partition(",")[2] for line in to_lines(test_split, 200)]
    rows = ["true,brand,season," + ",".join(PIXEL_COLUMNS)]
    for number, (label, line) in enumerate(zip(test_split.labels.tolist(), lines, strict=True)):
        brand = "acme" if number % 4 == 0 else "other"
        true = CLASSES[(label + (brand == "acme")) % len(CLASSES)]
        rows.append(f"{true},{brand},{'summer' if number % 2 else ''},{line}")
    source, output = tmp_path / "in.csv", tmp_path / "scored.csv"
    source.write_text("\n".join(rows) + "\n")
    assert fashion("score", source, output, "--keep", "true,brand,season")[0] == 0
    return output


def test_a_model_is_sliced_by_class_and_looks(fashion: Fashion, live: str, archives: Path, settings: Settings) -> None:
    fashion("ingest", "--source", archives)
    status, out, err = fashion("slices")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == live
    assert "200 test images: accuracy " in out
    assert " slices " in out
    assert "brightness" in out
    given = json.loads(fashion("slices", "latest", "--json")[1])
    assert given["tag"] == live
    (found,) = given["slices"]
    assert (found["images"], len(found["slices"])) == (200, 15)
    assert {"by", "values", "images", "accuracy", "interval", "abstained", "weaker"} <= set(found["slices"][0])


def test_the_json_of_a_report_has_its_slices(fashion: Fashion, live: str, archives: Path, settings: Settings) -> None:
    fashion("ingest", "--source", archives)
    report = json.loads(fashion("report", live, "--json")[1])
    assert report["slices"] == json.loads(fashion("slices", live, "--json")[1])["slices"]
    path = Path(report["report"])
    path.with_name("slices.json").write_text("damaged")
    assert json.loads(fashion("report", live, "--json")[1]) == report, "written anew"
    path.with_name("slices.json").unlink()
    assert json.loads(fashion("report", live, "--json")[1]) == report, "written anew"


def test_a_scored_file_is_sliced_by_the_columns_that_were_kept(fashion: Fashion, scored: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "slices.html"
    status, out, err = fashion("slices", "--scored", scored, "--truth", "true", "--html", page)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("scored.csv, scored by fashion-mlp:")
    (first,) = (lines[number + 1] for number, line in enumerate(lines) if line.startswith("SLICE"))
    assert first.startswith("brand acme")
    assert first.endswith("weaker")
    assert "season missing" in out
    assert lines[-1] == str(page)
    assert Page(page).table("slice", "images")[0][0] == "brand acme"


def test_the_columns_can_be_named(fashion: Fashion, scored: Path) -> None:
    given = json.loads(fashion("slices", "--scored", scored, "--truth", "true", "--by", "season", "--json")[1])
    (found,) = given["slices"]
    assert {tuple(one["by"]) for one in found["slices"]} == {("season",)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--truth", "true"), "--scored FILE and --truth COLUMN belong together"),
        (("--by", "brand"), "--by needs both"),
        (("latest", "--scored", "none.csv", "--truth", "true"), "found a model and --scored"),
        (("--scored", "none.csv", "--truth", "true"), "none.csv: no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    fashion: Fashion, live: str, options: tuple[str, ...], message: str
) -> None:
    status, _, err = fashion("slices", *options)
    assert status == 1
    assert message in err
