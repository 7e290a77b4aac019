"""Build a Bento: reproducible, atomic, with the verdict inside."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from bentos import Built, built_in, copy_checkout, folder_of, judge
from networks import contract_with, kept_network
from servers import using_home

from components.contract import ModelCard
from components.errors import ModelError
from components.model.mlp import MLP, ModelConfig
from components.registry import store
from components.registry.bento import build_bento
from components.settings import checkout_commit
from components.training.train import Trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with built_in(tmp_path_factory.mktemp("bento"), trained.network, card) as bento:
        yield bento


@pytest.fixture(scope="module")
def checkout(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in another folder."""
    return copy_checkout(tmp_path_factory.mktemp("another") / "copy")


def contents(folder: Path) -> dict[str, bytes]:
    """Return path -> content of every file, without BentoML's line with the creation time."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = files["bento.yaml"].splitlines(keepends=True)
    files["bento.yaml"] = b"".join(line for line in lines if not line.startswith(b"creation_time:"))
    assert len(lines) == len(files["bento.yaml"].splitlines()) + 1
    return files


def test_building_the_same_content_again_reuses_the_bento(built: Built, checkout: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.folder.rglob("*")}
    again = build_bento(source=checkout)
    assert (again.tag, again.model, again.is_new) == (built.tag, built.model, False)
    assert {path: path.stat().st_mtime_ns for path in built.folder.rglob("*")} == before


def test_another_checkout_and_home_give_the_same_bytes(built: Built, checkout: Path, tmp_path: Path) -> None:
    """Also for two concurrent builds."""
    store.copy_stored(built.model, tmp_path / "bentoml")
    with using_home(tmp_path / "bentoml") as home, ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: build_bento(built.model, source=checkout), range(2)))
    assert {one.tag for one in found} == {built.tag}
    assert contents(folder_of(home, built.tag)) == contents(built.folder)
    assert (home / "bentos" / "fashion" / "latest").read_text() == built.tag.partition(":")[2]
    assert list((home / "fashion" / "staging").iterdir()) == []


def test_a_changed_file_or_verdict_changes_the_version(
    built: Built, network: MLP, card: ModelCard, checkout: Path, tmp_path: Path
) -> None:
    refused = store.save_model(network, card)
    judge(refused, passed=False)
    source = copy_checkout(tmp_path / "checkout")
    page = source / "ui" / "page.css"
    page.write_text(page.read_text() + "\n")
    one = build_bento(refused, source=checkout)
    other = build_bento(refused, source=source)
    assert len({built.tag, one.tag, other.tag}) == 3
    labels = Built(built.home, other.tag, refused).described["labels"]
    assert (labels["verdict"], other.verdict) == ("rejected", "rejected")
    assert labels["commit"] == checkout_commit(source).replace("+", "-")
    assert labels["commit"].endswith("-changes")


def test_an_incomplete_bento_is_refused(built: Built, checkout: Path, tmp_path: Path) -> None:
    store.copy_stored(built.model, tmp_path / "bentoml")
    with using_home(tmp_path / "bentoml") as home:
        folder_of(home, built.tag).mkdir(parents=True)
        with pytest.raises(ModelError, match=rf"has no bento.yaml. Remove it with 'bentoml delete {built.tag}'"):
            build_bento(built.model, source=checkout)


def test_an_import_error_fails_the_build(built: Built, tmp_path: Path) -> None:
    source = copy_checkout(tmp_path / "checkout")
    (source / "service.py").write_text("import no_such_module\n")
    with pytest.raises(ModelError, match=r"(?s)bentoml build failed.*no_such_module"):
        build_bento(source=source)
    assert list((built.home / "fashion" / "staging").iterdir()) == []


def test_a_model_with_a_network_brings_it_and_what_runs_it(card: ModelCard, tmp_path: Path) -> None:
    contract = contract_with(kept_network(tmp_path).embedding, card.classes)
    network = MLP(ModelConfig(hidden=(16,)), contract)
    with using_home(tmp_path / "bentoml") as home:
        tag = store.save_model(network, replace(card, contract=contract, known=None))
        folder = folder_of(home, build_bento(tag, source=copy_checkout(tmp_path / "checkout")).tag)
    packages = (folder / "env" / "python" / "requirements.txt").read_text()
    assert "onnxruntime==" in packages
    assert "onnx==" not in packages
    assert (folder / "src" / "components" / "networks" / "embedder.py").is_file()
    stored = store.FILES & {path.name for path in (home / "models").rglob("*")}
    assert "network.onnx" in stored
