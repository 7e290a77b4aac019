"""Adam on PyTorch's fused kernel, Muon, and the learning rate schedules.

`torch.optim.AdamW(fused=True)` calls the same kernel, but its overhead makes a step of dense-128 at batch size 32 take
1.4 times as long (torch 2.15), and constructing it imports PyTorch's compiler, which takes two seconds. A test checks
that the two are bit-identical. The same holds for `torch.optim.Muon`.
"""

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from components.training.config import TrainConfig

WARM_UP = 0.3  # share of the steps in which a one-cycle rate rises
MOMENTUM = 0.95  # of Muon
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the polynomial that Muon applies five times
EPSILON = 1e-7  # added to the denominator; Keras' default (PyTorch's is 1e-8)
FIRST, LAST = 1 / 25, 1 / 250_000  # one-cycle: initial and final rate, relative to the peak


class FusedAdam:
    """AdamW (arXiv:1711.05101) over float32 parameters; Adam (arXiv:1412.6980) if `weight_decay` is 0."""

    def __init__(self, parameters: Iterable[Tensor], weight_decay: float = 0.0) -> None:
        self.weight_decay = weight_decay
        self.parameters = list(parameters)
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = torch.zeros((), device=self.parameters[0].device)  # steps taken

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer state, by name."""
        named = {"mean": self.means, "square": self.squares, "count": [self.count]}
        return {f"{name}{number}": tensor for name, tensors in named.items() for number, tensor in enumerate(tensors)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the optimizer state."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Take one step at this learning rate. Every parameter must have a gradient."""
        self.count.add_(1)
        torch._fused_adamw_(
            self.parameters,
            [parameter.grad for parameter in self.parameters],  # type: ignore[misc]
            self.means,
            self.squares,
            [],
            [self.count] * len(self.parameters),
            lr=lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


class Muon(FusedAdam):
    """Muon (arXiv:2502.16982) over the weights of the hidden layers but the first, AdamW over all other parameters.

    Muon replaces the momentum of a weight matrix by the nearest matrix whose singular values are all about 1.
    """

    def __init__(self, network: nn.Module, ratio: float, weight_decay: float, bfloat16: bool) -> None:
        """`ratio` is Muon's rate relative to Adam's, `bfloat16` the precision of its matrix products."""
        weights = [layer.weight for layer in network.children() if isinstance(layer, nn.Linear | nn.Conv2d)]
        self.matrices, chosen = weights[1:-1], set(weights[1:-1])
        super().__init__((one for one in network.parameters() if one not in chosen), weight_decay)
        self.ratio, self.dtype = ratio, torch.bfloat16 if bfloat16 else torch.float32
        self.momenta = [torch.zeros_like(weight) for weight in self.matrices]

    def state_dict(self) -> dict[str, Tensor]:
        """See the base class."""
        return {**super().state_dict(), **{f"momentum{number}": one for number, one in enumerate(self.momenta)}}

    def zero_grad(self) -> None:
        """See the base class."""
        super().zero_grad()
        for weight in self.matrices:
            weight.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """See the base class."""
        super().step(lr)
        rate = lr * self.ratio
        for weight, momentum in zip(self.matrices, self.momenta, strict=True):
            gradient = cast(Tensor, weight.grad)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalize(gradient.lerp(momentum, MOMENTUM).flatten(1).to(self.dtype))
            rows, columns = update.shape
            weight.mul_(1 - rate * self.weight_decay)
            weight.add_(update.view_as(weight), alpha=-rate * math.sqrt(max(1, rows / columns)))


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about U V for a matrix U S V, by five Newton-Schulz iterations; singular values end within 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp(min=EPSILON)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x


def rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate of one step.

    Args:
        step: Index of the step, from 0.
        steps: Number of steps of the training.
        config: Configuration with the schedule. "inverse-time" is Keras' `InverseTimeDecay` with decay_steps 1;
            "one-cycle" is `torch.optim.lr_scheduler.OneCycleLR` (arXiv:1708.07120) with its defaults.
    """
    highest = config.learning_rate
    if config.schedule == "inverse-time":
        return highest / (1 + config.decay * step)
    if config.schedule == "one-cycle":
        turn = WARM_UP * steps - 1
        if step <= turn:
            return _cosine(FIRST * highest, highest, step / turn)
        return _cosine(highest, LAST * highest, (step - turn) / (steps - 1 - turn))
    return highest


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
