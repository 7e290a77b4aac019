"""The notebook docs/tour.ipynb: how it is stored, and that it runs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from components.contract import SAMPLE
from components.dataset.archives import has_archives
from components.settings import CHECKOUT, Settings

TOUR = CHECKOUT / "docs" / "tour.ipynb"
NOTEBOOK = nbformat.read(TOUR, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
SOURCE = "\n".join(cell.source for cell in CODE)

NAMED = Path(os.environ.get("FASHION_SOURCE", "auto"))
REAL = str(NAMED.resolve()) if has_archives(NAMED) else SAMPLE
HOMES = ("BENTOML_HOME", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
PICTURES = {"look", "curves", "confusion", "reliability", "coverage", "mistakes", "photo", "predict"}


def test_it_is_stored_without_outputs() -> None:
    assert len(CODE) > 10
    assert all(cell.execution_count is None and cell.outputs == [] for cell in CODE)
    assert all(cell.metadata == {} for cell in NOTEBOOK.cells)
    assert set(NOTEBOOK.metadata) == {"kernelspec", "language_info"}


def test_its_cells_have_ids_that_say_what_they_are() -> None:
    """So that a cell more does not change all of those after it."""
    assert all(cell.id.replace("-", "").isalpha() for cell in NOTEBOOK.cells)


def test_ruff_has_nothing_to_say() -> None:
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", str(TOUR)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_it_uses_only_public_names_of_components() -> None:
    modules, names = set[str](), set[str]()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
    assert "components.training.train" in modules
    assert not {name.split(".")[0] for name in modules | names} & {"flows", "serving", "service"}
    assert not [name for name in modules | names if name.startswith("_") or "._" in name]


def test_it_keeps_bentoml_from_reporting_the_save() -> None:
    assert SOURCE.index('"BENTOML_DO_NOT_TRACK", "true"') < SOURCE.index("save_model(")


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "source"), [(TOUR.parent, REAL), (CHECKOUT, SAMPLE)], ids=["docs", "root"])
def test_it_runs(
    folder: Path, source: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its own folder, on the archives that FASHION_SOURCE names if it does; from the checkout, on the sample."""
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
