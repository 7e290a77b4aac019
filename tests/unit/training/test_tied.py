"""Layers that train as convolutions and are stored as dense layers; trainings with two phases."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from shop import SHOP, draw_shop
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, cross_entropy
from trainings import QUICK, logits_of, one_thread, train_split, validation_loss, weights_hash  # noqa: F401

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, ImageSpec, Validated
from components.dataset.manifest import Examples
from components.model.mlp import MLP, ModelConfig
from components.training.config import TrainConfig
from components.training.optimizer import FusedAdam
from components.training.tied import TiedMLP, to_dense
from components.training.train import train

PLAIN_KINDS = {nn.Linear, nn.ReLU, nn.GELU, nn.Dropout}
NETWORKS = [
    pytest.param((196,), (1,), id="one channel, kernel 1"),
    pytest.param((392, 32), (3,), id="one tied, one dense"),
    pytest.param((196,), (29,), id="a kernel larger than the image"),
    pytest.param((588, 98), (5, 3), id="two tied, none dense"),
    pytest.param((392, 147, 20, 12), (3, 7), id="two tied, two dense"),
    pytest.param((392, 147, 64, 20), (3, 5, 7), id="three tied"),
]
# A small version of the flagship
TWO_PHASES = QUICK.with_overrides(
    {
        "hidden": [392, 98, 24],
        "activation": "gelu",
        "batch_norm": True,
        "tied": [5, 3],
        "epochs": 3,
        "untied_epochs": 2,
        "batch_size": 128,
        "learning_rate": 3e-3,
        "schedule": "one-cycle",
        "average": 0.9,
        "weight_decay": 0.05,
    }
)
EVERYTHING = {"shift": 1, "flip": True, "erase": 0.5, "dropout": 0.2, "label_smoothing": 0.1, "patience": 2}


def tied_network(
    hidden: tuple[int, ...],
    kernels: tuple[int, ...],
    images: Tensor,
    steps: int = 4,
    contract: DataContract = CONTRACT,
) -> TiedMLP:
    """Return a network after a few steps, so that no weight or statistic has its initial value."""
    torch.manual_seed(0)
    network = TiedMLP(ModelConfig(hidden=hidden, activation="gelu", batch_norm=True, dropout=0.1), kernels, contract)
    optimizer = FusedAdam(network.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(network(images), torch.arange(len(images)) % len(contract.classes)).backward()
        optimizer.step(0.01)
    return network


@pytest.mark.parametrize("steps", [0, 4])
@pytest.mark.parametrize(("hidden", "kernels"), NETWORKS)
def test_the_dense_network_is_equivalent_to_the_tied_one(
    hidden: tuple[int, ...], kernels: tuple[int, ...], steps: int, test_split: Examples
) -> None:
    x = torch.tensor(test_split.images[:64]).flatten(1).float() / 255
    network = tied_network(hidden, kernels, x, steps)
    expected = logits_of(network, test_split.images)
    dense = to_dense(network)
    assert type(dense) is MLP
    assert dense.config == dataclasses.replace(network.config, batch_norm=False)
    assert {type(layer) for layer in dense} <= PLAIN_KINDS
    torch.testing.assert_close(logits_of(dense, test_split.images), expected, rtol=0, atol=1e-4)
    assert expected.std() > 1e-3, "the logits differ between images"


@pytest.mark.parametrize(("hidden", "kernels"), [((240, 30), (3,)), ((360, 60), (5, 3)), ((240, 90, 27), (3, 5, 7))])
def test_the_dense_network_is_equivalent_for_rectangular_colour_images(
    hidden: tuple[int, ...], kernels: tuple[int, ...]
) -> None:
    images = draw_shop(64)[0]
    network = tied_network(hidden, kernels, torch.tensor(images).flatten(1).float() / 255, contract=SHOP)
    expected = logits_of(network, images)
    torch.testing.assert_close(logits_of(to_dense(network), images), expected, rtol=0, atol=1e-4)
    first, shown = network.state_dict()["dense1.weight"], torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    given = network[1](network[0](torch.tensor(images).flatten(1).float() / 255))
    torch.testing.assert_close(given, conv2d(shown, first, stride=2, padding=kernels[0] // 2), rtol=1e-4, atol=1e-4)
    assert expected.std() > 1e-3, "the logits differ between images"


def test_the_dense_network_is_equivalent_for_strides_of_one_to_four(test_split: Examples) -> None:
    torch.manual_seed(0)
    model = ModelConfig(hidden=(2 * 7 * 7, 3 * 7 * 7, 4 * 3 * 3, 12), activation="gelu", batch_norm=True)
    network = TiedMLP(model, (7, 3, 5), CONTRACT, strides=(4, 1, 3))
    network(torch.tensor(test_split.images[:64]).flatten(1).float() / 255)  # statistics of the batch norms
    expected = logits_of(network, test_split.images)
    torch.testing.assert_close(logits_of(to_dense(network), test_split.images), expected, rtol=0, atol=1e-5)
    assert expected.std() > 1e-3, "the logits differ between images"


@pytest.mark.parametrize(("image", "hidden"), [(ImageSpec(64, 64, 3), (256, 128)), (ImageSpec(40, 80), (128, 96, 20))])
def test_a_large_image_is_averaged_down_before_the_first_layer(image: ImageSpec, hidden: tuple[int, ...]) -> None:
    """Also in the dense network, whose weights are unrolled in several passes."""
    contract = DataContract("large", ("a", "b", "c"), image, "none")
    images = np.random.default_rng(0).integers(0, 256, (24, *image.shape), np.uint8)
    x = torch.tensor(images).flatten(1).float() / 255
    network = tied_network(hidden, (5, 3), x, contract=contract)
    expected = logits_of(network, images)
    torch.testing.assert_close(logits_of(to_dense(network), images), expected, rtol=0, atol=1e-4)
    assert expected.std() > 1e-3, "the logits differ between images"
    shown = torch.tensor(images.reshape(24, image.height, image.width, -1)).permute(0, 3, 1, 2).float() / 255
    sides = (32, 32) if image.width == 64 else (16, 32)
    torch.testing.assert_close(network[0](x), adaptive_avg_pool2d(shown, sides))


NORM = ("running_mean", "running_var", "weight", "bias")


def in_units(found: Tensor) -> Tensor:
    """Flatten (n, channels, rows, columns) to units in the order row, column, channel."""
    return found.permute(0, 2, 3, 1).reshape(len(found), -1) if found.dim() == 4 else found


@pytest.mark.parametrize(("hidden", "kernels"), NETWORKS)
def test_a_tied_network_is_a_sequence_of_convolutions(
    hidden: tuple[int, ...], kernels: tuple[int, ...], test_split: Examples
) -> None:
    """Recomputed layer by layer with conv2d and the batch norm formula."""
    x = torch.tensor(test_split.images[:64]).flatten(1).float() / 255
    network = tied_network(hidden, kernels, x)
    state, found = network.state_dict(), x.view(-1, 1, 28, 28)
    for number in range(1, len(hidden) + 1):
        weight, norm = state[f"dense{number}.weight"], {name: state[f"norm{number}.{name}"] for name in NORM}
        if tied := number <= len(kernels):
            found = conv2d(found, weight, stride=2, padding=kernels[number - 1] // 2)
        else:
            found = in_units(found) @ weight.T
        mean, variance, scale, offset = (value.view(-1, 1, 1) if tied else value for value in norm.values())
        found = nn.functional.gelu((found - mean) / (variance + 1e-5).sqrt() * scale + offset)
    expected = in_units(found) @ state["logits.weight"].T + state["logits.bias"]
    torch.testing.assert_close(logits_of(network, test_split.images[:64]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [1, 3, 5, 9])
def test_an_untied_layer_is_zero_outside_its_kernels_and_shares_their_weights(kernel: int) -> None:
    """A unit sees the pixels around twice its row and column, through the kernel of its channel."""
    torch.manual_seed(0)
    network = TiedMLP(ModelConfig(hidden=(3 * 196, 2 * 49), batch_norm=True), (kernel, kernel), CONTRACT)
    dense = to_dense(network)
    scale = 1 / np.sqrt(1 + 1e-5)  # of an untrained batch norm
    for number, (channels, side, before) in enumerate([(3, 14, 1), (2, 7, 3)], 1):
        kernels = network.state_dict()[f"dense{number}.weight"].numpy() * scale
        expected = np.zeros((side, side, channels, 2 * side, 2 * side, before), np.float32)
        for row, column, down, right in np.ndindex(side, side, kernel, kernel):
            y, x = 2 * row + down - kernel // 2, 2 * column + right - kernel // 2
            if 0 <= y < 2 * side and 0 <= x < 2 * side:
                expected[row, column, :, y, x] = kernels[:, :, down, right]
        found = dense.state_dict()[f"dense{number}.weight"].numpy().reshape(expected.shape)
        assert np.array_equal(found != 0, expected != 0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("hidden", [(24,), (32, 16, 8)])
def test_batch_norm_is_folded_into_the_layers_before_it(hidden: tuple[int, ...], test_split: Examples) -> None:
    torch.manual_seed(0)
    network = MLP(ModelConfig(hidden=hidden, batch_norm=True, dropout=0.3), CONTRACT)
    network.train()
    for _ in range(5):
        network(torch.rand(50, 784) * 3)
    for layer in network:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    expected = logits_of(network, test_split.images)
    dense = to_dense(network)
    assert {type(layer) for layer in dense} == {nn.Linear, nn.ReLU, nn.Dropout}
    torch.testing.assert_close(logits_of(dense, test_split.images), expected, rtol=0, atol=1e-4)


def test_a_dense_network_is_returned_as_is(network: MLP) -> None:
    assert to_dense(network) is network


def test_to_dense_does_not_change_the_tied_network(test_split: Examples) -> None:
    x = torch.tensor(test_split.images[:64]).flatten(1).float() / 255
    network = tied_network((392, 32), (3,), x)
    before = copy.deepcopy(network.state_dict())
    to_dense(network)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


# --- trainings in two phases ---


def test_epochs_are_numbered_across_phases(validated: Validated) -> None:
    seen: list[int] = []
    trained = train(validated, TWO_PHASES, lambda epoch: seen.append(epoch.number))
    assert seen == [epoch.number for epoch in trained.history] == [1, 2, 3, 4, 5]
    assert trained.best_epoch == TWO_PHASES.total_epochs == 5
    assert [type(layer) for layer in trained.network] == [*[nn.Linear, nn.GELU] * 3, nn.Linear]
    assert trained.network.config == ModelConfig(hidden=(392, 98, 24), activation="gelu")
    assert validation_loss(trained) == pytest.approx(trained.history[-1].validation_loss, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"patience": 1, "learning_rate": 0.5, "epochs": 8, "average": 0.0}])
def test_the_second_phase_starts_from_the_selected_weights_of_the_first(
    validated: Validated, options: dict[str, Any]
) -> None:
    """At a negligible learning rate, its first epoch changes almost nothing."""
    config = TWO_PHASES.with_overrides({**options, "untied_epochs": 1, "untied_learning_rate": 1e-12})
    trained = train(validated, config)
    losses = [epoch.validation_loss for epoch in trained.history]
    kept = min(losses[:-1]) if config.patience else losses[-2]
    assert losses[-1] == pytest.approx(kept, rel=1e-4)
    assert validation_loss(trained) == pytest.approx(kept, rel=1e-4)
    if config.patience:
        assert kept < losses[-2], "the first phase continued past its best epoch"


def test_the_second_phase_trains_untied_weights(validated: Validated) -> None:
    tied = train(validated, TWO_PHASES.with_overrides({"untied_epochs": 0}))
    untied = train(validated, TWO_PHASES)
    assert weights_hash(tied.network) != weights_hash(untied.network)
    assert [epoch.validation_loss for epoch in tied.history] == [
        epoch.validation_loss for epoch in untied.history[: len(tied.history)]
    ]
    shares = [(one.network.state_dict()["dense1.weight"] == 0).float().mean() for one in (tied, untied)]
    assert shares[0] > 0.96  # 25 of 784 pixels reach a unit
    assert shares[1] < 0.5


def test_each_phase_has_its_own_schedule() -> None:
    first, second = TWO_PHASES.phases()
    assert (first.epochs, first.learning_rate, first.tied, first.model.batch_norm) == (3, 3e-3, (5, 3), True)
    assert (second.epochs, second.learning_rate, second.tied, second.model.batch_norm) == (2, 1e-4, (), False)
    same = {"seed", "schedule", "weight_decay", "average", "batch_size", "shift", "validation_share", "precision"}
    assert all(getattr(first, name) == getattr(second, name) == getattr(TWO_PHASES, name) for name in same)
    assert TrainConfig().phases() == (TrainConfig(),)


def test_patience_applies_per_phase_and_best_epoch_counts_across_phases(validated: Validated) -> None:
    """At this learning rate both phases stop early, two epochs after their best."""
    config = TWO_PHASES.with_overrides(
        {"epochs": 30, "untied_epochs": 30, "patience": 2, "learning_rate": 0.3, "untied_learning_rate": 0.3}
    )
    config = dataclasses.replace(config, schedule="constant", average=0.0)
    tied = train(validated, dataclasses.replace(config, untied_epochs=0))
    assert len(tied.history) == tied.best_epoch + 2 < 30
    both = train(validated, config)
    untied = [epoch.validation_loss for epoch in both.history[len(tied.history) :]]
    best = int(np.argmin(untied)) + 1
    assert len(untied) == best + 2 < 30
    assert both.best_epoch == len(tied.history) + best
    assert validation_loss(both) == pytest.approx(min(untied), rel=1e-4)


def test_two_phases_with_every_option_are_reproducible(validated: Validated) -> None:
    config = TWO_PHASES.with_overrides(EVERYTHING)
    first, again = train(validated, config), train(validated, config)
    assert weights_hash(first.network) == weights_hash(again.network)
    other = train(validated, dataclasses.replace(config, seed=1))
    assert weights_hash(other.network) != weights_hash(first.network)


def test_a_tied_training_learns(validated: Validated) -> None:
    trained = train(validated, TWO_PHASES.with_overrides({"epochs": 6, "batch_size": 32}))
    examples = train_split(validated)
    right = logits_of(trained.network, examples.images).argmax(1).numpy() == examples.labels
    assert right.mean() > 0.8
