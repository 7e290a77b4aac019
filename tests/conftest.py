"""Shared fixtures: synthetic archives, a validated dataset, a trained model, a BentoML store, servers."""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.nodeid import coerce_node_id

from ops.environment import DEFAULTS

os.environ["BENTOML_HOME"] = tempfile.mkdtemp(prefix="no-store-")  # a test that forgets `bentoml_home` finds no store
os.environ["PREFECT_API_URL"] = ""  # otherwise `prefect.toml` in the checkout may point to a running stack
os.environ.update({**DEFAULTS, **os.environ})  # before importing torch, which reads thread settings from it

from awkward import AWKWARD
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from prefects import Shared, end_shared, sharing
from servers import SERVICE_TOKEN, Server, serve, using_home
from stacks import Stack
from trainings import QUICK

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Dataset, ModelCard, Validated
from components.dataset.archives import write_sample
from components.dataset.ingest import ingest
from components.dataset.manifest import Examples, read_split
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.model.mlp import MLP
from components.registry import champion, store
from components.scoring.input_check import InputChecker
from components.settings import Settings
from components.training.train import Trained, train

if TYPE_CHECKING:
    from playwright.sync_api import Browser

atexit.register(shutil.rmtree, os.environ["BENTOML_HOME"], ignore_errors=True)

# The slowest groups of `make test` and `make stress`, in order of duration.
LONGEST = ("stack", "test_wheel", "test_readme", "prefect", "server", "test_service", "test_bento")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In an xdist worker, group tests by file, because they share fixtures, and run the longest groups first, so that
    the other workers do not wait for them at the end; then the files with slow tests."""
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        group = _group_of(item)
        return LONGEST.index(group) if group in LONGEST else len(LONGEST), item.path not in slow

    items.sort(key=rank)
    for item in items:
        # As in xdist 3.8, whose own code has no effect since pytest 9.2, where an ID is not a string.
        item._id = coerce_node_id(f"{item.nodeid}@{_group_of(item)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """In an xdist worker, stop the Prefect server after the last test of its group, because it uses CPU when idle."""
    yield
    groups = [_group_of(one) for one in (item, nextitem) if one]
    if hasattr(item.config, "workerinput") and groups[0] == "prefect" != groups[-1]:
        end_shared()


def _group_of(item: pytest.Item) -> str:
    mark = item.get_closest_marker("xdist_group")
    return str(mark.args[0]) if mark else item.path.stem


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four IDX archives of a small synthetic sample."""
    return write_sample(tmp_path_factory.mktemp("archives"), train_rows=600, test_rows=200)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a temporary data folder, which is also set in the environment."""
    for name in [name for name in os.environ if name.startswith("FASHION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FASHION_DATA_DIR", str(tmp_path / "data"))
    return Settings()


@pytest.fixture
def awkward_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a temporary data folder and another catalogue in use."""
    monkeypatch.setenv("FASHION_CATALOGUE", AWKWARD.name)
    return Settings()


@pytest.fixture(scope="session")
def shared_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shared data folder; tests must not write to it."""
    return Settings(data_dir=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def dataset(archives: Path, shared_settings: Settings) -> Dataset:
    return ingest(str(archives), settings=shared_settings).dataset


@pytest.fixture(scope="session")
def validated(dataset: Dataset, shared_settings: Settings) -> Validated:
    return validate(dataset, settings=shared_settings)


@pytest.fixture(scope="session")
def test_split(dataset: Dataset) -> Examples:
    return read_split(dataset, "test")


@pytest.fixture(scope="session")
def trained(validated: Validated) -> Trained:
    return train(validated, QUICK)


@pytest.fixture(scope="session")
def card(trained: Trained, validated: Validated) -> ModelCard:
    return write_card("quick", validated, trained)


@pytest.fixture
def network(trained: Trained) -> MLP:
    """A copy of the trained network that the test may change."""
    copy = MLP(trained.network.config, CONTRACT)
    copy.from_tensors(trained.network.to_tensors())
    return copy.eval()


@pytest.fixture
def bentoml_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty BENTOML_HOME for this process and its children."""
    home = tmp_path / "bentoml"
    (home / "models").mkdir(parents=True)
    monkeypatch.setenv("BENTOML_HOME", str(home))
    BentoMLContainer.bentoml_home.set(str(home))
    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    yield home
    BentoMLContainer.bentoml_home.reset()
    BentoMLContainer.model_store.reset()


@pytest.fixture(scope="module")  # no other event loop can run while it is open
def browser() -> Iterator["Browser"]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=executable, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def checker() -> Iterator[InputChecker]:
    """A shared checker process for the input sanity check, because Great Expectations takes seconds to start."""
    with contextlib.closing(InputChecker()) as checker:
        yield checker


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A Prefect server that all tests share; they use different names."""
    with sharing(tmp_path_factory.mktemp("prefect_server")) as shared:
        yield shared


@pytest.fixture(scope="session")
def prepared_stack(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack.prepare(tmp_path_factory.mktemp("stack"), archives)
    yield stack
    stack.fashion("down")


@pytest.fixture(scope="module")
def stack(prepared_stack: Stack) -> Stack:
    """The whole system as started by `fashion up`, shared by all tests and restarted if a test stopped it."""
    if not prepared_stack.processes():
        done = prepared_stack.fashion("up")
        assert done.returncode == 0, done.stderr
    return prepared_stack


@pytest.fixture(scope="session")
def served(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with a live model."""
    with using_home(tmp_path_factory.mktemp("served") / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        return home


@pytest.fixture(scope="session")
def server(served: Path) -> Iterator[Server]:
    """A shared service with that model. Its log must contain no traceback at the end."""
    with serve(served) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="session")
def guarded(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A shared service that requires a token. It has a separate home, because servers with one home share metrics."""
    home = tmp_path_factory.mktemp("guarded") / "bentoml"
    shutil.copytree(served, home)
    with serve(home, environment={"FASHION_TOKEN": SERVICE_TOKEN}) as server:
        yield server
    assert "Traceback" not in server.log.read_text()
