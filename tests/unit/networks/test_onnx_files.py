"""Somebody's ONNX networks: those that fit are adapted, all others are refused with what was found."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import SIDE, make_network
from onnx import TensorProto, helper, numpy_helper

from components.errors import ModelError, SettingsError
from components.networks.onnx_files import DEVIATION, MEAN, adapt
from components.networks.sources import read_network

CHANNELS = 5


def convolve(taken: Any, made: Any, name: str = "values", output: str = "features", **options: Any) -> bytes:
    """A network of one convolution: float32 (n, 3, side, side) -> float32 (n, 5, side / 8, side / 8)."""
    weight = np.random.default_rng(0).normal(size=(CHANNELS, 3, 8, 8)).astype(np.float32)
    node = helper.make_node("Conv", [name, "weight"], [output], kernel_shape=[8, 8], strides=[8, 8], **options)
    graph = helper.make_graph([node], "features", [taken], [made], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def run(content: bytes, taken: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: taken})[0])


@pytest.mark.parametrize(("name", "output"), [("values", "features"), ("photos", "vector")])
def test_a_network_of_normalized_channels_takes_photos_and_returns_averages(name: str, output: str) -> None:
    plain = convolve(value(name, "n", 3, SIDE, SIDE), value(output, "n", CHANNELS, 4, 4), name, output)
    photos = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    normalized = ((photos / np.float32(255) - MEAN) / DEVIATION).transpose(0, 3, 1, 2).astype(np.float32)
    expected = run(plain, normalized).mean(axis=(2, 3))
    np.testing.assert_allclose(run(adapt(plain, "here"), photos), expected, atol=1e-4)


def test_a_network_that_fits_is_the_same_network() -> None:
    photos = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    assert np.array_equal(run(adapt(make_network(), "here"), photos), run(make_network(), photos))


def test_the_same_file_gives_the_same_bytes() -> None:
    plain = convolve(value("values", "n", 3, SIDE, SIDE), value("features", "n", CHANNELS, 4, 4))
    assert adapt(plain, "here") == adapt(plain, "there")


def test_what_an_exporter_wrote_about_its_machine_is_left_out() -> None:
    model = onnx.load_model_from_string(make_network())
    for one in (model, model.graph, model.graph.node[0]):
        one.doc_string = "/home/somebody/model.py"
        one.metadata_props.add(key="trace", value="/home/somebody/model.py")
    assert b"somebody" not in adapt(model.SerializeToString(), "here")


PHOTOS, VECTOR = value("values", "n", 3, SIDE, SIDE), value("features", "n", CHANNELS, 4, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an ONNX network: "),
        (b"no network", "not an ONNX network: "),
        (make_network()[:-40], "not an ONNX network: "),
        (convolve(value("values", "n", 3, "rows", "columns"), VECTOR), r"takes FLOAT \[0, 3, 0, 0\], expected .*fixed"),
        (convolve(value("values", "n", 3, 32, 64), value("features", "n", 5, 4, 8)), r"takes FLOAT \[0, 3, 32, 64\]"),
        (convolve(PHOTOS, value("features", "n", "channels", 4, 4)), r"returns FLOAT \[0, 0, 4, 4\], expected"),
    ],
    ids=["empty", "text", "torn", "no fixed side", "not square", "no fixed size"],
)
def test_another_network_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=f"^network here: {message}"):
        adapt(content, "here")


def test_a_network_with_two_outputs_is_refused() -> None:
    model = onnx.load_model_from_string(make_network())
    model.graph.output.append(value("means", "n", 3, 4, 4))
    with pytest.raises(ModelError, match="1 inputs and 2 outputs, expected one each"):
        adapt(model.SerializeToString(), "here")


def test_operators_of_another_domain_are_refused() -> None:
    model = onnx.load_model_from_string(make_network())
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[0].domain = "com.example"
    with pytest.raises(ModelError, match=r"has operators of com\.example, expected ONNX's own only"):
        adapt(model.SerializeToString(), "here")


def test_a_network_for_one_photo_at_a_time_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(make_network())
    for one in (model.graph.input[0], model.graph.output[0]):
        one.type.tensor_type.shape.dim[0].Clear()
        one.type.tensor_type.shape.dim[0].dim_value = 1
    (tmp_path / "one.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"network one\.onnx: does not take one and two photos; export it"):
        read_network(str(tmp_path / "one.onnx"))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match="network here: needs onnx; install the extra photos"):
        adapt(make_network(), "here")


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    """Their bytes are not part of the hash that the data contract names."""
    model = onnx.load_model_from_string(make_network())
    weights = numpy_helper.from_array(np.ones(3, np.float32), "elsewhere")
    model.graph.initializer.append(weights)
    path = tmp_path / "mine.onnx"
    onnx.save(model, path, save_as_external_data=True, location="mine.data", size_threshold=0)
    with pytest.raises(ModelError, match=r"has weights in other files, expected all in this one: onnx\.save"):
        adapt(path.read_bytes(), path)
