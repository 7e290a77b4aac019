"""The notebook docs/tour.ipynb: how it is stored, and that it runs."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from tours import TOUR, run_tour

from components.contract import SAMPLE
from components.settings import CHECKOUT, Settings

NOTEBOOK = nbformat.read(TOUR, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
SOURCE = "\n".join(cell.source for cell in CODE)


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
def test_it_runs(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the checkout, on the drawn sample."""
    run_tour(CHECKOUT, SAMPLE, settings, tmp_path, monkeypatch)
