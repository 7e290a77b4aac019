"""The hand-written gradients, compared with autograd's."""

import pytest
import torch
import trainings
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, relu

from components.catalogues.fashion_mnist import CONTRACT
from components.model.mlp import MLP, ModelConfig
from components.training.config import TrainConfig
from components.training.gradients import Gradients, drop
from components.training.hardware import Hardware
from components.training.tied import TiedMLP

one_thread = trainings.one_thread
CPU = Hardware(torch.device("cpu"), bfloat16=False)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(12, 784), torch.randint(10, (12,))


def gradients_of(network: MLP) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("hidden", [(), (7,), (9, 5), (6, 8, 4)])
@pytest.mark.parametrize("rows", [False, True], ids=["integers", "one-hot"])
def test_gradients_equal_autograd_s(hidden: tuple[int, ...], rows: bool) -> None:
    network = MLP(ModelConfig(hidden=hidden), CONTRACT)
    x, labels = batch()
    expected_logits = network(x)
    cross_entropy(expected_logits, labels).backward()
    expected = gradients_of(network)
    network.zero_grad()
    gradients = Gradients(network)
    logits = gradients(x, gradients.rows(one_hot(labels, 10).float() if rows else labels))
    torch.testing.assert_close(logits, expected_logits.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients_of(network), expected, rtol=1e-5, atol=1e-7)


def test_the_views_are_the_network_s_parameters_and_each_call_overwrites_the_gradients() -> None:
    network = MLP(ModelConfig(hidden=(7,)), CONTRACT)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    gradients = Gradients(network)
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), before, strict=True))
    assert all(view.is_contiguous() for view in gradients.parameters()), "fused Adam copies others"
    x, labels = batch()
    for part in (x, x[:5]):  # a last batch may be smaller
        gradients(part, gradients.rows(labels[: len(part)]))
    network.zero_grad()
    cross_entropy(network(x[:5]), labels[:5]).backward()
    for weight, view in zip(network.parameters(), gradients.parameters(), strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(view.grad, weight.grad.t() if view.dim() == 2 else weight.grad, rtol=1e-5, atol=1e-7)
        view.fill_(1)
        assert weight.eq(1).all()


def test_gradients_with_dropout_equal_autograd_s_under_the_same_mask() -> None:
    network = MLP(ModelConfig(hidden=(40, 30), dropout=0.25), CONTRACT)
    x, labels = batch()
    torch.manual_seed(3)
    masks = [drop(torch.ones(12, 40), 0.25), drop(torch.ones(12, 30), 0.25)]
    units = relu(network.get_submodule("dense1")(x)) * masks[0]
    units = relu(network.get_submodule("dense2")(units)) * masks[1]
    cross_entropy(network.get_submodule("logits")(units), labels).backward()
    expected = gradients_of(network)
    network.zero_grad()
    torch.manual_seed(3)
    Gradients(network)(x, one_hot(labels, 10).float())
    torch.testing.assert_close(gradients_of(network), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_scales_the_rest(probability: float) -> None:
    torch.manual_seed(0)
    dropped = drop(torch.ones(300, 401), probability)
    share = (dropped == 0).float().mean().item()
    assert abs(share - probability) < 5 * (probability * (1 - probability) / dropped.numel()) ** 0.5
    torch.testing.assert_close(dropped[dropped != 0].unique(), torch.tensor([1 / (1 - probability)]))


@pytest.mark.parametrize(
    ("model", "training", "bfloat16"),
    [
        ({"activation": "gelu"}, {}, False),
        ({"batch_norm": True}, {}, False),
        ({}, {"label_smoothing": 0.1}, False),
        ({}, {}, True),
    ],
)
def test_unsupported_settings_are_left_to_autograd(
    model: dict[str, object], training: dict[str, float], bfloat16: bool
) -> None:
    config = TrainConfig(model=ModelConfig(**model), **training)  # type: ignore[arg-type]
    assert not Gradients.fit(MLP(config.model, CONTRACT), config, Hardware(torch.device("cpu"), bfloat16))
    assert Gradients.fit(MLP(ModelConfig(), CONTRACT), TrainConfig(), CPU)


def test_convolutions_are_left_to_autograd() -> None:
    config = ModelConfig(hidden=(196,), batch_norm=True)
    assert not Gradients.fit(TiedMLP(config, (3,), CONTRACT), TrainConfig(), CPU)
