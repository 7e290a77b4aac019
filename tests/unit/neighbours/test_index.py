"""An index is written whole, read back as it was, and refused if it is not what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.errors import ModelError, NeighboursError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.neighbours import index as module
from components.neighbours.index import Items, hide, read_index, require_size, write_index
from components.training.train import Trained


@pytest.fixture
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:tested1", replace(card, weights_sha256="1" * 64), trained.network.to_numpy())


@pytest.fixture
def items(model: Classifier, test_split: Examples) -> Items:
    return Items(test_split.ids, test_split.labels, test_split.images, hide(model, test_split.images))


@pytest.fixture
def path(tmp_path: Path, model: Classifier, items: Items) -> Path:
    path = tmp_path / "indexes" / "an.arrow"
    write_index(path, items, model, "a test")
    return path


def test_what_is_written_is_read_back(path: Path, model: Classifier, items: Items) -> None:
    read = read_index(path, model)
    assert (read.record.model, read.record.source, read.record.rows) == (model.tag, "a test", len(items.ids))
    assert [str(one) for one in read.items.ids] == list(items.ids)
    for name in ("labels", "pictures", "hidden"):
        assert np.array_equal(getattr(read.items, name), getattr(items, name)), name
    assert {one.name for one in path.parent.iterdir()} == {"an.arrow", "an.json"}


def test_an_image_is_its_own_nearest_neighbour(path: Path, model: Classifier, test_split: Examples) -> None:
    (found,) = read_index(path, model).find(model, test_split.images[7:8], 3)
    assert (found[0].id, found[0].row) == (test_split.ids[7], 7)
    assert found[0].distance == pytest.approx(0, abs=1e-4)
    assert found[0].name == model.contract.classes[test_split.labels[7]]
    assert np.array_equal(found[0].picture, test_split.images[7])
    assert [one.distance for one in found] == sorted(one.distance for one in found)


def test_an_index_of_other_weights_is_refused(path: Path, model: Classifier) -> None:
    other = Classifier("fashion-mlp:tested2", replace(model.card, weights_sha256="2" * 64), model.network)
    with pytest.raises(NeighboursError, match="an index of fashion-mlp:tested1, expected one of fashion-mlp:tested2"):
        read_index(path, other)


def test_a_changed_byte_is_found(path: Path, model: Classifier) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(NeighboursError, match="changed since it was written"):
        read_index(path, model)


def test_a_damaged_record_is_refused(path: Path, model: Classifier) -> None:
    path.with_suffix(".json").write_text('{"model": 1}')
    with pytest.raises(NeighboursError, match=r"an\.json: model: "):
        read_index(path, model)


@pytest.mark.parametrize("gone", [".json", ".arrow"])
def test_half_an_index_is_none(path: Path, model: Classifier, gone: str) -> None:
    path.with_suffix(gone).unlink()
    with pytest.raises(FileNotFoundError):
        read_index(path, model)


def test_an_index_has_a_largest_size(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    require_size(10_000, model, "dataset x")
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    with pytest.raises(NeighboursError, match=r"dataset x: an index of 10,000 images takes .* expected at most 1, "):
        require_size(10_000, model, "dataset x")


def test_an_overflow_is_reported(path: Path, model: Classifier, network: MLP, test_split: Examples) -> None:
    index = read_index(path, model)
    for weight in network.parameters():
        weight.data.fill_(3e38)
    with np.errstate(all="ignore"), pytest.raises(ModelError, match="is not finite"):
        index.find(Classifier(model.tag, model.card, network.to_numpy()), test_split.images[:1], 1)
