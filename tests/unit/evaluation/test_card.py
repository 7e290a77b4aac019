"""Model cards and checkpoints."""

import dataclasses
from pathlib import Path

import orjson
import pytest
import torch
from trainings import QUICK, one_thread, weights_hash  # noqa: F401, one_thread: for every test here

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import SAMPLE, ModelCard, Validated
from components.dataset.manifest import read_manifest
from components.errors import ModelError
from components.evaluation.card import write_card
from components.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from components.model.mlp import MLP, ModelConfig
from components.training.train import Trained, train


def test_the_card_records_the_training(card: ModelCard, trained: Trained, validated: Validated) -> None:
    assert card.preset == "quick"
    assert card.training["seed"] == QUICK.seed
    assert card.model == dataclasses.asdict(trained.network.config)
    assert (card.best_epoch, card.history) == (trained.best_epoch, trained.history)
    assert card.hardware == trained.hardware
    assert card.train_seconds == trained.seconds
    assert card.packages["torch"] == torch.__version__.partition("+")[0]
    assert card.created_at.endswith("+00:00")


def test_the_card_records_the_data(card: ModelCard, validated: Validated) -> None:
    manifest = read_manifest(validated.dataset)
    assert (card.dataset_version, card.source, card.is_sample) == (validated.dataset.version, SAMPLE, True)
    assert (card.train.split, card.train.rows) == ("train", 600)
    assert (card.test.split, card.test.rows) == ("test", 200)
    assert card.train.split_version == manifest.split_version("train")
    assert card.test.split_version == manifest.split_version("test")
    assert [row.name for row in card.test.classes] == list(CLASSES)


def test_the_card_of_a_training_that_stopped_early_records_the_best_epoch(validated: Validated) -> None:
    """It describes the stored network, not the initial one."""
    config = dataclasses.replace(QUICK, epochs=20, batch_size=64, learning_rate=0.3, patience=2)
    trained = train(validated, config.with_overrides({"batch_norm": True}))
    card = write_card("dense-128", validated, trained)
    assert card.best_epoch == trained.best_epoch == len(card.history) - 2
    assert (card.model["batch_norm"], card.training["model"]["batch_norm"]) == (False, True)
    MLP(ModelConfig(**card.model), CONTRACT).load_state_dict(trained.network.state_dict())


def test_a_checkpoint_round_trips(tmp_path: Path, network: MLP, card: ModelCard) -> None:
    again, card_again = read_checkpoint(write_checkpoint(tmp_path, network, card))
    assert weights_hash(again) == weights_hash(network)
    assert not again.training
    assert orjson.dumps(card_again) == orjson.dumps(card)
    assert (card_again.calibration, card_again.history) == (card.calibration, card.history)


def test_a_checkpoint_round_trips_after_a_training_with_tied_layers(tmp_path: Path, validated: Validated) -> None:
    tied = {"hidden": [196, 12], "activation": "gelu", "batch_norm": True, "dropout": 0.1, "tied": [3]}
    trained = train(validated, QUICK.with_overrides({**tied, "untied_epochs": 1, "average": 0.9}))
    checkpoint = write_checkpoint(tmp_path, trained.network, write_card("flagship", validated, trained))
    assert weights_hash(read_checkpoint(checkpoint)[0]) == weights_hash(trained.network)


def test_a_checkpoint_that_changed_is_refused(tmp_path: Path, network: MLP, card: ModelCard) -> None:
    checkpoint = write_checkpoint(tmp_path, network, card)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="changed"):
        read_checkpoint(checkpoint)
    with pytest.raises(ModelError, match="missing"):
        read_checkpoint(Checkpoint(tmp_path / "gone", checkpoint.sha256))
