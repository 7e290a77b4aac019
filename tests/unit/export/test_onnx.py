"""ONNX export: predictions equal to `predict`, metadata, refused exports, and quantization."""

import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from blanks import draw_blanks
from networks import contract_with, draw_records, kept_network, make_network, write_records
from onnx import TensorProto, helper, numpy_helper
from photos import draw_photo
from PIL import Image

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.preparation import preparation_of
from components.contract import Calibration, Dataset, ImageSpec, ModelCard, Validated
from components.dataset.manifest import Examples
from components.errors import ModelError, SettingsError
from components.export.onnx import IR_VERSION, OPSET, Precision, _add_content, _Graph, export_onnx
from components.export.quantize import MAX_WEIGHT, quantize_range, quantize_weights
from components.files import sha256_of
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig, to_mlp
from components.model.numpy_mlp import NumpyMLP
from components.model.tensors import to_input
from components.networks import embedder
from components.networks.embedder import frame
from components.readers.images.content import has_content
from components.scoring.predict import predict
from components.settings import CHECKOUT
from components.training.config import TrainConfig
from components.training.train import train

TAG = "fashion-mlp:abcdefgh"
CALIBRATION = Calibration(temperature=1.7, thresholds=tuple(0.05 * n for n in range(1, 11)))
EDGE = (CHECKOUT / "docs" / "edge.md").read_text()
PRECISIONS: list[Precision] = ["float32", "int8"]


@pytest.fixture(scope="module")
def learned(validated: Validated) -> MLP:
    """Trained until no prediction depends on rounding differences between processors."""
    config = TrainConfig(model=ModelConfig(hidden=(64,)), epochs=30, learning_rate=3e-3, seed=3, device="cpu")
    return train(validated, config).network


@pytest.fixture
def model(learned: MLP, card: ModelCard) -> Classifier:
    """A model whose network the test may change."""
    calibrated = dataclasses.replace(card, calibration=CALIBRATION)
    return Classifier(TAG, calibrated, learned.eval().to_numpy())


def made_of(config: ModelConfig, model: Classifier, images: np.ndarray) -> Classifier:
    """Return a random network whose batch norm has seen images, so that it is not the identity."""
    torch.manual_seed(0)
    network = MLP(config, CONTRACT)
    for layer in network:
        if isinstance(layer, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.normal_(layer.bias)
    network.train()(to_input(images))
    return dataclasses.replace(model, network=network.eval().to_numpy())


def abstaining_on_half(model: Classifier, images: np.ndarray) -> Classifier:
    middle = float(np.median(model.probabilities(images).max(axis=1)))
    calibration = Calibration(temperature=1.7, thresholds=(middle,) * len(CLASSES))
    return dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=calibration))


def run_onnx(path: Path, images: np.ndarray) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(path).run(["probabilities", "labels", "sure"], {"images": images}))


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(hidden=()),
        ModelConfig(hidden=(16,), dropout=0.5),
        ModelConfig(hidden=(24, 12), activation="gelu"),
        ModelConfig(hidden=(24, 12), activation="gelu", batch_norm=True, dropout=0.2),
        ModelConfig(hidden=(24,), batch_norm=True),
    ],
    ids=["no hidden layer", "relu", "gelu", "gelu and batch norm", "relu and batch norm"],
)
def test_the_file_predicts_the_same_as_predict(
    config: ModelConfig, model: Classifier, dataset: Dataset, test_split: Examples, tmp_path: Path
) -> None:
    model = abstaining_on_half(made_of(config, model, test_split.images), test_split.images)
    export = export_onnx(model, dataset, tmp_path / "model.onnx")
    predictions = predict(model, test_split.images)
    probabilities, labels, sure = run_onnx(export.path, test_split.images)
    assert np.abs(probabilities - predictions.probabilities).max() == export.largest_difference < 1e-5
    assert np.array_equal(labels, predictions.labels)
    assert np.array_equal(sure, predictions.sure)
    assert 0.4 < sure.mean() < 0.6


@pytest.mark.parametrize("image", [ImageSpec(28, 28), ImageSpec(20, 24, 3), ImageSpec(9, 64)], ids=str)
def test_the_file_detects_blank_images_as_the_service_does(image: ImageSpec) -> None:
    graph = _Graph()
    found = helper.make_tensor_value_info(_add_content(graph, image.shape), TensorProto.BOOL, ["n"])
    given = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *image.shape])
    made = helper.make_graph(graph.nodes, "content", [given], [found], graph.constants)
    file = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, *image.shape)).astype(np.uint8)
    for row, one in enumerate(images):
        one[: row % image.height] //= 1 + row % 40
    (result,) = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"images": images})
    assert result.tolist() == has_content(images).tolist()
    assert 0 < result.sum() < len(images)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_abstains_on_blank_images(
    model: Classifier, dataset: Dataset, test_split: Examples, tmp_path: Path, precision: Precision
) -> None:
    card = dataclasses.replace(model.card, calibration=Calibration())  # no thresholds
    export = export_onnx(dataclasses.replace(model, card=card), dataset, tmp_path / "model.onnx", precision)
    for blank in draw_blanks().values():
        assert not run_onnx(export.path, blank)[2].any()
    for images in (test_split.images, 255 - test_split.images, test_split.images // 2 + 100):
        assert run_onnx(export.path, images)[2].all()


def test_the_export_describes_the_file(
    model: Classifier, dataset: Dataset, test_split: Examples, tmp_path: Path
) -> None:
    export = export_onnx(model, dataset, tmp_path / "new folder" / "model.onnx", "int8")
    _, labels, _ = run_onnx(export.path, test_split.images)
    expected = predict(model, test_split.images).labels
    assert (export.tag, export.precision) == (TAG, "int8")
    assert export.bytes == export.path.stat().st_size
    assert export.sha256 == sha256_of(export.path)
    assert export.accuracy == (labels == test_split.labels).mean()
    assert export.model_accuracy == (expected == test_split.labels).mean()
    assert export.agreement == (labels == expected).mean()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_is_valid_and_has_metadata(
    model: Classifier, dataset: Dataset, tmp_path: Path, precision: Precision
) -> None:
    export = export_onnx(model, dataset, tmp_path / "model.onnx", precision)
    onnx.checker.check_model(onnx.load(export.path), full_check=True)
    metadata = onnxruntime.InferenceSession(export.path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert model.card.input in metadata["contract"]
    assert float(metadata["temperature"]) == CALIBRATION.temperature
    assert json.loads(metadata["thresholds"]) == list(CALIBRATION.thresholds)
    assert metadata["dataset_version"] == dataset.version
    assert metadata["weights_sha256"] == model.card.weights_sha256
    assert (metadata["tag"], metadata["preset"], metadata["source"]) == (TAG, "quick", "sample")
    assert metadata["precision"] == precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_prediction_does_not_depend_on_the_batch_size(
    model: Classifier, dataset: Dataset, test_split: Examples, tmp_path: Path, precision: Precision
) -> None:
    path = export_onnx(model, dataset, tmp_path / "model.onnx", precision).path
    together, labels, _ = run_onnx(path, test_split.images)
    for count in (0, 1, 7):
        probabilities, some, sure = run_onnx(path, test_split.images[:count])
        assert probabilities.shape == (count, 10)
        assert sure.shape == (count,)
        assert np.allclose(probabilities, together[:count], atol=1e-6)
        assert np.array_equal(some, labels[:count])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_model_gives_the_same_file(
    model: Classifier, dataset: Dataset, tmp_path: Path, precision: Precision
) -> None:
    first, second = (export_onnx(model, dataset, tmp_path / name, precision) for name in ("one", "two"))
    assert first.sha256 == second.sha256


def test_int8_is_a_quarter_of_the_size_and_never_saturates(model: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    large = export_onnx(model, dataset, tmp_path / "large")
    small = export_onnx(model, dataset, tmp_path / "small", "int8")
    assert small.bytes < 0.3 * large.bytes, "names and metadata have the same size in both"
    constants = {one.name: numpy_helper.to_array(one) for one in onnx.load(small.path).graph.initializer}
    weights = [value for name, value in constants.items() if name.endswith(".weight")]
    assert [(weight.dtype.name, weight.shape) for weight in weights] == [("int8", (784, 64)), ("int8", (64, 10))]
    assert all(2 * 255 * int(np.abs(weight).max()) < 2**15 for weight in weights)


# --- with a frozen network ---


@pytest.fixture(scope="module")
def vectors(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Dataset]:
    """A random model of vectors, and a dataset of random records."""
    folder = tmp_path_factory.mktemp("vectors")
    contract = contract_with(kept_network(folder).embedding, CLASSES)
    torch.manual_seed(0)
    network = MLP(ModelConfig(hidden=(24, 12), activation="gelu"), contract).eval()
    changed = dataclasses.replace(card, contract=contract, calibration=CALIBRATION, known=None)
    dataset = write_records(folder / "datasets", draw_records(contract, 200), contract)
    return Classifier("shop-mlp:abcdefgh", changed, network.to_numpy()), dataset


def test_the_file_takes_photos_and_predicts_as_the_service_does(
    vectors: tuple[Classifier, Dataset], tmp_path: Path
) -> None:
    model, dataset = vectors
    path = export_onnx(model, dataset, tmp_path / "model.onnx").path
    pictures = [Image.fromarray(draw_photo(label, 3)) for label in range(6)]
    views = [preparation_of(model.contract).views(picture, model.contract) for picture in pictures]
    expected = predict(model, np.concatenate(views))
    photos = np.stack([frame(picture, 32) for picture in pictures])
    probabilities, labels, _ = run_onnx(path, photos)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-4)
    assert np.array_equal(labels, expected.labels)
    one, _, _ = run_onnx(path, photos[2:3])
    np.testing.assert_allclose(one, probabilities[2:3], atol=1e-5)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["data_contract"])["embedding"]["network"] == "tiny.onnx"


def test_int8_is_refused_for_vectors(vectors: tuple[Classifier, Dataset], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="int8: expected float32, because the models of shop take vectors"):
        export_onnx(*vectors, tmp_path / "model.onnx", "int8")
    assert not list(tmp_path.iterdir())


def test_a_changed_network_is_not_exported(
    vectors: tuple[Classifier, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = vectors[0].contract.embedding
    assert embedding
    (tmp_path / "other.onnx").write_bytes(make_network(1))
    monkeypatch.setitem(embedder._paths, embedding.sha256, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"other\.onnx: has the SHA-256"):
        export_onnx(*vectors, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


# --- refused exports ---


def with_a_weight_that_is_not_finite(network: MLP) -> None:
    network.state_dict()["dense1.weight"][3, 400] = torch.nan


def with_one_dominant_unit(network: MLP) -> None:
    """The same function, but in int8 the other units are smaller than one quantization step."""
    state = network.state_dict()
    loud = state["logits.weight"].norm(dim=0).argmax()
    state["dense1.weight"][loud] *= 1e5
    state["dense1.bias"][loud] *= 1e5
    state["logits.weight"][:, loud] /= 1e5


@pytest.mark.parametrize(
    ("harm", "precision", "message"),
    [
        (with_a_weight_that_is_not_finite, "float32", "probabilities that are not finite"),
        (with_a_weight_that_is_not_finite, "int8", "probabilities that are not finite"),
        (
            with_one_dominant_unit,
            "int8",
            r"int8 would change the accuracy from 0\.\d+ to 0\.\d+; expected within 0\.003",
        ),
    ],
    ids=["not finite, float32", "not finite, int8", "accuracy lost in int8"],
)
def test_a_file_with_different_predictions_is_not_written(
    model: Classifier,
    dataset: Dataset,
    tmp_path: Path,
    harm: Callable[[MLP], None],
    precision: Precision,
    message: str,
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the previous file")
    network = to_mlp(model.network)
    harm(network)
    model = dataclasses.replace(model, network=network.to_numpy())
    with pytest.raises(ModelError, match=rf"^{TAG}.*{message}"):
        export_onnx(model, dataset, path, precision)
    assert path.read_bytes() == b"the previous file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_fault_of_the_export_is_found(
    model: Classifier, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_another_bias(network: NumpyMLP) -> MLP:
        found = to_mlp(network)
        found.state_dict()["logits.bias"][3] += 9
        return found

    monkeypatch.setattr("components.export.onnx.to_mlp", with_another_bias)
    with pytest.raises(ModelError, match=r"float32 would change \d+\.\d+% of the labels.*expected at most 0\.10%"):
        export_onnx(model, dataset, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_refused_in_int8_can_be_exported_in_float32(
    model: Classifier, dataset: Dataset, tmp_path: Path
) -> None:
    network = to_mlp(model.network)
    with_one_dominant_unit(network)
    model = dataclasses.replace(model, network=network.to_numpy())
    assert export_onnx(model, dataset, tmp_path / "model.onnx").agreement == 1


def test_a_missing_package_is_reported_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "components.export.onnx")
    with pytest.raises(SettingsError, match=r"onnxruntime.*uv pip install --group edge"):
        importlib.import_module("components.export.onnx")


# --- quantization ---


def test_gptq_compensates_rounding_errors() -> None:
    """Rows with one large weight, as in unrolled convolutions, and correlated inputs, as pixels are."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 200, generator=generator) / 20
    weight[:, 0] = 5
    inputs = torch.rand(500, 20, generator=generator) @ torch.rand(20, 200, generator=generator)
    expected = inputs @ weight.T
    step = weight.abs().amax(dim=1, keepdim=True) / MAX_WEIGHT
    naive = inputs @ ((weight / step).round() * step).T - expected
    rounded, steps = quantize_weights(weight, inputs)
    compensated = inputs @ (rounded * steps[:, None]).T - expected
    assert compensated.square().mean() < naive.square().mean() / 50
    assert rounded.abs().max() <= MAX_WEIGHT


def test_a_layer_of_zeros_and_inputs_of_zero_stay_zero() -> None:
    rounded, steps = quantize_weights(torch.zeros(3, 5), torch.zeros(7, 5))
    assert torch.equal(rounded * steps[:, None], torch.zeros(3, 5))


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.0, 6.5], [-0.17, 3.0], [1.0, 2.0], [-3.0, -1.0]])
def test_zero_is_exact_and_the_range_is_within_half_a_step(values: list[float]) -> None:
    step, zero = quantize_range(torch.tensor(values))
    assert 0 <= zero <= 255
    for value in (*values, 0.0):
        assert abs((np.clip(round(value / step) + zero, 0, 255) - zero) * step - value) <= 0.51 * step


# --- docs/edge.md ---


def test_the_python_examples_of_the_page_run(
    model: Classifier,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export_onnx(model, dataset, tmp_path / "fashion.onnx")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", EDGE, re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) >= 2
    assert set(capsys.readouterr().out.splitlines()) <= {*CLASSES, "not sure"}
    probabilities, own = np.asarray(names["probabilities"]), np.asarray(names["own"])
    black = np.zeros((len(own), 28, 28), np.uint8)
    assert np.allclose(own, torch.softmax(torch.from_numpy(model.logits(black)), dim=1), atol=1e-5)
    assert not np.allclose(own, probabilities, atol=1e-3)


def test_the_javascript_example_uses_the_names_of_the_file(model: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    (block,) = re.findall(r"```js\n(.*?)```", EDGE, re.DOTALL)
    session = onnxruntime.InferenceSession(export_onnx(model, dataset, tmp_path / "model.onnx").path)
    (classes,) = re.findall(r"CLASSES = (\[.*?\])", block, re.DOTALL)
    assert json.loads(classes) == list(CLASSES)
    assert f"{{ {', '.join(one.name for one in session.get_outputs())} }}" in block
    assert all(f"{{ {one.name} }}" in block for one in session.get_inputs())
