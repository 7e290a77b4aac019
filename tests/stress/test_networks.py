"""A catalogue with a frozen network as a user starts it: train, promote, serve, score and export give one answer."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from networks import SIDE, make_network, write_network
from photos import draw_photo, encode_photo, write_photos
from PIL import Image
from servers import serve

from components.networks.embedder import frame
from components.settings import CHECKOUT

pytestmark = pytest.mark.slow

COUNTS = {"hat": 60, "10": 40, "Kids 2-6": 30}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "PREFECT_"))}
    return {
        **kept,
        "BENTOML_HOME": str(tmp_path / "home" / "bentoml"),
        "PREFECT_HOME": str(tmp_path / "home" / "prefect"),
        "FASHION_DATA_DIR": str(tmp_path / "home" / "data"),
        "FASHION_CATALOGUE": "shop",
        "FASHION_NETWORK": str(write_network(tmp_path / "tiny.onnx")),
    }


@pytest.fixture
def fashion(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).with_name("fashion")), *arguments]
        return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True)

    return run


def test_a_photo_has_the_same_probabilities_everywhere(
    tmp_path: Path, environment: dict[str, str], fashion: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    photos, home = write_photos(tmp_path / "photos", COUNTS), Path(environment["BENTOML_HOME"])
    trained = fashion("train", "--source", str(photos), "--batch-size", "16", "--json")
    assert trained.returncode == 0, trained.stderr[-2000:]
    result = json.loads(trained.stdout.splitlines()[-1])
    assert (result["preset"], result["promoted"]) == ("vectors", True), "the canary serves it"
    assert result["test_accuracy"] > 0.8

    new = [draw_photo(label, 9_000 + number, 90) for number in range(3) for label in range(len(COUNTS))]
    folder = tmp_path / "new"
    folder.mkdir()
    for number, photo in enumerate(new):
        (folder / f"{number}.png").write_bytes(encode_photo(photo))

    with serve(home, environment={"FASHION_CATALOGUE": "shop"}) as server, server.client() as client:
        files = [("file", (f"{number}.png", encode_photo(photo))) for number, photo in enumerate(new)]
        answer = client.post("/classify", files=files)
        assert answer.status_code == 200, answer.text
    served = answer.json()["predictions"]
    assert answer.json()["model"] == result["tag"]
    assert [one["name"] for one in served] == [*COUNTS] * 3

    scored = fashion("score", str(folder), str(tmp_path / "scored.csv"))
    assert scored.returncode == 0, scored.stderr[-2000:]
    rows = {Path(row["id"]).stem: row for row in csv.DictReader(io.StringIO((tmp_path / "scored.csv").read_text()))}
    for number, one in enumerate(served):
        assert rows[str(number)]["name"] == one["name"]
        assert float(rows[str(number)]["confidence"]) == pytest.approx(max(one["probabilities"]), abs=1e-4)

    exported = fashion("export", "live", "--output", str(tmp_path / "model.onnx"))
    assert exported.returncode == 0, exported.stderr[-2000:]
    framed = np.stack([frame(Image.fromarray(photo), SIDE) for photo in new])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (probabilities,) = session.run(["probabilities"], {"images": framed})
    np.testing.assert_allclose(probabilities, [one["probabilities"] for one in served], atol=1e-4)

    (stored,) = home.glob("models/shop-mlp/*/network.onnx")
    stored.chmod(0o644)
    stored.write_bytes(make_network(1))
    refused = fashion("score", str(folder), str(tmp_path / "refused.csv"))
    assert refused.returncode != 0
    assert "network.onnx: has the SHA-256" in refused.stderr
    assert not (tmp_path / "refused.csv").exists()
