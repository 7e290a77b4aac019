"""`fashion predict`, and the API's `classify` behind it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fashion as api
from components.dataset.manifest import Examples
from components.errors import InputError
from fashion.cli.main import run_command
from fashion.cli.predict import draw_bar

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")


@pytest.fixture
def photos(test_split: Examples, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, test_split.images, strict=False):
        Image.fromarray(image).save(path)
    return paths


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["fashion", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run_command()
    return int(ended.value.code or 0)


def test_each_photo_gets_its_likeliest_classes_with_bars(
    live: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "predict", *photos, "--top", "2") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(map(str, photos))
    shown = [line for line in lines if line.startswith(" ")]
    assert len(shown) == 6
    assert all("%" in line for line in shown)


def test_a_photo_of_something_else_is_marked(
    live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8) * (np.eye(28) < 1)).save(path)
    assert run(monkeypatch, "predict", path) == 0
    assert "unknown: unlike everything that the model was trained on" in capfd.readouterr().out
    assert run(monkeypatch, "predict", path, "--json") == 0
    (found,) = json.loads(capfd.readouterr().out)["predictions"]
    assert found["known"] is False
    assert found["familiarity"] < 0.05


def test_as_json_it_says_what_the_library_says(
    live: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "predict", *photos, "--model", "latest", "--json") == 0
    found = json.loads(capfd.readouterr().out)
    expected = api.classify(*photos, model="live")
    assert found["model"] == live
    assert [one["name"] for one in found["predictions"]] == list(expected.names)
    assert np.allclose([one["confidence"] for one in found["predictions"]], expected.confidences)
    assert all(len(one["classes"]) == 3 for one in found["predictions"])


def test_a_file_that_is_no_picture_is_one_line(
    live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    for name, message in (("notes.txt", "notes.txt"), ("missing.png", "No such file")):
        assert run(monkeypatch, "predict", tmp_path / name) == 1
        assert message in capfd.readouterr().err


def test_the_content_of_a_file_is_classified_like_the_file(live: str, photos: list[Path]) -> None:
    model = api.load_model("live")
    by_path, by_content = api.classify(photos[0], model=model), api.classify(photos[0].read_bytes(), model=model)
    assert np.array_equal(by_path.probabilities, by_content.probabilities)
    with pytest.raises(InputError, match="expected at least one"):
        api.classify(model=model)


@pytest.mark.parametrize(("share", "bar"), [(0.0, ""), (0.5, "#" * 12), (1.0, "#" * 24)])
def test_a_bar_is_as_long_as_its_share(share: float, bar: str) -> None:
    assert draw_bar(share) == bar
