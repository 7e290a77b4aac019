"""The model store: a model loads exactly as saved, or not at all."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from networks import contract_with, draw_records, kept_network, make_network
from photos import draw_photo, encode_photo
from safetensors.torch import save as encode_weights

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import SAMPLE, ImageSpec, ModelCard
from components.dataset.manifest import Examples
from components.errors import ModelError, ModelNotFound
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.model.weights import check_fit, decode_weights, forms_of
from components.networks import embedder
from components.readers.images.photos import read_views
from components.registry import store

pytestmark = pytest.mark.usefixtures("bentoml_home")


def folder_of(home: Path, tag: str) -> Path:
    return home / "models" / tag.replace(":", "/")


def test_a_model_loads_exactly_as_saved(network: MLP, card: ModelCard, test_split: Examples) -> None:
    loaded = store.load_stored(store.save_model(network, card))
    found, before = loaded.logits(test_split.images), network(torch.tensor(test_split.images).reshape(-1, 784) / 255)
    assert np.array_equal(found, Classifier("", card, network.to_numpy()).logits(test_split.images))
    assert np.allclose(found, before.detach().numpy(), atol=1e-5)
    again = store.load_stored(store.save_model(loaded.network, loaded.card))
    assert again.card.weights_sha256 == loaded.card.weights_sha256, "a loaded network can be stored again"
    described = dataclasses.asdict(dataclasses.replace(loaded.card, weights_sha256=""))
    assert orjson.dumps(described) == orjson.dumps(dataclasses.asdict(card)), "without cached properties"


def test_a_model_with_batch_norm_can_be_stored_and_stored_again(card: ModelCard, test_split: Examples) -> None:
    config = ModelConfig(hidden=(8,), batch_norm=True)
    network = MLP(config, CONTRACT).eval()
    loaded = store.load_stored(store.save_model(network, dataclasses.replace(card, model=dataclasses.asdict(config))))
    again = store.load_stored(store.save_model(loaded.network, loaded.card))
    assert again.card.weights_sha256 == loaded.card.weights_sha256
    assert np.array_equal(again.logits(test_split.images), loaded.logits(test_split.images))


def test_bentoml_sees_the_model(network: MLP, card: ModelCard) -> None:
    import bentoml

    tag = store.save_model(network, card)
    assert [str(model.tag) for model in bentoml.models.list()] == [tag]
    assert str(bentoml.models.get(f"{store.NAME}:latest").tag) == tag
    assert bentoml.models.get(tag).info.labels == {"preset": "quick", "source": SAMPLE}


def test_only_exact_tags_load(network: MLP, card: ModelCard) -> None:
    tag = store.save_model(network, card)
    for near in (tag[:-1], tag + "x", "fashion-mlp:latest", "fashion-mlp", "other:abcdefgh", "fashion-mlp:../../x", ""):
        with pytest.raises(ModelNotFound):
            store.load_stored(near)


def test_no_pickle_is_stored(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    folder = folder_of(bentoml_home, store.save_model(network, card))
    found = {path.name for path in folder.iterdir()}
    assert found == {"weights.safetensors", "model.json", "model.yaml", "README.md"}


def test_non_finite_weights_are_not_saved(network: MLP, card: ModelCard) -> None:
    network.state_dict()["logits.bias"][3] = torch.nan
    with pytest.raises(ModelError, match=r"logits\.bias holds values that are not finite"):
        store.save_model(network, card)
    assert store.list_stored() == []


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_changed_file_is_refused(network: MLP, card: ModelCard, bentoml_home: Path, name: str, harm: str) -> None:
    tag = store.save_model(network, card)
    path = folder_of(bentoml_home, tag) / name
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "truncate":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with pytest.raises(ModelError, match=name):
        store.load_stored(tag)


def test_weights_of_the_wrong_shape_are_named(network: MLP, card: ModelCard) -> None:
    tag = store.save_model(network, dataclasses.replace(card, model={"hidden": [17], "dropout": 0.0}))
    expected = r"dense1\.weight is float32 \(16, 784\), expected float32 \(17, 784\)"
    with pytest.raises(ModelError, match=expected):
        store.load_stored(tag)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(hidden=(), activation="gelu"),
        ModelConfig(hidden=(8, 4, 2), batch_norm=True, dropout=0.5),
    ],
    ids=str,
)
def test_the_expected_weights_match_the_network(config: ModelConfig) -> None:
    state = MLP(config, CONTRACT).state_dict()
    assert {name: (tuple(weight.shape), weight.numpy().dtype) for name, weight in state.items()} == {
        name: (form.shape, form.dtype) for name, form in forms_of(config, CONTRACT).items()
    }
    check_fit(decode_weights(encode_weights(state)), config, CONTRACT, None)


def test_other_classes_are_refused(network: MLP, card: ModelCard) -> None:
    other = dataclasses.replace(CONTRACT, classes=tuple(reversed(CONTRACT.classes)))
    tag = store.save_model(network, dataclasses.replace(card, contract=other))
    with pytest.raises(ModelError, match=r"train\.classes: expected one of each class, in the order"):
        store.load_stored(tag)


def test_an_incomplete_folder_does_not_hide_other_models(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    tag = store.save_model(network, card)
    (bentoml_home / "models" / store.NAME / "tornfolder").mkdir()
    first, second = store.list_stored()
    assert (first.tag, first.problem) == (tag, "")
    assert second.card is None
    assert "model.json cannot be read" in second.problem


def test_two_catalogues_never_share_a_model_name() -> None:
    assert store.name_models("shop") == "shop-mlp"
    with pytest.raises(ModelError, match="its model name would be that of fashion-mnist"):
        store.name_models("fashion")


# --- with a frozen network ---


@pytest.fixture
def vectors(card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[MLP, ModelCard]:
    """A model of vectors, and its card; this process has not used the network yet."""
    monkeypatch.setattr(embedder, "_paths", {})
    monkeypatch.setattr(embedder, "_embedders", {})
    contract = contract_with(kept_network(tmp_path).embedding, CONTRACT.classes)
    torch.manual_seed(0)
    return MLP(ModelConfig(hidden=(16,)), contract).eval(), dataclasses.replace(card, contract=contract, known=None)


def test_the_network_is_stored_with_the_model_and_works_alone(
    vectors: tuple[MLP, ModelCard], bentoml_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = store.save_model(*vectors)
    assert (folder_of(bentoml_home, tag) / "network.onnx").read_bytes() == make_network()
    (tmp_path / "tiny0.onnx").unlink()
    monkeypatch.setattr(embedder, "_paths", {})
    model = store.load_stored(tag)
    views = read_views(encode_photo(draw_photo(0, 0)), model.contract)
    assert np.isfinite(model.probabilities(views)).all()


def test_a_model_is_not_stored_without_its_network(vectors: tuple[MLP, ModelCard], tmp_path: Path) -> None:
    (tmp_path / "tiny0.onnx").unlink()
    with pytest.raises(ModelError, match=r"the network tiny\.onnx \(\w{12}\) is missing"):
        store.save_model(*vectors)
    assert store.list_stored() == []


@pytest.mark.parametrize("harm", ["flip", "other", "remove"])
def test_a_changed_or_missing_network_is_refused(vectors: tuple[MLP, ModelCard], bentoml_home: Path, harm: str) -> None:
    tag = store.save_model(*vectors)
    path, before = folder_of(bentoml_home, tag) / "network.onnx", store.files_state(tag)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content if harm == "flip" else make_network(1))
    assert store.files_state(tag) != before, "a service notices"
    for use in (store.load_stored, store.check_stored):
        with pytest.raises(ModelError, match=r"network\.onnx"):
            use(tag)


def test_a_vector_that_is_not_aligned_in_memory_is_classified_all_the_same(
    vectors: tuple[MLP, ModelCard], tmp_path: Path
) -> None:
    """A record of an odd number of pixels, sent as bytes."""
    network, card = vectors
    contract = dataclasses.replace(card.contract, image=ImageSpec(9, 9, 3))
    records = draw_records(contract, 3)
    model = Classifier("shop-mlp:a", dataclasses.replace(card, contract=contract), network.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sent in (records, records[:1]):
            found = model.logits(np.frombuffer(sent.tobytes(), contract.dtype))
            assert np.array_equal(found, model.logits(sent))
