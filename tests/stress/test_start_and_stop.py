"""A service with a missing or damaged model, and one that gets SIGTERM during a request."""

import contextlib
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from asked import (  # noqa: F401, fixtures
    BYTES,
    CSV,
    JSON,
    NOISE,
    PARQUET,
    PNG,
    Live,
    announce,
    assert_refused,
    begin,
    client,
    dumps,
    encode,
    half_sure,
    live,
    pictures,
    table,
)
from servers import STOP, serve

from components.contract import Images

pytestmark = pytest.mark.slow


def remove(home: Path) -> None:
    shutil.rmtree(home / "fashion")
    shutil.rmtree(home / "models")


def corrupt(home: Path) -> None:
    (home / "fashion" / "live.json").write_bytes(b"{")
    (home / "fashion" / "history.jsonl").unlink()


def tamper(home: Path) -> None:
    (weights,) = home.glob("models/*/*/weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (remove, "no model is live; run 'fashion train' or 'fashion promote TAG'"),
        (
            corrupt,
            "line 1 column 2 (char 1)); 'fashion promote TAG --force",
        ),
        (tamper, "weights.safetensors has the SHA-256"),
    ],
)
def test_without_a_model_it_starts_and_reports_why_it_is_not_ready(
    live: Live, tmp_path: Path, table: bytes, pictures: Images, harm: Callable[[Path], None], reason: str
) -> None:
    home = tmp_path / "bentoml"
    shutil.copytree(live.home, home)
    harm(home)
    with serve(home) as server, server.client() as client:
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert reason in ready.text
        answers = [
            client.post("/predict", content=dumps(pictures.tolist()), headers=JSON),
            client.post("/classify", content=encode(NOISE), headers=PNG),
            client.post("/score", content=table, headers=CSV),
            client.get("/model"),
        ]
        for answer in answers:
            assert_refused(answer, 503, "model", reason)
            assert answer.headers["retry-after"] == "1"


def test_sigterm_lets_a_request_finish(live: Live, pictures: Images) -> None:
    body = dumps(pictures.tolist())
    with serve(live.home) as server:
        workers = psutil.Process(server.process.pid).children(recursive=True)
        with contextlib.closing(begin(server, "/predict", JSON, len(body), body[:-1])) as connection:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            assert server.process.poll() is None, "it left before the request was answered"
            connection.send(body[-1:])
            answer = connection.getresponse()
            assert answer.status == 200
            assert len(json.loads(answer.read())["predictions"]) == len(pictures)
        assert server.process.wait(STOP) == 0
        assert not any(worker.is_running() for worker in workers)
