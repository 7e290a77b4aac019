"""A service to test over HTTP, request bodies for it, and assertions on its error responses."""

import dataclasses
import http.client
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from readings import PIXEL_COLUMNS
from servers import Server, serve, using_home

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Calibration, Images, ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.registry import champion, store
from components.scoring.predict import predict
from components.training.train import Trained

JSON = {"Content-Type": "application/json"}


CSV = {"Content-Type": "text/csv"}


PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


BYTES = {"Content-Type": "application/octet-stream"}


PNG = {"Content-Type": "image/png"}


@dataclass(frozen=True)
class Live:
    """A server, its store, and its live model loaded in this process."""

    server: Server
    home: Path
    model: Classifier


@pytest.fixture(scope="module")
def half_sure(trained: Trained, card: ModelCard, pictures: Images) -> ModelCard:
    """The model's card with a temperature, and thresholds at which it abstains on half of the pictures."""
    warm = dataclasses.replace(card, calibration=Calibration(temperature=1.5))
    median = float(np.median(predict(Classifier("", warm, trained.network.to_numpy()), pictures).confidences))
    return dataclasses.replace(card, calibration=Calibration(temperature=1.5, thresholds=(median,) * len(CLASSES)))


@pytest.fixture(scope="module")
def live(trained: Trained, half_sure: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with using_home(tmp_path_factory.mktemp("service") / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, half_sure), "a test")
        model = champion.load_model()
    with serve(home) as server:
        yield Live(server, home, model)


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[httpx.Client]:
    with live.server.client() as client:
        yield client


@pytest.fixture(scope="module")
def pictures(test_split: Examples) -> Images:
    return test_split.images[:20]


def dumps(images: Any) -> bytes:
    return json.dumps({"images": images}).encode()


def encode(image: Images, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def assert_refused(answer: httpx.Response, status: int, field: str, reason: str) -> None:
    """Check that a response is an error with this status, field and reason."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (key, error), *others = answer.json().items()
    assert (key, others) == ("error", [])
    assert error.keys() == {"status", "field", "reason"}
    assert (error["status"], error["field"]) == (status, field)
    assert reason in error["reason"]


def announce(server: Server, path: str, kind: str, length: int) -> http.client.HTTPConnection:
    """Send the head of a request with `Expect: 100-continue`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", path)
    for name, value in {"Content-Type": kind, "Content-Length": str(length), "Expect": "100-continue"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def begin(server: Server, path: str, headers: dict[str, str], length: int, sent: bytes) -> http.client.HTTPConnection:
    """Start a request and send only the first bytes of its body."""
    connection = announce(server, path, headers["Content-Type"], length)
    assert connection.sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(sent)
    return connection


@pytest.fixture(scope="module")
def table(test_split: Examples) -> bytes:
    """A CSV with five valid rows, one of them with a formula as its ID, and two invalid rows."""
    rows = [
        f"{number or '=1+1'},{label},{','.join(map(str, image.ravel()))}"
        for number, (image, label) in enumerate(zip(test_split.images[:5], test_split.labels, strict=False))
    ]
    bad = ["short,1,2,3", f"bright,1{',256' * 784}"]
    return "\n".join([",".join(("id", "label", *PIXEL_COLUMNS)), *rows[:2], *bad, *rows[2:], ""]).encode()


NOISE = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
