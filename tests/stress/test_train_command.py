"""`fashion train`, stopped with Ctrl-C and resumed."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from safetensors.torch import save
from terminals import Terminal

from components.contract import Dataset, Validated
from components.dataset.manifest import describe, read_manifest
from components.settings import CHECKOUT
from components.training.presets import configure
from components.training.train import train

LONG = {"epochs": 300, "hidden": [16], "dropout": 0.1}  # a few seconds on the small sample
RECIPE = ("--preset", "dense-128", "--epochs", "300", "--set", "hidden=[16]", "--set", "dropout=0.1")
COMMAND = ("train", *RECIPE, "--no-promote")
FASHION = str(Path(sys.executable).with_name("fashion"))


@pytest.mark.slow
def test_ctrl_c_prints_how_to_resume_and_resuming_yields_the_same_weights(archives: Path, tmp_path: Path) -> None:
    """With the temporary Prefect server, in a terminal."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "PREFECT_"))}
    environment = {
        **kept,
        "FASHION_DATA_DIR": str(tmp_path / "data"),
        "FASHION_SOURCE": str(archives),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "TMPDIR": str(temporary),
    }
    checkpoints = tmp_path / "data" / "checkpoints"
    terminal = Terminal([FASHION, *COMMAND], environment, CHECKOUT)
    terminal.wait_until(lambda: bool(re.search(r"\b[2-9]\d/300", terminal.text)))
    started = psutil.Process(terminal.process.pid).children(recursive=True)
    terminal.press()
    status, took = terminal.end()
    assert (status, took < 5) == (130, True), f"{took} s, where 2 are promised on a machine that is not busy"
    message = terminal.text.splitlines()[-1]
    found = re.fullmatch(r"stopped by SIGINT: epoch (\d+) of 300 is saved. To resume: (.*)", message)
    assert found, terminal.text
    assert not any(word in terminal.text for word in ("Traceback", "Crash", "ERROR")), terminal.text
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not list(temporary.iterdir())
    del environment["FASHION_SOURCE"]
    command = [*shlex.split(found[2]), "--json"]
    again = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    resumed = re.search(r"resuming after epoch (\d+)", again.stderr)
    assert resumed
    assert int(resumed[1]) - int(found[1]) in {0, 1}  # the stop may come just after an epoch was saved
    assert "epoch 19 of" not in again.stderr
    tag = json.loads(again.stdout)["tag"]
    stored = tmp_path / "bentoml" / "models" / tag.replace(":", "/") / "weights.safetensors"
    assert stored.read_bytes() == weights_of_an_uninterrupted_training(tmp_path / "data" / "datasets")
    assert not list(checkpoints.iterdir())


def weights_of_an_uninterrupted_training(datasets: Path) -> bytes:
    (manifest,) = datasets.glob("*.json")
    dataset: Dataset = describe(manifest, read_manifest(manifest))
    trained = train(Validated(dataset, 0, Path(), ""), configure("dense-128", LONG))
    return save({name: tensor.contiguous() for name, tensor in trained.network.to_tensors().items()})
