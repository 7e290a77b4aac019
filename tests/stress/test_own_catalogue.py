"""A custom catalogue as a user starts it: a folder of photos, one command, and a service that classifies them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from photos import draw_photo, encode_photo, write_photos
from servers import serve

from components.settings import CHECKOUT

pytestmark = pytest.mark.slow

COUNTS = {"hat": 60, "10": 40, "Kids 2-6": 30}


def test_a_folder_of_photos_becomes_a_service(tmp_path: Path) -> None:
    photos, home = write_photos(tmp_path / "photos", COUNTS), tmp_path / "home" / "bentoml"
    (photos / "hat" / "notes.txt").write_text("not a picture")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "PREFECT_"))}
    environment = {
        **kept,
        "BENTOML_HOME": str(home),
        "PREFECT_HOME": str(tmp_path / "home" / "prefect"),
        "FASHION_DATA_DIR": str(tmp_path / "home" / "data"),
        "FASHION_CATALOGUE": "shop",
        "FASHION_IMAGE": "16x16x3",
    }

    def fashion(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("fashion")), *arguments]
        done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    trained = fashion(
        "train", "--preset", "quick", "--source", str(photos), "--epochs", "60", "--batch-size", "16", "--json"
    )
    result = json.loads(trained.splitlines()[-1])
    assert (result["promoted"], result["tag"].split(":")[0]) == (True, "shop-mlp")
    assert result["test_accuracy"] > 0.8
    assert result["test_macro_f1"] is None, "no class has more than twice the test images of another"
    listed = json.loads(fashion("models", "--json"))
    assert [model["tag"] for model in listed] == [result["tag"]]
    with serve(home, environment={"FASHION_CATALOGUE": "shop"}) as server, server.client() as client:
        assert client.get("/model").json()["classes"] == ["10", "Kids 2-6", "hat"]
        files = [("file", (f"{label}.png", encode_photo(draw_photo(label, 9_000)))) for label in range(len(COUNTS))]
        answers = client.post("/classify", files=files).json()
    assert answers["model"] == result["tag"]
    assert [one["name"] for one in answers["predictions"]] == list(COUNTS)
    (rejected,) = (tmp_path / "home" / "data" / "catalogues" / "shop" / "datasets" / "rejected").iterdir()
    assert json.loads(rejected.read_text())["name"] == "hat/notes.txt"
    assert not (home / "fashion" / "live.json").exists(), "Fashion-MNIST's pointer is another"
