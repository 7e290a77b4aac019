"""The notebook docs/tour.ipynb, run."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from components.settings import CHECKOUT, Settings

TOUR = CHECKOUT / "docs" / "tour.ipynb"
HOMES = ("BENTOML_HOME", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
PICTURES = {"look", "curves", "confusion", "reliability", "coverage", "mistakes", "photo", "predict"}


def run_tour(folder: Path, source: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder, on archives or the sample; every cell runs, shows what it is to show, and leaves what it should."""
    monkeypatch.setenv("FASHION_SOURCE", source)
    for name in HOMES:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(TOUR, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()

    shown = [(cell.id, output) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {name for name, output in shown if is_picture(output)} == PICTURES
    assert not [output.text for _, output in shown if output.get("name") == "stderr"]
    assert list(tmp_path.glob("bentoml_home/models/fashion-mlp/*/model.json"))
    assert not list(tmp_path.glob("bentoml_home/fashion/live.json"))
    assert settings.datasets_dir.is_dir()


def is_picture(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    return "image/png" in data or "<svg" in data.get("text/html", "")
