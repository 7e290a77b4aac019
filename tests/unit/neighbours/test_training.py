"""The index of a model's training images is built once, from its own dataset."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.contract import Dataset, ModelCard, Validated
from components.dataset.manifest import read_split
from components.errors import DatasetError, NeighboursError
from components.model.classifier import Classifier
from components.neighbours import index as module
from components.neighbours.training import KEPT, index_path, open_training_index
from components.registry import champion, store
from components.settings import Settings
from components.training.train import Trained


@pytest.fixture
def data(validated: Validated, settings: Settings) -> Settings:
    """A data folder with a copy of the dataset."""
    shutil.copytree(validated.dataset.path.parent, settings.datasets_dir)
    return settings


@pytest.fixture
def model(trained: Trained, card: ModelCard, bentoml_home: Path) -> Classifier:
    return champion.load_model(store.save_model(trained.network, card))


def test_it_has_every_training_image(data: Settings, model: Classifier, dataset: Dataset) -> None:
    index, examples = open_training_index(model, data), read_split(dataset, "train")
    assert index.record.source == dataset.version
    assert [str(one) for one in index.items.ids] == examples.ids
    assert np.array_equal(index.items.labels, examples.labels)
    assert np.array_equal(index.items.pictures, examples.images)
    assert np.array_equal(index.items.hidden, model.hidden(examples.images))


def test_a_second_opening_reads_it(data: Settings, model: Classifier) -> None:
    open_training_index(model, data)
    shutil.rmtree(data.datasets_dir)  # no longer needed
    assert open_training_index(model, data).record.rows == 600


def test_a_damaged_index_is_built_again(data: Settings, model: Classifier, caplog: pytest.LogCaptureFixture) -> None:
    open_training_index(model, data)
    path = index_path(model.tag, data)
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert open_training_index(model, data).record.rows == 600
    assert "changed since it was written" in caplog.text


def test_without_the_dataset_there_is_none(settings: Settings, model: Classifier) -> None:
    with pytest.raises(DatasetError, match="no such dataset"):
        open_training_index(model, settings)


def test_a_dataset_that_is_too_large_is_not_read(
    data: Settings, model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 10)
    with pytest.raises(NeighboursError, match="an index of 600 images takes"):
        open_training_index(model, data)
    assert not list(data.neighbours_dir.glob("*.arrow"))


def test_only_the_last_indexes_are_kept(data: Settings, model: Classifier, trained: Trained, card: ModelCard) -> None:
    tags = [model.tag, *(store.save_model(trained.network, card) for _ in range(KEPT))]
    for tag in tags:
        open_training_index(champion.load_model(tag), data)
    assert {path.name for path in data.neighbours_dir.glob("*.*")} - {".lock"} == {
        index_path(tag, data).with_suffix(suffix).name for tag in tags[-KEPT:] for suffix in (".arrow", ".json")
    }
