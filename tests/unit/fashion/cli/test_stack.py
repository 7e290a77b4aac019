"""`fashion status` says what the service reports about its model. The endpoint is real; the stack is not up."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from servers import free_port
from starlette.applications import Starlette

from components.contract import ModelCard
from components.registry import champion, store
from components.settings import Settings
from components.training.train import Trained
from fashion.cli import stack
from ops.layout import StackLayout, read_layout
from ops.start import Piece, find_model_problem
from serving import endpoints
from serving.gateway import Gateway
from serving.live import LiveModel


@pytest.fixture
def live(bentoml_home: Path, monkeypatch: pytest.MonkeyPatch) -> LiveModel:
    live = LiveModel()
    live.refresh()
    monkeypatch.setattr(endpoints, "served", live)
    return live


@pytest.fixture
def layout(live: LiveModel, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[StackLayout]:
    """Of a stack whose service answers /model, and asks for a token."""
    monkeypatch.setenv("FASHION_TOKEN", "s3cret")
    layout = replace(read_layout(), port=free_port(), prefect_port=9)
    door = Gateway(Starlette(), {"/model": ("GET", endpoints.describe)})
    server = uvicorn.Server(uvicorn.Config(door, port=layout.port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield layout
    server.should_exit = True
    thread.join()


def test_a_model_that_is_damaged_while_it_serves_is_one_line_of_the_status(
    layout: StackLayout, live: LiveModel, trained: Trained, card: ModelCard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_model_problem(layout).startswith("no model is live; ")
    tag = store.save_model(trained.network, card)
    champion.make_live(tag, "a test")
    live.refresh()
    assert find_model_problem(layout) == ""
    (store.stored_folder(tag) / "weights.safetensors").write_bytes(b"other")
    live.refresh()
    stack._show(layout, [Piece("service", "RUNNING", True, 1)], as_json=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model: ")]
    assert line.startswith(f"model: {tag}: weights.safetensors has the SHA-256 ")
    assert line.endswith("Restore its files or promote another model")


def test_a_service_that_does_not_say_is_no_service_without_a_problem(
    layout: StackLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASHION_TOKEN")
    assert "Set FASHION_TOKEN in this shell" in find_model_problem(layout)
    assert "sent no valid response" in find_model_problem(replace(layout, port=free_port()))
