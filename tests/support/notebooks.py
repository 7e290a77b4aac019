"""Runs the notebooks in docs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from components.settings import CHECKOUT, Settings

TOUR = CHECKOUT / "docs" / "tour.ipynb"
OWN_CATALOGUE = CHECKOUT / "docs" / "own-catalogue.ipynb"
HOMES = ("BENTOML_HOME", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
PICTURES = {"look", "curves", "confusion", "reliability", "coverage", "mistakes", "photo", "predict"}  # of the tour


def run_notebook(path: Path, folder: Path, homes: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """Run a notebook in a folder and return it with its outputs; no cell may print to standard error."""
    homes.mkdir(exist_ok=True)
    for name in HOMES:
        monkeypatch.setenv(name, str(homes / name.lower()))
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    assert not [output.text for _, output in shown_in(notebook) if output.get("name") == "stderr"]
    return notebook


def run_tour(folder: Path, source: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the tour in a folder, on archives or the sample, and check its pictures and the files it leaves."""
    monkeypatch.setenv("FASHION_SOURCE", source)
    notebook = run_notebook(TOUR, folder, tmp_path, monkeypatch)
    assert pictures_in(notebook) == PICTURES
    assert list(tmp_path.glob("bentoml_home/models/fashion-mlp/*/model.json"))
    assert not list(tmp_path.glob("bentoml_home/fashion/live.json"))
    assert settings.datasets_dir.is_dir()


def shown_in(notebook: nbformat.NotebookNode) -> list[tuple[str, nbformat.NotebookNode]]:
    """All outputs with the ID of their cell."""
    return [(cell.id, output) for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures_in(notebook: nbformat.NotebookNode) -> set[str]:
    """The IDs of cells that show a picture."""
    return {name for name, output in shown_in(notebook) if is_picture(output)}


def is_picture(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    return "image/png" in data or "<svg" in data.get("text/html", "")
