"""The built Bento: what is in it, and that it serves its own model from anywhere."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from servers import serve, using_home

from components.contract import Images, ModelCard
from components.inference.predict import predict
from components.manifest import Examples
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.bento import build_bento
from components.settings import CHECKOUT, Settings
from components.training.train import Trained

pytestmark = pytest.mark.slow
BENTOFILE: dict[str, Any] = yaml.safe_load((CHECKOUT / "bentofile.yaml").read_text())
FROM_BENTOML = {
    "bentoml",
    "starlette",
    "anyio",
    "prometheus_client",
    "uvicorn",
}  # distributions that a Bento has without asking
NOT_IMPORTED_BY_US = {"httptools", "uvloop"}  # uvicorn takes them where they are
NEVER_SERVING = ("great_expectations", "prefect", "matplotlib", "torchvision", "pandas", "sklearn")


@dataclass(frozen=True)
class Built:
    """A Bento in a store of its own, and the model that was live when it was built."""

    home: Path
    tag: str
    model: str

    @property
    def folder(self) -> Path:
        return self.home / "bentos" / self.tag.replace(":", "/")

    @property
    def sources(self) -> list[Path]:
        """Every file that travels, relative to `src`; BentoML adds the build file."""
        return sorted(path.relative_to(self.folder / "src") for path in self.folder.glob("src/**/*") if path.is_file())


@pytest.fixture(scope="module")
def built(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("bento")
    with using_home(folder / "bentoml") as home:
        model = store.save_model(trained.network, card)
        champion.make_live(model, "a test")
        yield Built(home, build_bento(settings=Settings(data_dir=folder / "data")), model)


@pytest.fixture(scope="module")
def without_checkout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without the editable install, which would lend a Bento the files that it lacks."""
    folder = tmp_path_factory.mktemp("site")
    keep = '[finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]'
    (folder / "sitecustomize.py").write_text(f"import sys\n\nsys.meta_path[:] = {keep}\n")
    return {"PYTHONPATH": str(folder)}


def listed(requirements: list[str]) -> dict[str, str]:
    """Distribution -> specifier."""
    split = (re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", requirement) for requirement in requirements)
    return {found[1].lower(): found[2] for found in split if found}


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def answered(built: Built, folder: Path, environment: dict[str, str], images: Images) -> dict[str, Any]:
    """What the Bento says of images, served by its tag from an empty folder."""
    body = json.dumps({"images": images.tolist()})
    folder.mkdir()
    with serve(built.home, built.tag, folder, environment) as server, server.client() as client:
        answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        assert client.get("/readyz").status_code == 200
    assert list(folder.iterdir()) == []
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


# --- what is in it ---


def test_it_carries_exactly_the_files_that_are_allowed(built: Built) -> None:
    patterns = [pattern.removeprefix("/") for pattern in BENTOFILE["include"]]
    allowed = {path.relative_to(CHECKOUT) for pattern in patterns for path in CHECKOUT.glob(pattern)}
    assert set(built.sources) == allowed | {Path("bentofile.yaml")}
    assert {path.parts[0] for path in allowed} == {"service.py", "serving", "components", "ui"}
    packages = {path.parts[1] for path in allowed if path.parts[0] == "components" and len(path.parts) == 3}
    assert packages == {"formats", "inference", "model", "monitoring", "registry"}
    assert {path.suffix for path in allowed if path.parts[0] != "ui"} == {".py"}


def test_it_names_exactly_the_live_model(built: Built) -> None:
    described = yaml.safe_load((built.folder / "bento.yaml").read_text())
    assert [(model["tag"], model["alias"]) for model in described["models"]] == [(built.model, store.BUNDLED)]
    assert described["labels"] == {"project": "fashion", "model": built.model.replace(":", "-"), "source": "sample"}


def test_its_packages_are_bounded_as_the_projects_are() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    ours, theirs = listed(BENTOFILE["python"]["packages"]), listed(project["dependencies"])
    assert ours == {name: theirs.get(name) for name in ours}


def test_its_packages_are_those_that_its_files_import(built: Built) -> None:
    first_party = {path.parts[0].removesuffix(".py") for path in built.sources}
    files = (built.folder / "src").rglob("*.py")
    names = set().union(*(imported(file) for file in files))
    distributions = importlib.metadata.packages_distributions()
    needed = {distributions[name][0].lower() for name in names - first_party - sys.stdlib_module_names}
    packages = listed(BENTOFILE["python"]["packages"]).keys()
    assert needed - packages <= FROM_BENTOML
    assert packages - needed <= NOT_IMPORTED_BY_US


# --- where it runs ---

IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
import service
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in ("service", "serving", "components", "flows")]
print(sorted({name.partition(".")[0] for name in sys.modules}))
print(sorted(module.__file__ for module in ours))
"""


def test_importing_it_loads_little_and_makes_nothing(
    built: Built, without_checkout: dict[str, str], tmp_path: Path
) -> None:
    home, elsewhere, source = tmp_path / "home", tmp_path / "elsewhere", built.folder / "src"
    for folder in (home, elsewhere):
        folder.mkdir()
    own = {"HOME": str(home), "BENTOML_HOME": str(home / "bentoml"), "TMPDIR": str(elsewhere)}
    before = built.sources
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", IMPORT, str(source)],
        cwd=elsewhere,
        env={**os.environ, **without_checkout, **own},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    loaded, files = (ast.literal_eval(line) for line in done.stdout.splitlines())
    assert [name for name in NEVER_SERVING if name in loaded] == []
    assert files
    assert [file for file in files if not Path(file).is_relative_to(source)] == []
    assert set(tmp_path.rglob("*")) == {home, elsewhere}
    assert built.sources == before


def test_it_answers_from_anywhere_and_keeps_its_model(
    built: Built,
    without_checkout: dict[str, str],
    network: MLP,
    card: ModelCard,
    test_split: Examples,
    tmp_path: Path,
) -> None:
    """Served, and served again after another model went live beside it."""
    images = test_split.images[:5]
    expected = predict(store.load_stored(built.model), images).probabilities
    first = answered(built, tmp_path / "first", without_checkout, images)
    network.state_dict()["logits.bias"].add_(torch.arange(10))
    newer = store.save_model(network, card)
    champion.make_live(newer, "newer")
    assert champion.load_model().tag == newer
    second = answered(built, tmp_path / "second", without_checkout, images)
    for answer in (first, second):
        assert answer["model"] == built.model
        rows = [row["probabilities"] for row in answer["predictions"]]
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
