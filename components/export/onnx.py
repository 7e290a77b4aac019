"""Exports a stored model to one ONNX file, for phones, browsers and programs without torch.

    images          uint8 (n, height, width[, 3]), any n
       |            divide by 255, network, divide by the temperature, softmax
       v
    probabilities   float32 (n, classes), calibrated: the same as the service returns
    labels          int64 (n,), class of the highest probability
    sure            uint8 (n,), 1 if it exceeds the model's threshold for that class and the image is not blank, else 0

The graph is built node by node, because an MLP needs few node types. torch's exporters need onnxscript, import the
compiler, and leave out preprocessing and calibration. Serving does not import this module.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from components.contract import DataContract, Dataset, Images, ModelCard, require_equal
from components.dataset.manifest import read_split
from components.errors import ModelError, SettingsError
from components.export.quantize import quantize_range, quantize_weights
from components.files import require_writable, write_whole
from components.model.classifier import Classifier
from components.model.mlp import ACTIVATIONS, MLP, to_mlp
from components.model.tensors import to_input
from components.networks.embedder import embedder_of, read_network_file
from components.readers.images import content
from components.telemetry import disable_telemetry

disable_telemetry()
try:
    import onnxruntime
    from onnx import (
        ModelProto,
        NodeProto,
        TensorProto,
        ValueInfoProto,
        compose,
        helper,
        load_model_from_string,
        numpy_helper,
        version_converter,
    )
except ModuleNotFoundError as error:
    raise SettingsError(f"{error}. Install the export dependencies: .venv/bin/uv pip install --group edge") from error

OPSET = 20  # the first with GELU; onnxruntime 1.17 and later read it
IR_VERSION = 9  # the first that allows this opset
NODES = {"relu": "Relu", "gelu": "Gelu"}  # activation -> ONNX operator

CALIBRATION_IMAGES = 2048  # training images that determine the int8 range of each activation
AT_ONCE = 1000  # images per batch when comparing
PHOTOS_CHECKED = 8  # random photos to compare a file with its network with torch

MAX_LABELS_CHANGED = 0.001  # float32: share of the test images
MAX_DISTANCE = 0.001  # float32: difference of a probability; labels alone would not reveal a wrong temperature
MAX_ACCURACY_CHANGED = 0.003  # int8

Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Export:
    """An exported file, and how it compares with torch on the test split."""

    path: Path
    tag: str
    precision: Precision
    bytes: int
    sha256: str
    accuracy: float  # of the file, in onnxruntime
    model_accuracy: float  # of the stored model
    agreement: float  # share of images with the same label from both
    largest_difference: float  # of any probability between the two


def export_onnx(model: Classifier, dataset: Dataset, path: Path, precision: Precision = "float32") -> Export:
    """Export a model to ONNX, after checking that its predictions match the model's.

    Args:
        model: Model returned by `load_model`.
        dataset: Dataset whose test split is used for the check; int8 also takes calibration images from its training
            split.
        path: Output file, replaced atomically.
        precision: Precision of weights and products. An int8 file is a quarter of the size.

    Raises:
        ModelError: The predictions differ too much, or the model and the dataset have different data contracts. Nothing
            is written.
        SettingsError: int8 for a model that takes vectors.
        DatasetError: The dataset is missing or changed.
    """
    require_equal(dataset.contract, model.contract, model.tag, ModelError)
    require_writable(path.parent)
    test = read_split(dataset, "test")
    expected = _predict_with_model(model, test.images)
    if not np.isfinite(expected).all():
        raise ModelError(f"{model.tag}: found probabilities that are not finite. Nothing was exported")
    if model.contract.embedding and precision != "float32":
        raise SettingsError(f"{precision}: expected float32, because the models of {model.contract.name} take vectors")
    layers = _build(model, precision, dataset).SerializeToString()
    found, labels = _predict_with_onnx(layers, test.images)
    content = _with_network(model) if model.contract.embedding else layers
    export = Export(
        path=path,
        tag=model.tag,
        precision=precision,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        accuracy=float((labels == test.labels).mean()),
        model_accuracy=float((expected.argmax(axis=1) == test.labels).mean()),
        agreement=float((labels == expected.argmax(axis=1)).mean()),
        largest_difference=float(np.abs(found - expected).max()),
    )
    _check(export)
    write_whole(path, content)
    return export


def _check(export: Export) -> None:
    """Raise ModelError if the file differs from torch by more than its precision allows."""
    labels_changed, accuracy_changed = 1 - export.agreement, abs(export.accuracy - export.model_accuracy)
    if export.precision == "float32":
        passed = labels_changed <= MAX_LABELS_CHANGED and export.largest_difference <= MAX_DISTANCE
        found = f"{labels_changed:.2%} of the labels, and probabilities by up to {export.largest_difference:.2g}"
        expected = f"at most {MAX_LABELS_CHANGED:.2%}, and {MAX_DISTANCE}"
        advice = "The export is at fault, not the model"
    else:
        passed = accuracy_changed <= MAX_ACCURACY_CHANGED
        found = f"the accuracy from {export.model_accuracy:.4f} to {export.accuracy:.4f}"
        expected = f"within {MAX_ACCURACY_CHANGED}"
        advice = "Use float32"
    if not passed:
        changed = f"{export.tag}: on the test split {export.precision} would change {found}; expected {expected}"
        raise ModelError(f"{changed}. Nothing was written. {advice}")


def _predict_with_model(model: Classifier, images: Images) -> NDArray[np.float32]:
    return np.concatenate([model.probabilities(some) for some in _batches(images)])


def _predict_with_onnx(content: bytes, images: Images) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    taken = images["vector"] if images.dtype.names else images
    outputs = [session.run(["probabilities", "labels"], {"images": some}) for some in _batches(taken)]
    probabilities, labels = zip(*outputs, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def _batches(images: Images) -> list[Images]:
    return [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]


# --- the graph ---


@dataclass
class _Graph:
    """Nodes and constants of the graph, in the order in which they are added."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, output: str = "", unused: int = 0, **attributes: Any) -> str:
        """Add a node and return the name of its first output. `unused` is the number of further outputs."""
        output = output or f"{kind.lower()}{len(self.nodes)}"
        others = [f"{output}.{number}" for number in range(unused)]
        self.nodes.append(helper.make_node(kind, inputs, [output, *others], **attributes))
        return output


def _build(model: Classifier, precision: Precision, dataset: Dataset) -> ModelProto:
    graph = _Graph()
    layers, activation = _dense_layers(to_mlp(model.network)), model.network.config.activation
    if model.contract.embedding:
        logits = _add_layers(graph, "images", layers, activation)
    elif precision == "float32":
        logits = _add_float_layers(graph, layers, activation)
    else:
        images = read_split(dataset, "train").images
        typical = images[:: max(1, len(images) // CALIBRATION_IMAGES)][:CALIBRATION_IMAGES]
        logits = _add_int_layers(graph, layers, activation, typical)
    if model.contract.embedding:
        _add_outputs(graph, logits, model.card, None)
        taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", model.contract.input.size])
    else:
        image = model.contract.image
        _add_outputs(graph, logits, model.card, image.shape)
        taken = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *image.shape])
    return _to_model(graph, taken, model.contract, _metadata(model, precision))


def _with_network(model: Classifier) -> bytes:
    """The frozen network and the dense layers in one file, which takes photos: uint8 (n, side, side, 3).

    Raises:
        ModelError: its probabilities for random photos differ from the model's, or its operators are too new.
    """
    embedding, graph = model.contract.embedding, _Graph()
    assert embedding  # noqa: S101, the caller has checked it
    file = load_model_from_string(read_network_file(embedding))
    try:
        network = version_converter.convert_version(file, OPSET).graph
    except Exception as error:  # the converter has its own errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{model.tag}: its network has no equivalent in ONNX opset {OPSET}: {reason}") from error
    network = compose.add_prefix_graph(network, "network.")
    graph.nodes += [helper.make_node("Identity", ["images"], [network.input[0].name]), *network.node]
    graph.constants += network.initializer
    layers, activation = _dense_layers(to_mlp(model.network)), model.network.config.activation
    logits = _add_layers(graph, network.output[0].name, layers, activation)
    shape = (embedding.side, embedding.side, 3)
    _add_outputs(graph, logits, model.card, shape)
    taken = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *shape])
    content: bytes = _to_model(graph, taken, model.contract, _metadata(model, "float32")).SerializeToString()
    photos = np.random.default_rng(0).integers(0, 256, (PHOTOS_CHECKED, *shape), np.uint8)
    images = np.zeros(PHOTOS_CHECKED, model.contract.dtype)
    images["vector"] = embedder_of(embedding).run(photos)
    difference = np.abs(_predict_with_onnx(content, photos)[0] - _predict_with_model(model, images)).max()
    if not difference <= MAX_DISTANCE:
        found = f"would change the probabilities of photos by up to {difference:.2g}; expected {MAX_DISTANCE}"
        raise ModelError(f"{model.tag}: with its network, float32 {found}. Nothing was written")
    return content


def _dense_layers(network: MLP) -> list[nn.Linear]:
    """Return the dense layers with batch norm folded in. Dropout has no effect in evaluation mode."""
    layers: list[nn.Linear] = []
    for module in network:
        if isinstance(module, nn.Linear):
            layers.append(module)
        elif isinstance(module, nn.BatchNorm1d):
            layers.append(fuse_linear_bn_eval(layers.pop(), module))
    return layers


def _add_float_layers(graph: _Graph, layers: list[nn.Linear], activation: str) -> str:
    pixels = graph.add("Cast", graph.add("Flatten", "images"), to=TensorProto.FLOAT)
    return _add_layers(graph, graph.add("Div", pixels, graph.constant("white", np.float32(255))), layers, activation)


def _add_layers(graph: _Graph, values: str, layers: list[nn.Linear], activation: str) -> str:
    for number, layer in enumerate(layers, 1):
        weight = graph.constant(f"dense{number}.weight", layer.weight.detach().numpy())
        bias = graph.constant(f"dense{number}.bias", layer.bias.detach().numpy())
        values = graph.add("Gemm", values, weight, bias, transB=1)
        if number < len(layers):
            values = graph.add(NODES[activation], values)
    return values


@torch.inference_mode()
def _add_int_layers(graph: _Graph, layers: list[nn.Linear], activation: str, typical: Images) -> str:
    """Add quantized layers: int8 products, accumulated in int32, with static scales and zero points.

    Dynamic scales (onnxruntime's quantize_dynamic) would make a prediction depend on the other images of its batch. The
    first layer's input is lossless, because pixels are bytes.
    """
    bytes_, values, step, zero = graph.add("Flatten", "images"), to_input(typical), 1 / 255, 0
    for number, layer in enumerate(layers, 1):
        rounded, row_steps = quantize_weights(layer.weight, values)
        weight = graph.constant(f"dense{number}.weight", rounded.T.numpy())
        scale = graph.constant(f"dense{number}.step", row_steps.numpy() * np.float32(step))
        bias = graph.constant(f"dense{number}.bias", layer.bias.numpy())
        sums = graph.add("MatMulInteger", bytes_, weight, graph.constant(f"dense{number}.zero", np.uint8(zero)))
        logits = graph.add("Add", graph.add("Mul", graph.add("Cast", sums, to=TensorProto.FLOAT), scale), bias)
        if number < len(layers):
            values = ACTIVATIONS[activation]()(layer(values))
            step, zero = quantize_range(values)
            steps = graph.constant(f"{activation}{number}.step", np.float32(step))
            zeros = graph.constant(f"{activation}{number}.zero", np.uint8(zero))
            bytes_ = graph.add("QuantizeLinear", graph.add(NODES[activation], logits), steps, zeros)
    return logits


def _add_outputs(graph: _Graph, logits: str, card: ModelCard, shape: tuple[int, ...] | None) -> None:
    """Add the outputs. `shape` is that of the pixels to check for content; None: no pixels."""
    temperature = graph.constant("temperature", np.float32(card.calibration.temperature))
    thresholds = graph.constant("thresholds", card.calibration.bars(len(card.classes)))
    graph.add("Softmax", graph.add("Div", logits, temperature), output="probabilities", axis=1)
    graph.add("ArgMax", "probabilities", output="labels", axis=1, keepdims=0)
    highest = graph.add("ReduceMax", "probabilities", graph.constant("classes", np.array([1])), keepdims=0)
    probable = graph.add("Greater", highest, graph.add("Gather", thresholds, "labels"))
    sure = graph.add("And", probable, _add_content(graph, shape)) if shape else probable
    graph.add("Cast", sure, output="sure", to=TensorProto.UINT8)  # onnxruntime's iOS bindings do not support bool


def _add_content(graph: _Graph, shape: tuple[int, ...]) -> str:
    """Add the blank-image check: the same rule as `has_content`, as graph nodes."""
    each, few = graph.constant("content.each", np.array([1])), content.few_of(shape)

    def number(name: str, value: float) -> str:
        return graph.constant(f"content.{name}", np.float32(value))

    def grey() -> str:
        """Return the brightness of the images, integers 0 to 255 as float32 (n, height, width)."""
        colours = graph.add("Cast", "images", to=TensorProto.FLOAT)
        brightness = graph.add("MatMul", colours, graph.constant("content.luma", content.LUMA.astype(np.float32)))
        return graph.add("Floor", graph.add("Div", brightness, number("whole", content.LUMA.sum())))

    def total(values: str) -> str:
        return graph.add("ReduceSum", values, each, keepdims=0)

    def products(axis: int) -> str:
        """Return the sum of the products of neighbouring pixels along an axis."""
        side = shape[axis - 1]
        places = {"first": 0, "second": 1, "last": side - 1, "end": side}
        steps = {name: graph.constant(f"content.{name}{axis}", np.array([value])) for name, value in places.items()}
        along = graph.constant(f"content.axis{axis}", np.array([axis]))
        first = graph.add("Slice", square, steps["first"], steps["last"], along)
        second = graph.add("Slice", square, steps["second"], steps["end"], along)
        return total(graph.add("Flatten", graph.add("Mul", first, second)))

    shown = "images" if len(shape) == 2 else grey()
    pixels = graph.add("Cast", graph.add("Flatten", shown), to=TensorProto.FLOAT)
    black = graph.add("LessOrEqual", pixels, number("black", content.BLACK))
    count = total(graph.add("Cast", black, to=TensorProto.FLOAT))
    background = graph.add("Greater", count, number("background", 2 * few))
    centred = graph.add("Sub", pixels, graph.add("ReduceMean", pixels, each))
    square = graph.add("Reshape", centred, graph.constant("content.shape", np.array([-1, *shape[:2]])))
    least = graph.add("Mul", total(graph.add("Mul", centred, centred)), number("related", content.RELATED))
    related = graph.add("GreaterOrEqual", graph.add("Max", products(1), products(2)), least)
    stray = graph.constant("content.stray", np.array([few + 1]))
    brightest = graph.add("ReduceMin", graph.add("TopK", pixels, stray, unused=1, largest=1), each, keepdims=0)
    darkest = graph.add("ReduceMax", graph.add("TopK", pixels, stray, unused=1, largest=0), each, keepdims=0)
    contrast = graph.add("Sub", brightest, darkest)
    enough = graph.add("GreaterOrEqual", contrast, number("contrast", content.CONTRAST))
    return graph.add("And", enough, graph.add("Or", background, related))


def _to_model(graph: _Graph, images: ValueInfoProto, contract: DataContract, metadata: dict[str, str]) -> ModelProto:
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(contract.classes)]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("sure", TensorProto.UINT8, ["n"]),
    ]
    made = helper.make_graph(graph.nodes, "fashion", [images], outputs, graph.constants)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="fashion"
    )
    helper.set_model_props(model, metadata)
    return model


def _metadata(model: Classifier, precision: Precision) -> dict[str, str]:
    card = model.card
    return {
        "tag": model.tag,
        "precision": precision,
        "classes": json.dumps(card.classes),
        "contract": f"images: {card.input} by the graph itself",
        "data_contract": json.dumps(card.contract.fields() | {"fingerprint": card.contract.fingerprint}),
        "temperature": str(card.calibration.temperature),  # already applied in the graph
        "thresholds": json.dumps(card.calibration.thresholds),  # already applied in the graph
        "preset": card.preset,
        "source": card.source,
        "dataset_version": card.dataset_version,
        "weights_sha256": card.weights_sha256,
    }
