"""Adam, Muon and the learning rate schedules, compared with PyTorch and Keras."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from components.training.config import TrainConfig
from components.training.optimizer import FusedAdam, Muon, orthogonalize, rate_at


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_fused_adam_is_bit_identical_to_pytorch_s(weight_decay: float) -> None:
    torch.manual_seed(0)
    ours = [torch.randn(5, 3, requires_grad=True), torch.randn(3, requires_grad=True)]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    fused = FusedAdam(ours, weight_decay)
    reference = torch.optim.AdamW(theirs, weight_decay=weight_decay, eps=1e-7, fused=True)
    for rate in (0.01, 0.02, 1e-5, 0.0, 0.5):
        fused.zero_grad()
        reference.zero_grad()
        for weights in (ours, theirs):
            (weights[0] @ weights[1]).square().sum().backward()
        reference.param_groups[0]["lr"] = rate
        fused.step(rate)
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.Conv2d(6, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 80)]
    return nn.Sequential(*layers, nn.Linear(80, 12), nn.Linear(12, 3))


def set_gradients(of: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in of.parameters():
        parameter.grad = torch.randn(parameter.shape)


def test_muon_equals_pytorch_s_for_the_hidden_layers_but_the_first_and_adam_for_the_rest() -> None:
    ours, theirs = network(), network()
    weights = dict(theirs.named_parameters())
    convolution, *dense = chosen = [weights[f"{place}.weight"] for place in (1, 4, 5)]
    flat = convolution.detach().flatten(1).clone().requires_grad_()  # PyTorch's takes matrices only
    others = [one for one in theirs.parameters() if all(one is not weight for weight in chosen)]
    muon, adam = Muon(ours, 0.5, 0.1, bfloat16=True), torch.optim.AdamW(others, weight_decay=0.1, eps=1e-7, fused=True)
    reference = torch.optim.Muon([flat, *dense], weight_decay=0.1, momentum=0.95)
    for step, rate in enumerate((0.01, 0.02, 1e-5, 0.0, 0.5)):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        assert convolution.grad is not None
        flat.grad = convolution.grad.flatten(1)
        reference.param_groups[0]["lr"], adam.param_groups[0]["lr"] = rate / 2, rate
        muon.step(rate)
        reference.step()
        adam.step()
    with torch.no_grad():
        convolution.copy_(flat.view_as(convolution))
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)  # two orders of bfloat16 products
    muon.zero_grad()
    assert all(parameter.grad is None for parameter in ours.parameters())


@pytest.mark.parametrize("shape", [(8, 50), (50, 8), (8, 8)])
def test_an_orthogonalized_matrix_keeps_its_singular_vectors(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonalize(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    middle: Tensor = left.T @ found @ right.T
    values = middle.diagonal()
    torch.testing.assert_close(middle, values.diag(), rtol=0, atol=1e-4)
    assert ((values > 0.3) & (values < 1.3)).all()


@pytest.mark.parametrize("decay", [0.0, 1e-3, 1.0])
def test_the_inverse_time_rate_equals_keras_at_every_step(decay: float) -> None:
    """initial_learning_rate / (1 + decay_rate * step / decay_steps), with decay_steps 1."""
    config = TrainConfig(learning_rate=0.02, schedule="inverse-time", decay=decay)
    assert [rate_at(step, 500, config) for step in range(500)] == pytest.approx(
        [0.02 / (1 + decay * step / 1) for step in range(500)], rel=1e-12
    )


def rates_of_pytorch(highest: float, steps: int) -> Iterator[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=highest)
    scheduler = OneCycleLR(optimizer, highest, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        yield float(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 10, 34, 1000])
def test_the_one_cycle_rate_equals_pytorch_s_at_every_step(steps: int) -> None:
    config = TrainConfig(learning_rate=0.02, schedule="one-cycle")
    found = [rate_at(step, steps, config) for step in range(steps)]
    assert found == pytest.approx(list(rates_of_pytorch(0.02, steps)), rel=1e-9)


def test_the_constant_rate_is_constant() -> None:
    assert {rate_at(step, 9, TrainConfig(learning_rate=0.02)) for step in range(9)} == {0.02}
