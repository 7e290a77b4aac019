"""A service that follows the live model, and models with different probabilities."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, serve, using_home

from components.contract import Calibration, ModelCard
from components.registry import store
from components.training.train import Trained


def save(trained: Trained, card: ModelCard, temperature: float) -> str:
    """Store a model whose probabilities are unique to its temperature."""
    calibration = Calibration(temperature=temperature, thresholds=card.calibration.thresholds)
    return store.save_model(trained.network, dataclasses.replace(card, calibration=calibration))


def weights_of(home: Path, tag: str) -> Path:
    return home / "models" / tag.replace(":", "/") / "weights.safetensors"


def remove(home: Path, tag: str) -> None:
    weights_of(home, tag).parent.rename(home / "gone")


def restore(home: Path, tag: str) -> None:
    (home / "gone").rename(weights_of(home, tag).parent)


def wait_for(server: Server, tag: str, within: float = 10) -> float:
    """Seconds until the service serves this model."""
    began = time.monotonic()
    with server.client() as client:
        while client.get("/model").json().get("model") != tag:
            assert time.monotonic() < began + within, client.get("/model").text
            time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def following(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with using_home(tmp_path_factory.mktemp("following") / "bentoml") as home, serve(home) as server:
        yield server
