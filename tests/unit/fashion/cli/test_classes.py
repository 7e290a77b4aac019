"""`fashion classes`: what a person types and reads."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from handed_in import base, ready  # noqa: F401, fixtures
from photos import write_photos

from components.contract import Dataset, ModelCard
from components.model.mlp import MLP
from components.registry import champion, store
from fashion.cli.main import run_command

pytestmark = pytest.mark.usefixtures("bentoml_home", "base")
Fashion = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Fashion:
    """Run `fashion classes ...`: (status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fashion", "classes", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_command()
        output = capfd.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return run


def test_the_classes_are_listed_with_images_and_the_live_model_s_f1(
    fashion: Fashion, network: MLP, card: ModelCard
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    fashion("rename", "Bag", "Handbag")
    status, printed, _ = fashion("--json")
    rows = {row["name"]: row for row in json.loads(printed)}
    assert status == 0
    assert rows["Coat"]["f1"] == pytest.approx(card.test.classes[4].f1)
    assert sum(row["train"] for row in rows.values() if row["train"]) == 600
    assert (rows["Handbag"]["label"], rows["Handbag"]["f1"]) == (8, None)
    assert rows["Bag"] == {"label": None, "name": "Bag", "train": None, "test": None, "f1": card.test.classes[8].f1}
    _, shown, _ = fashion()
    assert f"   4  Coat         {rows['Coat']['train']:>7}" in shown
    assert "(live model only)" in shown


def test_a_change_says_what_it_did_and_what_comes_next(fashion: Fashion, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"hat": 20})
    (photos / "hat" / "broken.png").write_text("no picture")
    status, printed, _ = fashion("add", "hat", "--from", photos / "hat", "--why", "sold now")
    assert status == 0
    assert printed.startswith("add 'hat': 11 classes, dataset ")
    assert "  1 not imported: not a PNG" in printed
    assert "the next training uses them" in printed
    _, printed, _ = fashion("merge", "Pullover", "Shirt", "--into", "Top")
    assert "hat has number 6 now, not 10" in printed
    _, printed, _ = fashion("history")
    assert [line.split("  ")[2] for line in printed.splitlines()] == [
        "add 'hat'",
        "merge 'Pullover', 'Shirt' into 'Top'",
    ]
    assert "(sold now)" in printed
    _, printed, _ = fashion("undo", "--json")
    assert json.loads(printed)["entry"]["change"] == "undo: merge 'Pullover', 'Shirt' into 'Top'"
    _, printed, _ = fashion("undo")
    assert printed.startswith("undo: add 'hat': 10 classes")
    assert "next training" not in printed


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (
            ("rename", "Sock", "Stocking"),
            "'Sock' is not a class of fashion-mnist; expected 0 to 9 or one of T-shirt/top",
        ),
        (("add", "bag", "--from", "."), "two classes are called 'Bag'"),
        (("split", "Bag", "--from", "none.csv"), "none.csv: no such file"),
        (("undo",), "no class change to undo"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_1(fashion: Fashion, arguments: tuple[str, ...], printed: str) -> None:
    status, _, error = fashion(*arguments)
    assert status == 1
    assert printed in error
    assert len(error.splitlines()) == 1


def test_without_data_there_are_no_classes(
    fashion: Fashion, base: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASHION_DATA_DIR", str(tmp_path / "empty"))
    status, _, error = fashion()
    assert (status, "no dataset yet" in error) == (1, True)
