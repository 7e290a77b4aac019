"""The wheel has every package, and every other file that the code opens."""

import ast
from pathlib import Path

import pytest
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

from components.paths import CHECKOUT, IS_INSTALLED, RESOURCES, default_data_dir
from components.registry.bento import BUILD_FILE, LOCK_FILE
from ops import automations, deployments, layout
from serving.pages import OWN_FILES, UI_FOLDER

FOLDERS = ("components", "fashion", "flows", "ops", "serving")
PACKAGED = Path("fashion", "resources")  # the wheel's folder for files of the checkout's top level
WRITTEN = {"README.md", ".gitignore"}  # names of files that the code only writes


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The files that setuptools puts into the wheel."""
    monkeypatch.chdir(CHECKOUT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    command = distribution.get_command_obj("build_py")
    assert isinstance(command, build_py)
    command.ensure_finalized()
    modules = {Path(*package.split("."), f"{module}.py") for package, module, _ in command.find_all_modules()}
    return modules | {Path(*package.split("."), name) for package, _, _, names in command.data_files for name in names}


def in_wheel(path: Path) -> Path:
    place = path.relative_to(CHECKOUT)
    return place if place.parts[0] in FOLDERS else PACKAGED / place


def test_it_has_every_module(wheel: set[Path]) -> None:
    modules = {path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")}
    expected = {in_wheel(path) for path in (*modules, CHECKOUT / "service.py")}
    assert {path for path in wheel if path.suffix == ".py"} == expected


def test_it_has_every_file_that_a_constant_names(wheel: set[Path]) -> None:
    opened = [layout.CONFIG, automations.AUTOMATIONS, automations.NOTIFICATIONS, deployments.PROJECT]
    opened += [RESOURCES / BUILD_FILE, RESOURCES / LOCK_FILE, *(UI_FOLDER / name for name, _ in OWN_FILES.values())]
    assert {in_wheel(path) for path in opened} <= wheel


def test_it_has_every_file_that_the_code_names(wheel: set[Path]) -> None:
    """Any string that is the name of a file next to the module, or at the top level of the checkout."""
    named = set()
    for module in (path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 100:
                places = (folder / node.value for folder in (module.parent, CHECKOUT))
                named |= {path for path in places if path.is_file() and path.name not in WRITTEN}
    assert {"bentofile.yaml", "prefect.yaml", "report.html.j2"} <= {path.name for path in named}
    assert {in_wheel(path) for path in named} <= wheel


def test_it_has_every_template(wheel: set[Path]) -> None:
    templates = {path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.j2")}
    assert {in_wheel(path) for path in templates} == {path for path in wheel if path.suffix == ".j2"}


def test_it_has_nothing_else(wheel: set[Path]) -> None:
    assert {path.parts[0] for path in wheel} == set(FOLDERS)
    others = {path for path in wheel if path.suffix not in {".py", ".j2"}}
    top = {path.relative_to(PACKAGED).parts[0] for path in others if path.is_relative_to(PACKAGED)}
    assert top == {"bentofile.yaml", "deploy", "prefect.yaml", "requirements.lock", "ui"}
    beside = {Path("fashion", "py.typed"), Path("components", "catalogues", "examples.png")}
    assert {path for path in others if not path.is_relative_to(PACKAGED)} == beside


def test_a_checkout_keeps_its_data_folder() -> None:
    assert (IS_INSTALLED, RESOURCES, default_data_dir()) == (False, CHECKOUT, CHECKOUT / "data")
