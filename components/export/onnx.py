"""A stored model as one ONNX file, for phones, browsers and programs without torch.

    images          uint8 (n, height, width[, 3]), any n
       |            divided by 255, through the network, divided by the temperature, softmax
       v
    probabilities   float32 (n, classes), calibrated: what the service answers
    labels          int64 (n,), of the highest probability
    sure            uint8 (n,), 1 where it exceeds the model's threshold for that class and the image shows something

The graph is written node by node. An MLP has few kinds of them, and the exporters of torch need onnxscript, import the
compiler, and leave the pixels' preparation and the calibration to others. Nothing in serving imports this module.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from components.contract import DataContract, Dataset, Images, ImageSpec, ModelCard, require_equal
from components.dataset.manifest import read_split
from components.errors import ModelError, SettingsError
from components.export.quantize import quantize_range, quantize_weights
from components.files import require_writable, write_whole
from components.model.classifier import Classifier
from components.model.mlp import ACTIVATIONS, MLP
from components.model.tensors import to_input
from components.readers.images import content
from components.telemetry import disable_telemetry

disable_telemetry()
try:
    import onnxruntime
    from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise SettingsError(f"{error}; '.venv/bin/uv pip install --group edge' brings what an export needs") from error

OPSET = 20  # the first with GELU; onnxruntime 1.17 and later read it
IR_VERSION = 9  # the first that allows it
NODES = {"relu": "Relu", "gelu": "Gelu"}  # of each activation

CALIBRATION_IMAGES = 2048  # of the training split, from which int8 learns the range of each activation
AT_ONCE = 1000  # images a comparison step

MAX_LABELS_CHANGED = 0.001  # share of the test images, in float32
MAX_DISTANCE = 0.001  # of a probability, in float32: labels alone would not show a wrong temperature
MAX_ACCURACY_CHANGED = 0.003  # in int8

Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Export:
    """A file that was written, and how it compares with torch on the test split."""

    path: Path
    tag: str
    precision: Precision
    bytes: int
    sha256: str
    accuracy: float  # of the file, by onnxruntime
    torch_accuracy: float  # of the stored model
    agreement: float  # share of images with the same label from both
    largest_difference: float  # between the two, of any class's probability for any image


def export_onnx(model: Classifier, dataset: Dataset, path: Path, precision: Precision = "float32") -> Export:
    """Write a model as ONNX, once it was seen to answer as torch does.

    Args:
        model: what `load_model` returned.
        dataset: its test split is what the two are compared on; int8 also takes typical images from its training split.
        path: replaced atomically.
        precision: of weights and products; int8 is a quarter of the size.

    Raises:
        ModelError: the file would answer differently, or the model is of another contract. Nothing was written.
        DatasetError: the dataset is missing or changed.
    """
    require_equal(dataset.contract, model.contract, model.tag, ModelError)
    require_writable(path.parent)
    test = read_split(dataset, "test")
    expected = _ask_torch(model, test.images)
    if not np.isfinite(expected).all():
        raise ModelError(f"{model.tag}: it gives probabilities that are not finite, so there is nothing to export")
    content = _build(model, precision, dataset).SerializeToString()
    found, labels = _ask_onnx(content, test.images)
    export = Export(
        path=path,
        tag=model.tag,
        precision=precision,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        accuracy=float((labels == test.labels).mean()),
        torch_accuracy=float((expected.argmax(axis=1) == test.labels).mean()),
        agreement=float((labels == expected.argmax(axis=1)).mean()),
        largest_difference=float(np.abs(found - expected).max()),
    )
    _check(export)
    write_whole(path, content)
    return export


def _check(export: Export) -> None:
    """Raises ModelError where the bounds of the precision are not kept."""
    of_labels, of_accuracy = 1 - export.agreement, abs(export.accuracy - export.torch_accuracy)
    if export.precision == "float32":
        passed = of_labels <= MAX_LABELS_CHANGED and export.largest_difference <= MAX_DISTANCE
        found = f"{of_labels:.2%} of the labels, and probabilities by up to {export.largest_difference:.2g}"
        expected = f"at most {MAX_LABELS_CHANGED:.2%}, and {MAX_DISTANCE}"
        advice = "this is an error of the export, not of the model"
    else:
        passed = of_accuracy <= MAX_ACCURACY_CHANGED
        found = f"the accuracy from {export.torch_accuracy:.4f} to {export.accuracy:.4f}"
        expected = f"within {MAX_ACCURACY_CHANGED}"
        advice = "float32 keeps it"
    if not passed:
        changed = f"{export.tag}: on the test split {export.precision} would change {found}; expected {expected}"
        raise ModelError(f"{changed}. Nothing was written; {advice}")


def _ask_torch(model: Classifier, images: Images) -> NDArray[np.float32]:
    return np.concatenate([model.probabilities(some).numpy() for some in _in_steps(images)])


def _ask_onnx(content: bytes, images: Images) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers = [session.run(["probabilities", "labels"], {"images": some}) for some in _in_steps(images)]
    probabilities, labels = zip(*answers, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def _in_steps(images: Images) -> list[Images]:
    return [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]


# --- the file ---


@dataclass
class _Graph:
    """Nodes and constants, in the order in which they are added."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, output: str = "", unused: int = 0, **attributes: Any) -> str:
        """Add a node and return the name of its first output; the others, so many, are not used."""
        output = output or f"{kind.lower()}{len(self.nodes)}"
        others = [f"{output}.{number}" for number in range(unused)]
        self.nodes.append(helper.make_node(kind, inputs, [output, *others], **attributes))
        return output


def _build(model: Classifier, precision: Precision, dataset: Dataset) -> ModelProto:
    graph = _Graph()
    layers, activation = _dense_layers(model.network), model.network.config.activation
    if precision == "float32":
        logits = _add_float_layers(graph, layers, activation)
    else:
        images = read_split(dataset, "train").images
        typical = images[:: max(1, len(images) // CALIBRATION_IMAGES)][:CALIBRATION_IMAGES]
        logits = _add_int_layers(graph, layers, activation, typical)
    _add_outputs(graph, logits, model.card)
    return _to_model(graph, model.contract, _metadata(model, precision))


def _dense_layers(network: MLP) -> list[nn.Linear]:
    """The dense layers, each with the batch norm after it folded in; dropout does nothing any more."""
    layers: list[nn.Linear] = []
    for module in network:
        if isinstance(module, nn.Linear):
            layers.append(module)
        elif isinstance(module, nn.BatchNorm1d):
            layers.append(fuse_linear_bn_eval(layers.pop(), module))
    return layers


def _add_float_layers(graph: _Graph, layers: list[nn.Linear], activation: str) -> str:
    pixels = graph.add("Cast", graph.add("Flatten", "images"), to=TensorProto.FLOAT)
    values = graph.add("Div", pixels, graph.constant("white", np.float32(255)))
    for number, layer in enumerate(layers, 1):
        weight = graph.constant(f"dense{number}.weight", layer.weight.detach().numpy())
        bias = graph.constant(f"dense{number}.bias", layer.bias.detach().numpy())
        values = graph.add("Gemm", values, weight, bias, transB=1)
        if number < len(layers):
            values = graph.add(NODES[activation], values)
    return values


@torch.inference_mode()
def _add_int_layers(graph: _Graph, layers: list[nn.Linear], activation: str, typical: Images) -> str:
    """Products of bytes, added up in int32. The steps and zeros are fixed here, from typical images.

    Steps taken from the images at hand (onnxruntime's quantize_dynamic) would make an answer depend on which other
    images are asked about with it. The pixels are bytes already, so that the first layer's input loses nothing.
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


def _add_outputs(graph: _Graph, logits: str, card: ModelCard) -> None:
    temperature = graph.constant("temperature", np.float32(card.calibration.temperature))
    thresholds = graph.constant("thresholds", card.calibration.bars(len(card.classes)))
    graph.add("Softmax", graph.add("Div", logits, temperature), output="probabilities", axis=1)
    graph.add("ArgMax", "probabilities", output="labels", axis=1, keepdims=0)
    highest = graph.add("ReduceMax", "probabilities", graph.constant("classes", np.array([1])), keepdims=0)
    probable = graph.add("Greater", highest, graph.add("Gather", thresholds, "labels"))
    sure = graph.add("And", probable, _add_content(graph, card.contract.image))
    graph.add("Cast", sure, output="sure", to=TensorProto.UINT8)  # onnxruntime's bindings for iOS read no bool


def _add_content(graph: _Graph, image: ImageSpec) -> str:
    """Whether each image shows something, by the rule of `has_content` step by step."""
    each, few = graph.constant("content.each", np.array([1])), content.few_of(image.shape)

    def number(name: str, value: float) -> str:
        return graph.constant(f"content.{name}", np.float32(value))

    def grey() -> str:
        """The images' brightness, uint8's numbers as float32 (n, height, width)."""
        colours = graph.add("Cast", "images", to=TensorProto.FLOAT)
        brightness = graph.add("MatMul", colours, graph.constant("content.luma", content.LUMA.astype(np.float32)))
        return graph.add("Floor", graph.add("Div", brightness, number("whole", content.LUMA.sum())))

    def total(values: str) -> str:
        return graph.add("ReduceSum", values, each, keepdims=0)

    def products(axis: int) -> str:
        """Each pixel's with its neighbour along an axis, added up."""
        side = image.shape[axis - 1]
        places = {"first": 0, "second": 1, "last": side - 1, "end": side}
        steps = {name: graph.constant(f"content.{name}{axis}", np.array([value])) for name, value in places.items()}
        along = graph.constant(f"content.axis{axis}", np.array([axis]))
        first = graph.add("Slice", square, steps["first"], steps["last"], along)
        second = graph.add("Slice", square, steps["second"], steps["end"], along)
        return total(graph.add("Flatten", graph.add("Mul", first, second)))

    shown = "images" if image.channels == 1 else grey()
    pixels = graph.add("Cast", graph.add("Flatten", shown), to=TensorProto.FLOAT)
    black = graph.add("LessOrEqual", pixels, number("black", content.BLACK))
    count = total(graph.add("Cast", black, to=TensorProto.FLOAT))
    background = graph.add("Greater", count, number("background", 2 * few))
    centred = graph.add("Sub", pixels, graph.add("ReduceMean", pixels, each))
    square = graph.add("Reshape", centred, graph.constant("content.shape", np.array([-1, image.height, image.width])))
    least = graph.add("Mul", total(graph.add("Mul", centred, centred)), number("related", content.RELATED))
    related = graph.add("GreaterOrEqual", graph.add("Max", products(1), products(2)), least)
    stray = graph.constant("content.stray", np.array([few + 1]))
    brightest = graph.add("ReduceMin", graph.add("TopK", pixels, stray, unused=1, largest=1), each, keepdims=0)
    darkest = graph.add("ReduceMax", graph.add("TopK", pixels, stray, unused=1, largest=0), each, keepdims=0)
    contrast = graph.add("Sub", brightest, darkest)
    enough = graph.add("GreaterOrEqual", contrast, number("contrast", content.CONTRAST))
    return graph.add("And", enough, graph.add("Or", background, related))


def _to_model(graph: _Graph, contract: DataContract, metadata: dict[str, str]) -> ModelProto:
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *contract.image.shape])
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
        "data_contract": json.dumps(asdict(card.contract) | {"fingerprint": card.contract.fingerprint}),
        "temperature": str(card.calibration.temperature),  # the graph has divided by it
        "thresholds": json.dumps(card.calibration.thresholds),  # and compared with these
        "preset": card.preset,
        "source": card.source,
        "dataset_version": card.dataset_version,
        "weights_sha256": card.weights_sha256,
    }
