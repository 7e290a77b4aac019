"""Sweeps: the validation rows choose, a failure is a row, and what is done is not done again."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prefects import Shared
from trainings import one_thread, weights_hash

from components.contract import Dataset, Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_manifest
from components.errors import SettingsError, TrainingError
from components.settings import CHECKOUT, Settings
from components.training.sweeps.candidates import Candidate, Outcome, list_candidates, sort_outcomes, tell_failure
from components.training.sweeps.kept import keep_trained, kept_path, read_trained, tell_trained
from components.training.sweeps.work import train_candidate
from components.training.train import Trained, train

__all__ = ["one_thread"]
SMALL = {"hidden": [16], "epochs": 2}


def test_every_preset_is_trained_with_every_seed(dataset: Dataset) -> None:
    listed = list_candidates(["dense-128", "quick"], [0, 7], SMALL, dataset)
    assert [(one.preset, one.config.seed) for one in listed] == [
        ("dense-128", 0),
        ("dense-128", 7),
        ("quick", 0),
        ("quick", 7),
    ]
    assert {one.config.epochs for one in listed} == {2}
    assert len({one.key for one in listed}) == 4
    other = replace(dataset, version="another")
    assert list_candidates(["quick"], [7], SMALL, other)[0].key != listed[3].key


@pytest.mark.parametrize(
    ("presets", "seeds", "overrides", "told"),
    [
        ([], [0], {}, "presets: none; expected one or more, each once"),
        (["quick"], [0, 0], {}, "seeds: 0, 0; expected one or more, each once"),
        (["quick"], [0], {"seed": 3}, "seed: a sweep takes it from --seeds"),
        (["quack"], [0], {}, "preset: no 'quack'"),
        (["quick"], [0], {"momentum": 1}, "momentum: no such field"),
    ],
)
def test_what_cannot_be_swept_is_said(
    dataset: Dataset, presets: list[str], seeds: list[int], overrides: dict[str, object], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        list_candidates(presets, seeds, overrides, dataset)


def test_the_best_is_the_most_accurate_on_the_validation_rows_and_failures_are_last(dataset: Dataset) -> None:
    (candidate,) = list_candidates(["quick"], [0], SMALL, dataset)
    rows = [
        tell_failure(candidate, "no memory"),
        Outcome("a", 0, 0.90, 0.30, 2, 1.0, 10, "a"),
        Outcome("b", 0, 0.91, 0.40, 2, 1.0, 10, "b"),
        Outcome("c", 0, 0.91, 0.35, 2, 1.0, 10, "c"),
    ]
    assert [outcome.key for outcome in sort_outcomes(rows)] == ["c", "b", "a", candidate.key]


@pytest.fixture
def candidate(trained: Trained, dataset: Dataset) -> Candidate:
    return Candidate("quick", trained.config, dataset)


def test_a_kept_training_is_the_training(candidate: Candidate, trained: Trained, tmp_path: Path) -> None:
    path = kept_path(tmp_path, candidate)
    keep_trained(path, trained)
    read = read_trained(path, candidate)
    assert weights_hash(read.network) == weights_hash(trained.network)
    assert (read.history, read.best_epoch, read.config) == (trained.history, trained.best_epoch, trained.config)
    assert read.validation_logits.equal(trained.validation_logits)
    assert np.array_equal(read.validation_labels, trained.validation_labels)
    row = tell_trained(candidate, read)
    assert row.validation_accuracy == trained.history[-1].validation_accuracy
    assert (row.epochs, row.parameters) == (2, 784 * 16 + 16 + 160 + 10)


def test_a_damaged_one_is_refused(candidate: Candidate, trained: Trained, tmp_path: Path) -> None:
    path = kept_path(tmp_path, candidate)
    keep_trained(path, trained)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TrainingError, match=r"cannot be read.*; sweep without --resume"):
        train_candidate(candidate, Validated(candidate.dataset, 0, Path(), ""), tmp_path, resume=True)


@pytest.mark.slow
def test_a_training_in_its_process_reads_no_test_image_and_is_not_done_again(archives: Path, tmp_path: Path) -> None:
    """The test split's files are gone before it begins."""
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


def test_seeds_that_are_no_numbers_are_refused_before_anything_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fashion", "sweep", "--seeds", "0,one"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "error: --seeds 0,one: expected whole numbers with commas between\n")
