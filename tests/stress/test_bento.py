"""A Bento image that follows another store, and a build that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bentos import Built, built_in, copy_checkout, fill_image, folder_of
from servers import serve, using_home, wait_until_ready

from components.contract import ModelCard
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.bento import build_bento
from components.training.train import Trained

pytestmark = pytest.mark.slow


BUILD = "from pathlib import Path; from components.registry.bento import build_bento; build_bento(source=Path({!r}))"


@pytest.fixture(scope="module")
def built(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with built_in(tmp_path_factory.mktemp("bento"), trained.network, card) as bento:
        yield bento


@pytest.fixture(scope="module")
def checkout(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in another folder."""
    return copy_checkout(tmp_path_factory.mktemp("another") / "copy")


def test_its_image_can_follow_the_live_model_of_a_shared_home(
    built: Built, network: MLP, card: ModelCard, tmp_path: Path
) -> None:
    """The home has another live model. BentoML alone would look for models only in the image."""
    image = fill_image(built.tag, tmp_path / "image")
    with using_home(tmp_path / "bentoml") as home:
        tag = store.save_model(network, card)
        champion.make_live(tag, "newer")
        with serve(home, str(image), tmp_path, {"FASHION_FOLLOW": "true"}) as server, server.client() as client:
            wait_until_ready(client)
            assert client.get("/model").json()["model"] == tag


def test_a_killed_build_leaves_no_bento(network: MLP, card: ModelCard, checkout: Path, tmp_path: Path) -> None:
    """Kill the build and its children while BentoML assembles the Bento. The next build succeeds."""
    with using_home(tmp_path / "bentoml") as home:
        champion.make_live(store.save_model(network, card), "a test")
        builder = subprocess.Popen([sys.executable, "-c", BUILD.format(str(checkout))], start_new_session=True)
        begun = "fashion/staging/*/home/bentos/fashion/*"
        deadline = time.monotonic() + 60
        while not list(home.glob(begun)) and time.monotonic() < deadline:
            time.sleep(0.002)
        os.killpg(builder.pid, signal.SIGKILL)
        builder.wait()
        assert list(home.glob(begun))
        assert not (home / "bentos").exists() or list((home / "bentos").rglob("bento.yaml")) == []
        done = build_bento(source=checkout)
        assert (done.is_new, done.verdict) == (True, "none")
        assert not (folder_of(home, done.tag) / "src" / "verdict.json").exists()
