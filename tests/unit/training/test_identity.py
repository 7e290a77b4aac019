"""Detecting that a training would repeat the one that produced a model."""

from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest
from trainings import QUICK

from components.contract import Dataset, ModelCard
from components.training import identity
from components.training.identity import is_same_training, training_code


def stored(card: ModelCard) -> ModelCard:
    """The card as read from the store, with lists in place of tuples."""
    return replace(card, training=orjson.loads(orjson.dumps(card.training)))


def test_the_same_settings_data_and_code_are_the_same_training(card: ModelCard, dataset: Dataset) -> None:
    assert is_same_training(stored(card), dataset, QUICK)


def test_other_settings_data_code_or_pytorch_are_another_training(card: ModelCard, dataset: Dataset) -> None:
    before = stored(card)
    assert not is_same_training(before, dataset, replace(QUICK, seed=1))
    assert not is_same_training(before, replace(dataset, version="0" * 16), QUICK)
    assert not is_same_training(replace(before, code="0" * 16), dataset, QUICK)
    assert not is_same_training(replace(before, packages={**before.packages, "torch": "2.0"}), dataset, QUICK)
    assert asdict(QUICK) != before.training, "the store has lists"


def test_a_model_without_a_recorded_code_hash_is_trained_again(card: ModelCard, dataset: Dataset) -> None:
    assert not is_same_training(replace(stored(card), code=""), dataset, QUICK)


def test_only_sources_that_a_training_depends_on_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("training/train.py", "evaluation/calibrate.py", "registry/store.py"):
        path = tmp_path / "components" / name
        path.parent.mkdir(parents=True)
        path.write_text("1")
    monkeypatch.setattr(identity, "CHECKOUT", tmp_path)
    before = training_code.__wrapped__()
    (tmp_path / "components" / "registry" / "store.py").write_text("2")
    assert training_code.__wrapped__() == before
    (tmp_path / "components" / "training" / "train.py").write_text("2")
    assert training_code.__wrapped__() != before
