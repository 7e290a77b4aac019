"""Allowed imports between packages, and the side effects of importing them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.catalogues.fashion_mnist import CLASSES
from components.settings import CHECKOUT

MODULES = sorted(
    path
    for folder in ("components", "fashion", "flows", "ops", "serving")
    for path in (CHECKOUT / folder).rglob("*.py")
    if path.name != "__main__.py"
)
SHARED = {
    "catalogue_in_use",
    "contract",
    "errors",
    "expectations",
    "files",
    "footprint",
    "inbox",
    "intervals",
    "end_with_parent",
    "paths",
    "records",
    "revisions",
    "settings",
    "storage",
    "telemetry",
}
# package -> the packages that it may import, besides the shared modules
MAY_USE = {
    "networks": set[str](),
    "catalogues": {"networks"},
    "pages": set[str](),
    "model": {"catalogues"},
    "readers": {"catalogues"},
    "dataset": {"readers", "catalogues", "networks", "pages"},
    "training": {"dataset", "model"},
    "registry": {"dataset", "model", "catalogues", "networks"},
    "export": {"dataset", "readers", "model", "networks"},
    "evaluation": {"training", "dataset", "readers", "model", "pages"},
    "scoring": {"registry", "readers", "model", "catalogues"},
    "neighbours": {"scoring", "registry", "dataset", "readers", "model"},
    "monitoring": {"evaluation", "dataset", "registry", "readers", "catalogues", "pages"},
    "probation": {"monitoring", "registry", "shadow"},
    "shadow": {"monitoring", "scoring", "registry", "readers", "model", "pages"},
    "promotion": {"shadow", "scoring", "evaluation", "registry", "dataset", "readers", "model", "catalogues", "pages"},
    "audit": {"evaluation", "training", "dataset", "model", "pages"},
    "review": {"monitoring", "dataset", "readers"},
}


def name_of(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(str(node.module))
    return found


IN_PACKAGES = [
    path for path in MODULES if path.relative_to(CHECKOUT).parts[0] == "components" and path.parent.name != "components"
]


@pytest.mark.parametrize("path", IN_PACKAGES, ids=name_of)
def test_packages_import_only_lower_packages(path: Path) -> None:
    package = path.relative_to(CHECKOUT).parts[1]
    for used in (name for name in imports_of(path) if name.startswith("components.")):
        assert used.split(".")[1] in SHARED | {package} | MAY_USE[package], f"{name_of(path)} imports {used}"


@pytest.mark.parametrize("name", sorted(SHARED))
def test_shared_modules_import_only_each_other(name: str) -> None:
    used = {module for module in imports_of(CHECKOUT / "components" / f"{name}.py") if module.startswith("components")}
    assert used <= {f"components.{other}" for other in SHARED}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_frameworks_stay_in_their_packages(path: Path) -> None:
    used = {module.split(".")[0] for module in imports_of(path)}
    if path.is_relative_to(CHECKOUT / "components"):
        assert not used & {"prefect", "starlette", "fashion", "flows", "ops", "serving"}
    if name_of(path) not in {"components.registry.store", "serving.bentoml_patches"}:
        assert "bentoml" not in used
    if path.is_relative_to(CHECKOUT / "serving"):
        assert "flows" not in used


UNIT = CHECKOUT / "tests" / "unit"
TESTS = sorted(path for path in UNIT.rglob("test_*.py") if path.name != "test_structure.py")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(UNIT)))
def test_tests_mirror_the_modules(path: Path) -> None:
    """tests/unit/readers/tables/test_csv.py tests components/readers/tables/csv.py; the same holds for folders."""
    place = path.relative_to(UNIT).parent / path.stem.removeprefix("test_")
    tested = [CHECKOUT / place, CHECKOUT / "components" / place]
    assert any(one.is_dir() or one.with_suffix(".py").is_file() for one in tested), (
        f"no {place} and no components/{place}"
    )


def in_a_fresh_interpreter(code: str, home: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_modules_has_no_side_effects(tmp_path: Path) -> None:
    """No folder, log or download is created, except for the homes that Prefect and BentoML create themselves."""
    names = [name_of(path) for path in MODULES]
    in_a_fresh_interpreter(f"import importlib\nfor name in {names}: importlib.import_module(name)", tmp_path)
    made = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert made <= {".prefect", "bentoml"}, made
    assert not list(tmp_path.glob("bentoml/models/*"))
    assert not list(tmp_path.glob("bentoml/fashion"))


def test_predicting_and_scoring_need_no_pytorch(tmp_path: Path) -> None:
    modules = "components.scoring.job, components.scoring.predict, components.readers.images.photos, flows.parts"
    code = f"import sys, {modules}, fashion; fashion.load_model; print(*sys.modules)"
    assert "torch" not in in_a_fresh_interpreter(code, tmp_path).split()


def test_help_needs_no_framework(tmp_path: Path) -> None:
    code = "import sys, fashion.cli.app; print(*(name for name in sys.modules if '.' not in name))"
    loaded = in_a_fresh_interpreter(code, tmp_path).split()
    assert not {"torch", "prefect", "bentoml", "pandas", "great_expectations", "numpy"} & set(loaded)


def test_the_public_api_is_cheap_to_import(tmp_path: Path) -> None:
    loaded = in_a_fresh_interpreter("import sys, fashion; print(*sys.modules)", tmp_path).split()
    assert not {"torch", "bentoml", "prefect", "numpy", "components"} & set(loaded)


def test_reading_the_store_imports_neither_bentoml_nor_torch(tmp_path: Path) -> None:
    modules = "components.registry.champion, components.registry.retention.prune"
    code = f"import sys, {modules}; from components.registry.retention.states import list_models; list_models()"
    loaded = in_a_fresh_interpreter(f"{code}; print(*sys.modules)", tmp_path).split()
    assert not {"bentoml", "torch", "scipy", "pandas"} & set(loaded)
    assert not list(tmp_path.iterdir())


def test_the_supervisor_of_the_service_imports_neither_numpy_nor_arrow(tmp_path: Path) -> None:
    loaded = in_a_fresh_interpreter("import sys, service; print(*sys.modules)", tmp_path).split()
    assert not {"torch", "numpy", "pyarrow", "PIL"} & set(loaded)


def test_a_worker_of_the_service_imports_only_what_it_uses(tmp_path: Path) -> None:
    code = "import sys, service; service.Fashion.to_asgi(); import serving.endpoints; print(*sys.modules)"
    loaded = in_a_fresh_interpreter(code, tmp_path).split()
    assert {"numpy", "pyarrow"} <= set(loaded)
    unused = {
        "torch",
        "aiohttp",
        "pyparsing",
        "pandas",
        "prefect",
        "great_expectations",
        "matplotlib",
        "scipy",
        "sklearn",
        "cv2",
    }
    assert not unused & set(loaded)


# --- class names and image sizes belong to the catalogue ---

COMPONENTS = CHECKOUT / "components"
OWN = [COMPONENTS / "catalogues" / f"{name}.py" for name in ("examples", "fashion_mnist", "sample")]
OWN += [  # its photo preparation
    COMPONENTS / "catalogues" / "preparation" / f"{name}.py" for name in ("fashion_mnist", "ground", "polarity")
]
SOURCES = [
    path
    for pattern in ("components/**/*.py", "components/**/*.j2", "fashion/**/*.py", "flows/**/*.py", "ops/**/*.py")
    for path in CHECKOUT.glob(pattern)
    if path not in OWN
]
SOURCES += [*CHECKOUT.glob("serving/**/*.py"), *CHECKOUT.glob("ui/*"), CHECKOUT / "service.py"]
NAMES = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in CLASSES))
SIZES = re.compile(r"(?<![\w.#])(28|784)(?![\w%])|\(n, 10\)|\(10,\)|\bten (classes|categories)\b")
OF_A_SIZE = {"zeros", "empty", "full", "ones", "eye", "reshape", "view", "arange", "range", "bincount", "one_hot"}
OF_A_SIZE |= {"Linear", "Unflatten", "resize", "integers", "broadcast_to"}  # functions that take sizes and counts


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_only_a_catalogue_knows_its_classes_and_sizes(path: Path) -> None:
    text = path.read_text()
    found = [line.strip() for line in text.splitlines() if NAMES.search(line) or SIZES.search(line)]
    if path.suffix == ".py":
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        found += [ast.unparse(call) for call in calls if _name_of(call) in OF_A_SIZE and _has_ten(call)]
    assert found == []


def _name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _has_ten(call: ast.Call) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(isinstance(node, ast.Constant) and node.value == 10 for one in given for node in ast.walk(one))
