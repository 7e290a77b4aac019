"""An MLP whose first layers are convolutions during training.

A convolution is a dense layer whose weights are mostly zero and otherwise shared ("tied"). An MLP that is trained that
way first, then untied and trained further as plain dense layers, reaches an accuracy that it does not reach from random
weights (arXiv:1906.06766). The stored model has dense layers and activations only.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from components.contract import DataContract, ImageSpec
from components.model.mlp import ACTIVATIONS, MLP, ModelConfig

STRIDE = 2  # of a tied layer, unless the configuration names another
MAX_SIDE = 32  # pixels; tied layers see larger images averaged down to this longer side
UNROLLED_AT_ONCE = 4096  # input units, columns of the weight matrix, per forward pass


def sides_seen(image: ImageSpec) -> tuple[int, int]:
    """Return the rows and columns of an image as the tied layers see it."""
    share = min(1.0, MAX_SIDE / max(image.height, image.width))
    return max(1, round(image.height * share)), max(1, round(image.width * share))


def grids(image: ImageSpec, strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the rows and columns of the output grid of each tied layer."""
    (height, width), found = sides_seen(image), []
    for stride in strides:
        height, width = -(-height // stride), -(-width // stride)
        found.append((height, width))
    return found


class TiedMLP(nn.Sequential):
    """Maps flattened images, float32 (n, pixels * channels), to logits, float32 (n, classes).

    Hidden layer i, of channels x height x width units, is a convolution with the i-th kernel size and stride; the
    layers after the last kernel are dense. Batch norm precedes each activation; dropout follows dense layers only.

    Images whose longer side exceeds 32 pixels are averaged down first. Unrolled to a dense layer, the first layer has a
    weight per input value and unit, so it would otherwise grow with the square of the number of pixels.
    """

    def __init__(
        self, config: ModelConfig, kernels: tuple[int, ...], contract: DataContract, strides: tuple[int, ...] = ()
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(image=ToImages(contract.image))
        channels: int = contract.image.channels
        height, width = sides_seen(contract.image)
        strides = strides or (STRIDE,) * len(kernels)
        tied = zip(kernels, strides, config.hidden, grids(contract.image, strides), strict=False)
        for number, (kernel, stride, units, (height, width)) in enumerate(tied, 1):
            after = units // (height * width)
            layers[f"dense{number}"] = nn.Conv2d(channels, after, kernel, stride, kernel // 2, bias=False)
            layers[f"norm{number}"] = nn.BatchNorm2d(after)
            layers[f"{config.activation}{number}"] = ACTIVATIONS[config.activation]()
            channels = after
        layers["units"] = ToUnits()
        before = channels * height * width
        for number, units in enumerate(config.hidden[len(kernels) :], len(kernels) + 1):
            layers[f"dense{number}"] = nn.Linear(before, units, bias=False)
            layers[f"norm{number}"] = nn.BatchNorm1d(units)
            layers[f"{config.activation}{number}"] = ACTIVATIONS[config.activation]()
            layers[f"dropout{number}"] = nn.Dropout(config.dropout)
            before = units
        layers["logits"] = nn.Linear(before, len(contract.classes))
        super().__init__(layers)
        self.to(memory_format=torch.channels_last)
        self.config, self.contract = config, contract


class ToImages(nn.Module):
    """Reshapes float (n, pixels * channels) to (n, channels, height, width) without a copy; RGB is channels-last.

    Averages larger images down to the size that the tied layers see.
    """

    def __init__(self, image: ImageSpec) -> None:
        super().__init__()
        self.image, sides = image, sides_seen(image)
        self.seen = nn.Identity() if sides == (image.height, image.width) else nn.AdaptiveAvgPool2d(sides)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.image.channels == 1:  # no permute: PyTorch would infer another memory format from its strides
            images = x.view(-1, 1, self.image.height, self.image.width)
        else:
            images = x.view(-1, *self.image.shape).permute(0, 3, 1, 2)
        return cast(Tensor, self.seen(images))


class ToUnits(nn.Module):
    """Flattens float (n, channels, height, width) to (n, units), in the order row, column, channel.

    This is the order of channels-last memory, which the convolutions use: nothing is copied, and the gradient has the
    layout of the activations. In another layout, a step of the flagship takes 1.8 times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.permute(0, 2, 3, 1).flatten(1)


@torch.no_grad()
def to_dense(network: MLP | TiedMLP) -> MLP:
    """Convert a network to an equivalent one of dense layers and activations, for evaluation or further training.

    Convolutions are unrolled to dense layers; batch norms are folded into the preceding layers.
    """
    if isinstance(network, MLP) and not network.config.batch_norm:
        return network
    network.eval()
    modules = dict(network.named_children())
    plain = MLP(replace(network.config, batch_norm=False), network.contract)
    image = network.contract.image
    shape: tuple[int, int, int] = (image.channels, image.height, image.width)
    for number in range(1, len(network.config.hidden) + 1):
        layer, norm = modules[f"dense{number}"], cast(_BatchNorm, modules[f"norm{number}"])
        if isinstance(layer, nn.Conv2d):
            fused = fuse_conv_bn_eval(layer, norm)
            seen = cast(ToImages, modules["image"]).seen
            dense, shape = _unroll(nn.Sequential(seen, fused) if number == 1 else fused, shape)
        else:
            dense = fuse_linear_bn_eval(cast(nn.Linear, layer), norm)
        plain.get_submodule(f"dense{number}").load_state_dict(dense.state_dict())
    plain.get_submodule("logits").load_state_dict(modules["logits"].state_dict())
    return plain


def _unroll(layer: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Linear, tuple[int, int, int]]:
    """Unroll a convolution to a dense layer: its response to each unit vector is a column of the weights.

    Args:
        layer: A convolution with a bias, optionally after average pooling.
        shape: (channels, height, width) of its input.

    Returns:
        The dense layer, and the (channels, height, width) of its output.
    """
    channels, height, width = shape
    units, to_units = channels * height * width, ToUnits()
    bias = layer(torch.zeros(1, *shape))
    weight = torch.empty(bias.numel(), units)
    for start in range(0, units, UNROLLED_AT_ONCE):
        single = torch.zeros(min(UNROLLED_AT_ONCE, units - start), units)
        single.diagonal(start).fill_(1)
        responses = layer(single.view(-1, height, width, channels).permute(0, 3, 1, 2)) - bias
        weight[:, start : start + len(single)] = to_units(responses).T
    dense = nn.Linear(units, bias.numel())
    dense.load_state_dict({"weight": weight, "bias": to_units(bias).flatten()})
    return dense, (bias.shape[1], bias.shape[2], bias.shape[3])
