"""Hand-written gradients of a plain MLP.

They equal autograd's, as a test checks, and avoid autograd's overhead around the matrix products.
"""

import torch
from torch import Tensor, nn

from components.model.mlp import MLP
from components.training.config import TrainConfig
from components.training.hardware import Hardware
from components.training.tied import TiedMLP


class Gradients:
    """Forward and backward pass of float32 dense layers with ReLU and optional dropout, in training mode."""

    def __init__(self, network: MLP | TiedMLP) -> None:
        self.layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        self.dropout = network.config.dropout
        self.one_hot = torch.eye(self.layers[-1].out_features, device=self.layers[0].weight.device)

    @staticmethod
    def fit(network: MLP | TiedMLP, config: TrainConfig, hardware: Hardware) -> bool:
        """Return whether these gradients apply to a training."""
        plain = isinstance(network, MLP) and network.config.activation == "relu" and not network.config.batch_norm
        return plain and not config.label_smoothing and not hardware.bfloat16

    @torch.no_grad()
    def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
        """Run a forward pass and set the gradients of the mean cross-entropy.

        Args:
            x: float32 (b, pixels * channels).
            targets: int64 (b,), or float32 (b, classes) with rows that sum to 1.

        Returns:
            The logits, float32 (b, classes).
        """
        inputs = [x]
        for layer in self.layers[:-1]:
            units = torch.addmm(layer.bias, inputs[-1], layer.weight.t()).relu_()
            inputs.append(drop(units, self.dropout) if self.dropout else units)
        logits = torch.addmm(self.layers[-1].bias, inputs[-1], self.layers[-1].weight.t())
        rows = targets if targets.is_floating_point() else self.one_hot.index_select(0, targets)
        gradient = torch.softmax(logits, 1).sub_(rows).div_(len(x))
        for layer, given in zip(self.layers[::-1], inputs[::-1], strict=True):
            layer.weight.grad = torch.mm(gradient.t(), given)
            layer.bias.grad = gradient.sum(0)
            if given is not x:  # a unit of 0 was dropped or inactive, so its gradient is 0
                gradient = torch.ops.aten.threshold_backward(torch.mm(gradient, layer.weight), given, 0)
                if self.dropout:
                    gradient.div_(1 - self.dropout)
        return logits


def drop(x: Tensor, probability: float) -> Tensor:
    """Apply dropout in place: zero each unit with this probability, and divide the others by 1 - probability.

    Draws 16 random bits per unit, four units at a time. `nn.Dropout` draws a double per unit and takes twice as long.
    """
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: x.numel()].view_as(x) >= round(probability * 2**16) - 2**15
    return x.mul_(kept.to(x.dtype).div_(1 - probability))
