"""Sweeps: ranking by validation accuracy, failed trainings, and reuse of finished ones."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trainings import one_thread, weights_hash

from components.contract import Dataset, Validated
from components.errors import SettingsError, TrainingError
from components.settings import CHECKOUT
from components.training.sweeps.candidates import Candidate, Outcome, failed_outcome, list_candidates, sort_outcomes
from components.training.sweeps.kept import keep_trained, kept_path, read_trained, trained_outcome
from components.training.sweeps.work import train_candidate
from components.training.train import Trained

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
    ("presets", "seeds", "overrides", "message"),
    [
        ([], [0], {}, "presets: none; expected one or more, no duplicates"),
        (["quick"], [0, 0], {}, "seeds: 0, 0; expected one or more, no duplicates"),
        (["quick"], [0], {"seed": 3}, r"seed: cannot be set in a sweep\. Use --seeds"),
        (["quack"], [0], {}, "preset: no 'quack'"),
        (["quick"], [0], {"momentum": 1}, "momentum: no such training setting"),
    ],
)
def test_an_invalid_sweep_is_refused(
    dataset: Dataset, presets: list[str], seeds: list[int], overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        list_candidates(presets, seeds, overrides, dataset)


def test_outcomes_are_sorted_by_validation_accuracy_and_loss_with_failures_last(dataset: Dataset) -> None:
    (candidate,) = list_candidates(["quick"], [0], SMALL, dataset)
    rows = [
        failed_outcome(candidate, "no memory"),
        Outcome("a", 0, 0.90, 0.30, 2, 1.0, 10, "a"),
        Outcome("b", 0, 0.91, 0.40, 2, 1.0, 10, "b"),
        Outcome("c", 0, 0.91, 0.35, 2, 1.0, 10, "c"),
    ]
    assert [outcome.key for outcome in sort_outcomes(rows)] == ["c", "b", "a", candidate.key]


@pytest.fixture
def candidate(trained: Trained, dataset: Dataset) -> Candidate:
    return Candidate("quick", trained.config, dataset)


def test_a_finished_training_round_trips(candidate: Candidate, trained: Trained, tmp_path: Path) -> None:
    path = kept_path(tmp_path, candidate)
    keep_trained(path, trained)
    read = read_trained(path, candidate)
    assert weights_hash(read.network) == weights_hash(trained.network)
    assert (read.history, read.best_epoch, read.config) == (trained.history, trained.best_epoch, trained.config)
    assert read.validation_logits.equal(trained.validation_logits)
    assert np.array_equal(read.validation_labels, trained.validation_labels)
    assert read.validation_distances is not None
    assert trained.validation_distances is not None
    assert np.array_equal(read.validation_distances, trained.validation_distances)
    kept, expected = read.network.to_tensors(), trained.network.to_tensors()
    assert kept.keys() == expected.keys(), "including those that tell unknown inputs"
    assert all(kept[name].equal(expected[name]) for name in kept)
    row = trained_outcome(candidate, read)
    assert row.validation_accuracy == trained.history[-1].validation_accuracy
    assert (row.epochs, row.parameters) == (2, 784 * 16 + 16 + 160 + 10)


def test_a_damaged_training_is_refused(candidate: Candidate, trained: Trained, tmp_path: Path) -> None:
    path = kept_path(tmp_path, candidate)
    keep_trained(path, trained)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TrainingError, match=r"cannot be read.*; sweep without --resume"):
        train_candidate(candidate, Validated(candidate.dataset, 0, Path(), ""), tmp_path, resume=True)


def test_seeds_that_are_not_numbers_are_refused_before_training() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fashion", "sweep", "--seeds", "0,one"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "error: --seeds 0,one: expected whole numbers separated by commas\n")
