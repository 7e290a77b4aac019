"""How the notebooks in docs are stored. tests/stress/test_notebooks.py runs them."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from notebooks import OWN_CATALOGUE, TOUR

from components.settings import CHECKOUT

NOTEBOOKS = {path: nbformat.read(path, as_version=4) for path in (TOUR, OWN_CATALOGUE)}
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in NOTEBOOKS[path].cells if cell.cell_type == "code"]


def source_of(path: Path) -> str:
    return "\n".join(cell.source for cell in code_of(path))


def test_every_notebook_is_listed() -> None:
    assert set(NOTEBOOKS) == set((CHECKOUT / "docs").rglob("*.ipynb"))


@each
def test_it_is_stored_without_outputs(path: Path) -> None:
    code = code_of(path)
    assert len(code) > 5
    assert all(cell.execution_count is None and cell.outputs == [] for cell in code)
    assert all(cell.metadata == {} for cell in NOTEBOOKS[path].cells)
    assert set(NOTEBOOKS[path].metadata) == {"kernelspec", "language_info"}


@each
def test_its_cells_have_descriptive_ids(path: Path) -> None:
    """Inserting a cell then leaves the ids of later cells unchanged."""
    assert all(cell.id.replace("-", "").isalpha() for cell in NOTEBOOKS[path].cells)


def test_ruff_reports_nothing() -> None:
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", *map(str, NOTEBOOKS)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@each
def test_it_uses_only_public_names(path: Path) -> None:
    modules, names = set[str](), set[str]()
    for node in ast.walk(ast.parse(source_of(path))):
        if isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
    assert "fashion" in names
    assert not {name.split(".")[0] for name in modules | names} & {"flows", "serving", "service"}
    assert not [name for name in modules | names if name.startswith("_") or "._" in name]
    if path == OWN_CATALOGUE:
        assert not [name for name in modules if name.startswith("components")], "fashion has all that it needs"


@each
def test_it_disables_bentoml_telemetry_before_saving(path: Path) -> None:
    (setting,) = [line for line in source_of(path).splitlines() if '"BENTOML_DO_NOT_TRACK"' in line]
    assert '"true"' in setting
    assert source_of(path).index(setting) < source_of(path).index("save_model(")
