"""The built Bento: its contents, and that it serves its own model from any folder."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bentos import BENTOFILE, Built, built_in, fill_image
from manifests import CONTAINER, POD
from servers import free_port, running, serve, wait_until_ready

from components.contract import Images, ModelCard
from components.dataset.manifest import Examples
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.bento import VERSION_LENGTH
from components.scoring.predict import predict
from components.settings import CHECKOUT, checkout_commit
from components.training.train import Trained

pytestmark = pytest.mark.slow
FROM_BENTOML = {
    "bentoml",
    "starlette",
    "anyio",
    "prometheus-client",
    "uvicorn",
}  # distributions that every Bento includes
WITH_A_NETWORK = {"onnxruntime"}  # added only to the Bento of a model with a frozen network
NOT_IMPORTED_BY_US = {"httptools", "uvloop"}  # uvicorn uses them if they are installed
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")  # the Kubernetes label format
NEVER_SERVING = ("great_expectations", "prefect", "matplotlib", "torch", "torchvision", "pandas", "sklearn")


@pytest.fixture(scope="module")
def built(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with built_in(tmp_path_factory.mktemp("bento"), trained.network, card) as bento:
        yield bento


@pytest.fixture(scope="module")
def without_checkout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without the editable install, which would hide files missing from a Bento."""
    folder = tmp_path_factory.mktemp("site")
    keep = '[finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]'
    (folder / "sitecustomize.py").write_text(f"import sys\n\nsys.meta_path[:] = {keep}\n")
    return {"PYTHONPATH": str(folder)}


def listed(requirements: list[str]) -> dict[str, str]:
    """Map each distribution to its version specifier."""
    split = (re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", requirement) for requirement in requirements)
    return {found[1].lower(): found[2] for found in split if found}


def imported(path: Path) -> set[str]:
    """Return the top-level names that a file imports, at any level."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def answered(built: Built, folder: Path, environment: dict[str, str], images: Images) -> dict[str, Any]:
    """Serve the Bento by its tag from an empty folder, and return its response for the images."""
    body = json.dumps({"images": images.tolist()})
    folder.mkdir()
    with serve(built.home, built.tag, folder, environment) as server, server.client() as client:
        answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        for path in ("/predict?because=1", "/similar"):
            refused = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert (refused.status_code, "a built Bento has no" in refused.text) == (409, True)
        assert client.get("/readyz").status_code == 200
        assert client.get("/swagger-ui-bundle.js").status_code == 200, "BentoML's package has it"
        assert len(client.get("/examples").json()["examples"]) == 10
    assert list(folder.iterdir()) == []
    output: dict[str, Any] = answer.raise_for_status().json()
    return output


# --- contents ---


def test_it_contains_exactly_the_allowed_files(built: Built) -> None:
    patterns = [pattern.removeprefix("/") for pattern in BENTOFILE["include"]]
    allowed = {path.relative_to(CHECKOUT) for pattern in patterns for path in CHECKOUT.glob(pattern)}
    assert set(built.sources) == allowed | {Path("bentofile.yaml"), Path("verdict.json")}
    assert {path.parts[0] for path in allowed} == {"service.py", "serving", "components", "ui"}
    packages = {path.parts[1] for path in allowed if path.parts[0] == "components" and len(path.parts) == 3}
    expected = {"catalogues", "dataset", "model", "monitoring", "networks", "readers", "registry", "review", "scoring"}
    assert packages == {*expected, "shadow"}
    files = {path for path in allowed if path.parts[0] != "ui" and path.suffix != ".py"}
    assert files == {Path("components/catalogues/examples.png")}


def test_it_names_exactly_the_live_model(built: Built) -> None:
    models = built.described["models"]
    assert [(model["tag"], model["alias"]) for model in models] == [(built.model, store.BUNDLED)]


def test_its_labels_record_its_origin(built: Built, card: ModelCard) -> None:
    labels = built.described["labels"]
    assert labels == {
        "project": "fashion",
        "model": built.model.replace(":", "-"),
        "source": "sample",
        "preset": "quick",
        "dataset": card.dataset_version,
        "contract": card.contract.fingerprint[:VERSION_LENGTH],
        "verdict": "passed",
        "commit": checkout_commit(built.home.with_name("checkout")),
        "content": built.tag.removeprefix("fashion:"),
    }
    assert [value for value in labels.values() if not LABEL.fullmatch(value)] == []


def test_it_contains_the_verdict(built: Built) -> None:
    verdict = json.loads((built.folder / "src" / "verdict.json").read_text())
    assert (verdict["challenger"], verdict["outcome"]) == (built.model, "passed")


def test_its_packages_have_the_version_bounds_of_the_project() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    ours, theirs = listed(BENTOFILE["python"]["packages"]), listed(project["dependencies"])
    assert ours == {name: theirs.get(name) for name in ours}


def test_its_packages_are_pinned_to_the_locked_versions(built: Built) -> None:
    pinned = (built.folder / "env" / "python" / "requirements.txt").read_text().splitlines()
    locked = {
        line.replace(" ;", ";").replace("'", '"') for line in (CHECKOUT / "requirements.lock").read_text().splitlines()
    }
    assert set(pinned) <= locked
    assert {re.split("[=;]", line)[0] for line in pinned} == {*listed(BENTOFILE["python"]["packages"]), "bentoml"}


def test_its_packages_match_the_imports_of_its_files(built: Built) -> None:
    first_party = {path.parts[0].removesuffix(".py") for path in built.sources}
    files = (built.folder / "src").rglob("*.py")
    names = set().union(*(imported(file) for file in files))
    distributions = importlib.metadata.packages_distributions()
    imported_names = names - first_party - sys.stdlib_module_names
    needed = {distributions[name][0].lower().replace("_", "-") for name in imported_names}
    packages = listed(BENTOFILE["python"]["packages"]).keys()
    assert needed - packages <= {*FROM_BENTOML, *WITH_A_NETWORK}
    assert packages - needed <= NOT_IMPORTED_BY_US


# --- running it elsewhere ---

IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
import service
print("numpy" in sys.modules)
import serving.endpoints  # as a worker does
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in ("service", "serving", "components", "flows")]
print(sorted({name.partition(".")[0] for name in sys.modules}))
print(sorted(module.__file__ for module in ours))
"""


def test_importing_it_loads_little_and_creates_no_files(
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
    supervised, loaded, files = (ast.literal_eval(line) for line in done.stdout.splitlines())
    assert not supervised, "the supervisor of the workers loads only what it uses"
    assert [name for name in NEVER_SERVING if name in loaded] == []
    assert files
    assert [file for file in files if not Path(file).is_relative_to(source)] == []
    assert set(tmp_path.rglob("*")) == {home, elsewhere}
    assert built.sources == before


def test_it_serves_from_any_folder_and_keeps_its_model(
    built: Built,
    without_checkout: dict[str, str],
    network: MLP,
    card: ModelCard,
    test_split: Examples,
    tmp_path: Path,
) -> None:
    """Serves the same model again after another one is promoted in the same store."""
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


# --- in a container ---


@pytest.fixture(scope="module")
def image(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of a container image."""
    return fill_image(built.tag, tmp_path_factory.mktemp("image") / "bento")


def test_an_image_contains_the_complete_model_and_fits_the_manifest(built: Built, image: Path) -> None:
    stored = built.home / "models" / built.model.replace(":", "/")
    inside = image / "models" / built.model.replace(":", "/")
    assert {path.name: path.read_bytes() for path in inside.iterdir() if path.name != "model.yaml"} == {
        path.name: path.read_bytes() for path in stored.iterdir() if path.name != "model.yaml"
    }
    assert (inside / "verdict.json").is_file()
    dockerfile = (image / "env" / "docker" / "Dockerfile").read_text()
    user = POD["securityContext"]["runAsUser"]
    for line in (
        f"ARG BENTO_USER_UID={user}",
        "USER bentoml",
        "ARG BENTO_PATH=/home/bentoml/bento",
        "FROM python:3.11-",
    ):
        assert re.search(f"^{line}", dockerfile, re.MULTILINE), line


def test_it_runs_as_the_manifest_specifies(built: Built, image: Path, tmp_path: Path) -> None:
    """Runs as the manifest's user with a read-only root and its writable mounts, and stops on SIGTERM."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs to mount, as root on Linux may")
    user = POD["securityContext"]["runAsUser"]
    subprocess.run(["chown", "-R", f"{user}:{user}", str(image)], check=True)  # COPY --chown, in the Dockerfile
    port, variables = free_port(), {"FASHION_TOKEN": "secret", "BENTO_PATH": "/home/bentoml/bento"}
    variables |= {one["name"]: one["value"] for one in CONTAINER["env"] if "value" in one}
    variables |= {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "BENTOML_CONTAINERIZED": "true"}
    given = [{"0.0.0.0": "127.0.0.1", "3000": str(port)}.get(argument, argument) for argument in CONTAINER["args"]]
    script = str(CHECKOUT / "tests" / "support" / "container.sh")
    box = ["unshare", "--mount", "--propagation", "private", "bash", script]
    command = [*box, str(tmp_path), str(image), str(user), *(f"{name}={value}" for name, value in variables.items())]
    writable = " ".join(mount["mountPath"] for mount in CONTAINER["volumeMounts"])
    own = {"PATH": os.environ["PATH"], "WRITABLE": writable, "PYTHONS": f"{sys.prefix} {sys.base_prefix}"}
    entry = "/home/bentoml/bento/env/docker/entrypoint.sh"
    log = tmp_path.with_name("container.log")
    with running([*command, "bash", entry, *given], port, own, tmp_path, log) as server, server.client() as client:
        wait_until_ready(client)
        process = Path("/proc", str(server.process.pid))
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        assert set(status["Uid"].split()) == {str(user)}
        assert (status["NoNewPrivs"], int(status["CapBnd"], 16)) == ("1", 0)
        assert re.search(r"^\S+ / tmpfs ro,", (process / "mounts").read_text(), re.MULTILINE)
        assert client.post("/predict", json={"images": [[0] * 784]}).status_code == 401
        client.headers["Authorization"] = "Bearer secret"
        assert client.post("/predict", json={"images": [[0] * 784]}).json()["model"] == built.model
        assert "fashion_images_total{" in client.get("/metrics").text
        server.process.terminate()
        assert server.process.wait(15) == 0
    assert "Traceback" not in log.read_text()
    assert "prediction log is disabled" not in log.read_text()
