"""Hand-written gradients of a plain MLP.

They equal autograd's, as a test checks, and avoid autograd's overhead around the matrix products. While a network
trains, its weights lie transposed in memory, inputs by units: small batches are multiplied in two thirds of the time.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from components.model.mlp import MLP
from components.training.config import TrainConfig
from components.training.hardware import Hardware
from components.training.tied import TiedMLP


class Gradients:
    """Forward and backward pass of float32 dense layers with ReLU and optional dropout, in training mode.

    The network keeps its parameters, with another memory layout, and gets gradients that each call overwrites.

    Attributes:
        layers: Weights (inputs, units) and biases (units,) of each layer, contiguous views of the network's parameters.
    """

    def __init__(self, network: MLP | TiedMLP) -> None:
        self.layers = [transpose(layer) for layer in network if isinstance(layer, nn.Linear)]
        self.dropout = network.config.dropout

    @staticmethod
    def fit(network: MLP | TiedMLP, config: TrainConfig, hardware: Hardware) -> bool:
        """Return whether these gradients apply to a training."""
        plain = isinstance(network, MLP) and network.config.activation == "relu" and not network.config.batch_norm
        return plain and not (config.label_smoothing or config.muon or hardware.bfloat16)

    def parameters(self) -> list[Tensor]:
        """Return the contiguous views, with their gradients. PyTorch's fused Adam copies tensors that are not."""
        return [parameter for layer in self.layers for parameter in layer]

    def rows(self, targets: Tensor) -> Tensor:
        """Return targets, int64 (n,) or float32 (n, classes), as one row per image, float32 (n, classes)."""
        return targets if targets.is_floating_point() else one_hot(targets, len(self.layers[-1][1])).float()

    def __call__(self, x: Tensor, rows: Tensor) -> Tensor:
        """Run a forward pass and set the gradients of the mean cross-entropy.

        Args:
            x: float32 (b, pixels * channels).
            rows: float32 (b, classes); each sums to 1.

        Returns:
            The logits, float32 (b, classes).
        """
        inputs = [x]
        for weight, bias in self.layers[:-1]:
            units = torch._addmm_activation(bias, inputs[-1], weight)  # ReLU
            inputs.append(drop(units, self.dropout) if self.dropout else units)
        weight, bias = self.layers[-1]
        logits = torch.addmm(bias, inputs[-1], weight)
        gradient = torch.softmax(logits, 1).sub_(rows).mul_(1 / len(x))
        for (weight, bias), given in zip(self.layers[::-1], inputs[::-1], strict=True):
            torch.mm(given.t(), gradient, out=weight.grad)
            torch.sum(gradient, 0, out=bias.grad)
            if given is not x:  # a unit of 0 was dropped or inactive, so its gradient is 0
                gradient = torch.ops.aten.threshold_backward(torch.mm(gradient, weight.t()), given, 0)
                if self.dropout:
                    gradient.div_(1 - self.dropout)
        return logits


def transpose(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Transpose the weights of a layer in memory, and give it gradients. Returns contiguous views: weights and bias."""
    weight, bias = layer.weight.data.t().contiguous(), layer.bias.data
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    layer.weight.data = weight.t()
    layer.weight.grad, layer.bias.grad = weight.grad.t(), bias.grad
    return weight, bias


def drop(x: Tensor, probability: float) -> Tensor:
    """Apply dropout in place: zero each unit with this probability, and divide the others by 1 - probability.

    Draws 16 random bits per unit, four units at a time. `nn.Dropout` draws a double per unit and takes twice as long.
    """
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: x.numel()].view_as(x) >= round(probability * 2**16) - 2**15
    return x.mul_(kept.to(x.dtype).div_(1 - probability))
