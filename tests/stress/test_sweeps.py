"""Sweeps in separate processes."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from prefects import Shared
from trainings import weights_hash

from components.contract import Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_manifest
from components.settings import CHECKOUT, Settings
from components.training.sweeps.candidates import list_candidates
from components.training.sweeps.kept import kept_path, read_trained
from components.training.sweeps.work import train_candidate
from components.training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


SMALL = {"hidden": [16], "epochs": 2}


@pytest.mark.slow
def test_a_training_in_its_process_reads_no_test_image_and_is_not_repeated(archives: Path, tmp_path: Path) -> None:
    """The files of the test split are deleted before it starts."""
    dataset = ingest(str(archives), settings=Settings(data_dir=tmp_path / "data")).dataset
    for part in read_manifest(dataset).parts:
        if part.split == "test":
            (dataset.path.parent / part.file).unlink()
    validated = Validated(dataset, 0, Path(), "")
    (small,) = list_candidates(["dense-128"], [3], SMALL, dataset)
    outcome = train_candidate(small, validated, tmp_path)
    assert not outcome.error
    expected = train(validated, small.config)
    assert weights_hash(read_trained(kept_path(tmp_path, small), small).network) == weights_hash(expected.network)
    before = kept_path(tmp_path, small).stat()
    assert train_candidate(small, validated, tmp_path, resume=True) == outcome
    assert kept_path(tmp_path, small).stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.glob("*.safetensors")] == [f"{small.key}.safetensors"]
    (huge,) = list_candidates(["dense-128"], [3], {**SMALL, "batch_size": 100_000}, dataset)
    failed = train_candidate(huge, validated, tmp_path)
    assert failed.validation_accuracy is None
    assert "are too few for validation_share" in failed.error


@pytest.mark.slow
def test_a_sweep_from_the_command_line(archives: Path, tmp_path: Path, prefect_server: Shared) -> None:
    environment = {
        **prefect_server.environment,
        "FASHION_DATA_DIR": str(tmp_path / "data"),
        "FASHION_SOURCE": str(archives),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    table = tmp_path / "table.csv"
    command = [sys.executable, "-m", "fashion", "sweep", "--presets", "dense-128", "--seeds", "0,1", "--epochs", "1"]
    command += ["--set", "hidden=[16]", "--save", "--json", "--output", str(table)]
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(row["seed"] for row in found["outcomes"]) == [0, 1]
    accuracies = [row["validation_accuracy"] for row in found["outcomes"]]
    assert accuracies == sorted(accuracies, reverse=True)
    card = json.loads((tmp_path / "bentoml" / "models" / found["saved"].replace(":", "/") / "model.json").read_bytes())
    assert card["training"]["seed"] == found["outcomes"][0]["seed"]
    assert card["test"]["accuracy"] == found["test_accuracy"]
    with table.open(newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == [row["key"] for row in found["outcomes"]]
