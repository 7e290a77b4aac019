"""Adapt somebody's ONNX network: photos as uint8 in, one vector per photo out.

A network that takes float32 (n, 3, side, side) gets ImageNet's normalization in front, as torchvision's and timm's
pretrained networks expect it. An output (n, channels, rows, columns) is averaged over rows and columns.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import ModelError, SettingsError
from components.networks.embedder import INSTALL

if TYPE_CHECKING:
    import onnx

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet's red, green and blue, 0 to 1
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
PREFIX = "adapted."  # of the names that are added, so that they differ from the network's


def adapt(content: bytes, where: Path | str) -> bytes:
    """Return the network as one that takes uint8 (n, side, side, 3) and returns float32 (n, size).

    Raises:
        SettingsError: onnx is not installed.
        ModelError: not an ONNX network, or it takes or returns something else.
    """
    try:
        import onnx
        from onnx.external_data_helper import _get_all_tensors, uses_external_data
        from onnx.inliner import inline_local_functions
    except ModuleNotFoundError as error:
        raise SettingsError(f"network {where}: needs onnx; {INSTALL}") from error
    try:
        model = inline_local_functions(onnx.load_model_from_string(content))
        has_other_files = any(map(uses_external_data, _get_all_tensors(model)))
        if not has_other_files:
            onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # a damaged file raises any of protobuf's and onnx's own errors
        reason = (str(error).splitlines() or ["empty"])[0]
        raise ModelError(f"network {where}: not an ONNX network: {reason}") from error
    if has_other_files:  # whose bytes would not be part of the network's hash
        expected = "all in this one: onnx.save(model, path, save_as_external_data=False)"
        raise ModelError(f"network {where}: has weights in other files, expected {expected}")
    graph = model.graph
    if domains := {node.domain for node in graph.node} - {"", "ai.onnx"}:
        raise ModelError(f"network {where}: has operators of {min(domains)}, expected ONNX's own only")
    weights = {one.name for one in graph.initializer}
    taken = [one for one in graph.input if one.name not in weights]
    if len(taken) != 1 or len(graph.output) != 1:
        raise ModelError(f"network {where}: {len(taken)} inputs and {len(graph.output)} outputs, expected one each")
    _take_photos(graph, taken[0], where)
    _return_vectors(graph, where)
    for one in (*graph.node, graph, model):  # exporters write stack traces, with the paths of their machine
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    graph.ClearField("value_info")
    return bytes(model.SerializeToString(deterministic=True))


def _take_photos(graph: "onnx.GraphProto", taken: "onnx.ValueInfoProto", where: Path | str) -> None:
    from onnx import TensorProto, helper, numpy_helper

    kind, shape = taken.type.tensor_type.elem_type, _shape_of(taken)
    if kind == TensorProto.UINT8 and len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2]:
        return
    if kind != TensorProto.FLOAT or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or not shape[2]:
        expected = "uint8 (n, side, side, 3) or float32 (n, 3, side, side), with a fixed side"
        raise ModelError(f"network {where}: takes {TensorProto.DataType.Name(kind)} {shape}, expected {expected}")
    name, side = taken.name, shape[2]
    constants = {PREFIX + "mean": 255 * MEAN, PREFIX + "deviation": 255 * DEVIATION}
    before = [
        helper.make_node("Cast", [PREFIX + "photos"], [PREFIX + "levels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", [PREFIX + "levels", PREFIX + "mean"], [PREFIX + "centred"]),
        helper.make_node("Div", [PREFIX + "centred", PREFIX + "deviation"], [PREFIX + "scaled"]),
        helper.make_node("Transpose", [PREFIX + "scaled"], [name], perm=[0, 3, 1, 2]),
    ]
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.remove(taken)
    graph.input.append(helper.make_tensor_value_info(PREFIX + "photos", TensorProto.UINT8, ["n", side, side, 3]))


def _return_vectors(graph: "onnx.GraphProto", where: Path | str) -> None:
    from onnx import TensorProto, helper

    made = graph.output[0]
    kind, shape = made.type.tensor_type.elem_type, _shape_of(made)
    if kind != TensorProto.FLOAT or len(shape) not in (2, 4) or not shape[1]:
        expected = "float32 (n, size) or (n, channels, rows, columns)"
        raise ModelError(f"network {where}: returns {TensorProto.DataType.Name(kind)} {shape}, expected {expected}")
    if len(shape) == 2:
        return
    graph.node.append(helper.make_node("GlobalAveragePool", [made.name], [PREFIX + "pooled"]))
    graph.node.append(helper.make_node("Flatten", [PREFIX + "pooled"], [PREFIX + "vector"], axis=1))
    size = shape[1]
    graph.output.remove(made)
    graph.output.append(helper.make_tensor_value_info(PREFIX + "vector", TensorProto.FLOAT, ["n", size]))


def _shape_of(value: "onnx.ValueInfoProto") -> list[Any]:
    """The sizes of a tensor; 0 or a name where a size is not fixed."""
    return [axis.dim_value or 0 for axis in value.type.tensor_type.shape.dim]
