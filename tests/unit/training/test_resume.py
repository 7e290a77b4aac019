"""Stop and resume: bit-identical to an uninterrupted training, or an error that says why not."""

import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trainings import QUICK, one_thread, weights_hash  # noqa: F401, one_thread: for every test here

from components.contract import Epoch, Validated
from components.errors import TrainingError
from components.model.mlp import ModelConfig
from components.training.config import TrainConfig
from components.training.resume import State, read_state, state_path, write_state
from components.training.train import Trained, train

AUGMENTED = {"dropout": 0.2, "shift": 1, "flip": True, "erase": 0.5, "average": 0.9}
TIED = {"hidden": [196, 24], "batch_norm": True, "tied": [3], "epochs": 3, "untied_epochs": 3, "batch_size": 128}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 3},
    "average, augmentation, dropout": {"epochs": 3, **AUGMENTED, "schedule": "one-cycle", "weight_decay": 0.1},
    "patience": {"epochs": 9, "batch_size": 64, "learning_rate": 0.3, "patience": 2},  # the best of its 7 is the 5th
    "patience and average": {"epochs": 9, "batch_size": 32, "learning_rate": 0.1, "patience": 3, "average": 0.5},
    "two phases": {**TIED, **AUGMENTED, "schedule": "inverse-time", "decay": 0.01, "labels": "one-hot"},
    "two phases that end early": {**TIED, "epochs": 9, "untied_epochs": 9, "learning_rate": 0.5, "patience": 1},
    "bfloat16": {"epochs": 3, "precision": "bfloat16"},
    "Muon": {**TIED, **AUGMENTED, "hidden": [196, 49, 24], "tied": [3, 3], "strides": [2, 2], "muon": 0.02},
}


def config_of(name: str) -> TrainConfig:
    return QUICK.with_overrides(CONFIGS[name])


def stopper(epoch: int) -> Callable[[Epoch], None]:
    """Simulate Ctrl-C when this epoch is reported, once its state is saved."""

    def stop(reported: Epoch) -> None:
        if reported.number == epoch:
            raise KeyboardInterrupt

    return stop


def train_until(validated: Validated, config: TrainConfig, folder: Path, epoch: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(validated, config, stopper(epoch), keep_in=folder)


def assert_same(found: Trained, expected: Trained) -> None:
    """Check that two results are bit-identical, except for the time they took."""
    assert weights_hash(found.network) == weights_hash(expected.network)
    assert torch.equal(found.validation_logits, expected.validation_logits)
    assert found.best_epoch == expected.best_epoch
    assert found.hardware == expected.hardware
    histories = ([dataclasses.replace(epoch, seconds=0) for epoch in one.history] for one in (found, expected))
    assert next(histories) == next(histories)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_training_stopped_at_any_epoch_resumes_to_identical_weights(
    validated: Validated, tmp_path: Path, name: str
) -> None:
    config = config_of(name)
    expected = train(validated, config)
    for epoch in range(1, len(expected.history) + 1):
        train_until(validated, config, tmp_path, epoch)
        assert len(list(tmp_path.iterdir())) == 1, "the state is one file"
        torch.manual_seed(99)  # other work in between changes the generator
        seen: list[int] = []
        found = train(validated, config, lambda done: seen.append(done.number), tmp_path, resume=True)  # noqa: B023
        assert_same(found, expected)
        assert seen == list(range(epoch + 1, len(expected.history) + 1)), "no epoch is run twice"
        assert list(tmp_path.iterdir()) == [], "the state is removed"


def test_the_configurations_end_as_their_names_say(validated: Validated) -> None:
    """So the test above covers these boundaries."""
    patient = train(validated, config_of("patience"))
    assert patient.best_epoch + 2 == len(patient.history) < 9
    averaged = train(validated, config_of("patience and average"))
    assert averaged.best_epoch + 3 == len(averaged.history) < 9
    early = train(validated, config_of("two phases that end early"))
    assert 2 < len(early.history) < early.config.total_epochs - 1


def test_a_training_can_be_stopped_repeatedly(validated: Validated, tmp_path: Path) -> None:
    config = config_of("two phases")
    expected = train(validated, config)
    train_until(validated, config, tmp_path, 2)
    for epoch in (3, 4, 5, 6):
        with pytest.raises(KeyboardInterrupt):
            train(validated, config, stopper(epoch), tmp_path, resume=True)
    assert_same(train(validated, config, keep_in=tmp_path, resume=True), expected)


@pytest.mark.parametrize("measured", [False, True])
def test_a_precision_is_measured_once(validated: Validated, tmp_path: Path, measured: bool) -> None:
    """A second measurement could differ, and the two halves would use different precisions."""
    config = dataclasses.replace(QUICK, precision="auto", label_smoothing=0.1)  # else float32 has another state
    train_until(validated, config, tmp_path, 2)
    (path,) = tmp_path.iterdir()
    state = read_state(path)
    write_state(path, State(state.tensors, {**state.facts, "bfloat16": measured}))
    trained = train(validated, config, keep_in=tmp_path, resume=True)
    assert trained.hardware["precision"] == ("bfloat16" if measured else "float32")


def test_a_stop_says_how_to_resume_if_a_state_is_saved(
    validated: Validated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(validated, QUICK, stopper(1))
    assert "--resume" not in caplog.text, "no state is saved"
    train_until(validated, QUICK, tmp_path, 1)
    assert "stopped; completed epochs are saved. To continue, run the same command with --resume" in caplog.text
    caplog.set_level(logging.INFO)
    train(validated, QUICK, keep_in=tmp_path, resume=True)
    assert "resuming after epoch 1" in caplog.text


def test_without_a_folder_no_state_is_saved(
    validated: Validated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(validated, QUICK, stopper(2))
    assert list(tmp_path.iterdir()) == []


def test_resuming_without_a_saved_state_starts_over(
    validated: Validated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert_same(train(validated, QUICK, keep_in=tmp_path / "new", resume=True), train(validated, QUICK))
    assert "no unfinished training with these settings on this dataset; starting from epoch 1" in caplog.text


def test_without_resume_a_training_starts_over_despite_a_saved_state(validated: Validated, tmp_path: Path) -> None:
    train_until(validated, QUICK, tmp_path, 2)
    seen: list[int] = []
    assert_same(train(validated, QUICK, lambda epoch: seen.append(epoch.number), tmp_path), train(validated, QUICK))
    assert seen == [1, 2]


def test_the_state_of_another_configuration_is_not_resumed(validated: Validated, tmp_path: Path) -> None:
    other = dataclasses.replace(QUICK, seed=1)
    train_until(validated, other, tmp_path, 2)
    assert_same(train(validated, QUICK, keep_in=tmp_path, resume=True), train(validated, QUICK))
    assert list(tmp_path.iterdir()) == [state_path(tmp_path, validated.dataset.version, other)], "the other one is kept"


OTHER_VALUES: dict[str, Any] = {
    "hidden": [17],
    "activation": "gelu",
    "batch_norm": True,
    "dropout": 0.1,
    "epochs": 3,
    "batch_size": 33,
    "patience": 1,
    "learning_rate": 0.1,
    "schedule": "one-cycle",
    "decay": 0.1,
    "weight_decay": 0.1,
    "average": 0.1,
    "labels": "one-hot",
    "label_smoothing": 0.1,
    "muon": 0.02,
    "shift": 1,
    "flip": True,
    "erase": 0.1,
    "rotate": 5.0,
    "scale": 0.1,
    "translate": 0.1,
    "brightness": 0.1,
    "colour": 0.1,
    "balance": 0.5,
    "start_from": "fashion-mlp:before",
    "stratify": True,
    "channels": [8],
    "strides": [1],
    "tied": [3],
    "untied_epochs": 1,
    "untied_learning_rate": 0.1,
    "validation_share": 0.2,
    "seed": 1,
    "precision": "bfloat16",
    "threads": 2,
    "device": "cpu",
}
PREREQUISITES: dict[str, dict[str, Any]] = {
    "decay": {"schedule": "inverse-time"},
    "tied": {"hidden": [196], "batch_norm": True},
    "channels": {"hidden": [196], "batch_norm": True, "tied": [3]},
    "strides": {"hidden": [784], "batch_norm": True, "tied": [3]},
    "untied_epochs": {"hidden": [196], "batch_norm": True, "tied": [3]},
}


def test_a_state_belongs_to_one_configuration_and_one_dataset(tmp_path: Path) -> None:
    names = {field.name for kind in (ModelConfig, TrainConfig) for field in dataclasses.fields(kind)} - {"model"}
    assert OTHER_VALUES.keys() == names
    for name, value in OTHER_VALUES.items():
        base = QUICK.with_overrides(PREREQUISITES.get(name, {}))
        changed = base.with_overrides({name: value})
        assert state_path(tmp_path, "a", changed) != state_path(tmp_path, "a", base), name
        assert state_path(tmp_path, "a", changed) == state_path(tmp_path, "a", base.with_overrides({name: value}))
    assert state_path(tmp_path, "a", QUICK) != state_path(tmp_path, "b", QUICK)


# --- the file ---


def small_state() -> State:
    tensors = {"network/a": torch.tensor([[1.5, -0.0], [math.pi, 1e-30]]), "rng": torch.arange(9, dtype=torch.uint8)}
    return State({**tensors, "count": torch.tensor(7)}, {"step": 3, "best": 0.1 + 0.2, "history": [{"number": 1}]})


def test_a_state_round_trips(tmp_path: Path) -> None:
    written = small_state()
    write_state(tmp_path / "folder" / "state", written)
    found = read_state(tmp_path / "folder" / "state")
    assert found.facts == written.facts
    assert found.tensors.keys() == written.tensors.keys()
    for name, tensor in written.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def test_damage_to_any_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, small_state())
    whole = path.read_bytes()
    flipped = [
        whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :] for place in range(len(whole))
    ]
    shortened = [whole[:end] for end in range(len(whole))]
    for damaged in (*flipped, *shortened, whole + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(
            TrainingError, match="changed since it was written; train without --resume, or remove the file"
        ):
            read_state(path)


def test_a_damaged_state_is_not_resumed(validated: Validated, tmp_path: Path) -> None:
    train_until(validated, QUICK, tmp_path, 2)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=str(path)):
        train(validated, QUICK, keep_in=tmp_path, resume=True)
    assert path.read_bytes() == content
    assert_same(train(validated, QUICK, keep_in=tmp_path), train(validated, QUICK))
    assert list(tmp_path.iterdir()) == []
