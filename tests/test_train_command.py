"""`fashion train` stopped with Ctrl-C and gone on with."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefects import Shared
from safetensors.torch import save

from components.contract import Dataset, Validated
from components.manifest import describe, read_manifest
from components.recipes.presets import configure
from components.settings import CHECKOUT
from components.training.train import train

LONG = {"epochs": 300, "hidden": [16], "dropout": 0.1}  # some seconds on the small sample
RECIPE = ("--preset", "dense-128", "--epochs", "300", "--set", "hidden=[16]", "--set", "dropout=0.1")
COMMAND = ("train", *RECIPE, "--no-promote")


@pytest.mark.slow
def test_ctrl_c_leaves_a_state_that_resume_takes_to_the_same_weights(
    archives: Path, tmp_path: Path, prefect_server: Shared
) -> None:
    environment = {
        **prefect_server.environment,
        "FASHION_DATA_DIR": str(tmp_path / "data"),
        "FASHION_SOURCE": str(archives),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so do its own
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", *COMMAND], env=environment, cwd=CHECKOUT, stdout=output, stderr=output
        )
    try:
        wait_for("epoch 20 of 300", log, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
    assert "the same command with --resume goes on from there" in log.read_text()
    assert "epoch 300" not in log.read_text()
    again = subprocess.run(
        [sys.executable, "-m", "flows", *COMMAND, "--resume", "--json"],
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert again.returncode == 0, again.stderr
    assert "going on after epoch " in again.stderr
    assert "epoch 19 of" not in again.stderr, "an epoch is told of before its state is kept, and the next one after"
    tag = json.loads(again.stdout)["tag"]
    stored = tmp_path / "bentoml" / "models" / tag.replace(":", "/") / "weights.safetensors"
    assert stored.read_bytes() == weights_of_an_uninterrupted_training(tmp_path / "data" / "datasets")
    assert not list((tmp_path / "data" / "checkpoints").iterdir())


def weights_of_an_uninterrupted_training(datasets: Path) -> bytes:
    (manifest,) = datasets.glob("*.json")
    dataset: Dataset = describe(manifest, read_manifest(manifest))
    trained = train(Validated(dataset, 0, Path(), ""), configure("dense-128", LONG))
    return save(trained.network.state_dict())


def wait_for(told: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while told not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"{told!r} did not come"
        time.sleep(0.05)
