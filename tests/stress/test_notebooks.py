"""The notebooks in docs, run completely."""

import ast
from pathlib import Path

import pytest
from notebooks import OWN_CATALOGUE, pictures_in, run_notebook, run_tour

from components.contract import SAMPLE
from components.settings import CHECKOUT, Settings

pytestmark = pytest.mark.slow


def test_the_tour_runs(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it from the checkout, on the synthetic sample."""
    run_tour(CHECKOUT, SAMPLE, settings, tmp_path, monkeypatch)


def test_a_folder_of_pictures_becomes_a_service_that_names_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the notebook creates a folder there
    notebook = run_notebook(OWN_CATALOGUE, OWN_CATALOGUE.parent, tmp_path / "homes", monkeypatch)
    assert pictures_in(notebook) == {"look", "ask"}
    answer = notebook.cells[-1].outputs[-1]
    assert ast.literal_eval(answer.data["text/plain"]) == ["knife", "mug", "plate"]
    (live,) = tmp_path.glob("kitchen-*/bentoml/fashion/catalogues/kitchen/live.json")
    assert '"kitchen-mlp:' in live.read_text()
    assert not (tmp_path / "homes" / "bentoml_home").exists(), "it has a store of its own"
