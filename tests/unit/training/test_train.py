"""The training loop, compared with plain PyTorch, and its results."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from trainings import (
    HELD_OUT,
    QUICK,
    TRAIN_ROWS,
    logits_of,
    one_thread,  # noqa: F401, for every test here
    train_split,
    validation_loss,
    weights_hash,
)

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Epoch, Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import Examples, read_manifest
from components.errors import DatasetError, TrainingError
from components.model.mlp import MLP, ModelConfig
from components.settings import Settings
from components.training.config import TrainConfig
from components.training.data import divide
from components.training.train import Run, Trained, build, train

CPU = torch.device("cpu")
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Plain:
    """Result of a plain PyTorch loop."""

    network: nn.Sequential
    loss: float  # over the last epoch's steps, nats
    accuracy: float
    after_step: list[dict[str, Tensor]]  # the weights and buffers after each


def train_plainly(
    validated: Validated,
    *layers: Callable[[], nn.Module],
    batch: int = 32,
    epochs: int = 2,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: Callable[[Optimizer, int], LRScheduler] | None = None,
    loss: Loss = nn.functional.cross_entropy,
) -> Plain:
    """Seed 0, Adam, a new order each epoch; uses none of our code but the reading of the split."""
    examples = train_split(validated)
    torch.manual_seed(0)
    rows = torch.randperm(TRAIN_ROWS)[HELD_OUT:].sort().values
    x = torch.tensor(examples.images)[rows].flatten(1).float() / 255
    y = torch.tensor(examples.labels)[rows].long()
    network = nn.Sequential(*(layer() for layer in layers or PLAIN_LAYERS))
    for layer in (layer for layer in network if isinstance(layer, nn.Linear)):
        limit = math.sqrt(6 / sum(layer.weight.shape))
        layer.weight = nn.Parameter(torch.empty_like(layer.weight).uniform_(-limit, limit))
        if layer.bias is not None:
            layer.bias = nn.Parameter(torch.zeros_like(layer.bias))
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, eps=1e-7, weight_decay=weight_decay)
    scheduler = schedule(optimizer, epochs * math.ceil(len(y) / batch)) if schedule else None
    plain = Plain(network, 0, 0, [])
    for _ in range(epochs):
        losses, right = [], []
        for step in torch.randperm(len(y)).split(batch):
            logits = network(x[step])
            losses += nn.functional.cross_entropy(logits, y[step], reduction="none").tolist()
            right += (logits.argmax(1) == y[step]).tolist()
            optimizer.zero_grad()
            loss(logits, y[step]).backward()
            optimizer.step()
            if scheduler and len(plain.after_step) < epochs * math.ceil(len(y) / batch) - 1:
                scheduler.step()
            plain.after_step.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        plain.loss, plain.accuracy = float(np.mean(losses)), float(np.mean(right))
    return plain


def dense(before: int, after: int, bias: bool = True) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(before, after, bias)


PLAIN_LAYERS = (dense(784, 16), nn.ReLU, dense(16, 10))


def smoothed_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    """0.2 of each target is spread over all ten classes."""
    targets = torch.full_like(logits, 0.2 / 10)
    targets[range(len(labels)), labels] += 0.8
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def one_hot_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    targets = torch.eye(10)[labels]
    return -(targets * (logits - logits.exp().sum(1, keepdim=True).log())).sum(1).mean()


def inverse_time(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: 1 / (1 + 0.05 * step))


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    return OneCycleLR(optimizer, 0.01, total_steps=steps, cycle_momentum=False)


def close(found: object, expected: object) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "layers", "plain"),
    [
        pytest.param({}, (), {}, id="defaults"),
        pytest.param({"batch_size": 100, "epochs": 3}, (), {"batch": 100, "epochs": 3}, id="batches and epochs"),
        pytest.param({"batch_size": 540, "epochs": 1}, (), {"batch": 540, "epochs": 1}, id="one step"),
        pytest.param({"labels": "one-hot"}, (), {"loss": one_hot_by_hand}, id="one-hot"),
        pytest.param({"label_smoothing": 0.2}, (), {"loss": smoothed_by_hand}, id="label smoothing"),
        pytest.param(
            {"label_smoothing": 0.2, "labels": "one-hot"}, (), {"loss": smoothed_by_hand}, id="one-hot and smoothed"
        ),
        pytest.param({"weight_decay": 0.5}, (), {"weight_decay": 0.5}, id="weight decay"),
        pytest.param({"schedule": "inverse-time", "decay": 0.05}, (), {"schedule": inverse_time}, id="inverse time"),
        pytest.param(
            {"schedule": "one-cycle", "learning_rate": 0.01},
            (),
            {"schedule": one_cycle, "learning_rate": 0.01},
            id="one-cycle",
        ),
        pytest.param(
            {"dropout": 0.5, "activation": "gelu"},
            (dense(784, 16), nn.GELU, lambda: nn.Dropout(0.5), dense(16, 10)),
            {},
            id="dropout",
        ),
        pytest.param(
            {"hidden": [12, 8], "activation": "gelu"},
            (dense(784, 12), nn.GELU, dense(12, 8), nn.GELU, dense(8, 10)),
            {},
            id="two layers of gelu",
        ),
        pytest.param({"hidden": []}, (dense(784, 10),), {}, id="no hidden layer"),
    ],
)
def test_training_equals_plain_pytorch(
    validated: Validated, overrides: dict[str, Any], layers: tuple[Callable[[], nn.Module], ...], plain: dict[str, Any]
) -> None:
    expected = train_plainly(validated, *layers, **plain)
    found = train(validated, QUICK.with_overrides(overrides))
    close(list(found.network.parameters()), list(expected.network.parameters()))
    assert found.history[-1].loss == pytest.approx(expected.loss, abs=1e-4)
    assert found.history[-1].accuracy == pytest.approx(expected.accuracy, abs=1e-4)


def test_batch_norm_equals_pytorch_s_and_is_folded_after_training(validated: Validated) -> None:
    layers = (dense(784, 16, bias=False), lambda: nn.BatchNorm1d(16), nn.ReLU, dense(16, 10))
    expected = train_plainly(validated, *layers)
    found = train(validated, QUICK.with_overrides({"batch_norm": True}))
    images = train_split(validated).images
    torch.testing.assert_close(
        logits_of(found.network, images), logits_of(expected.network, images), rtol=1e-3, atol=1e-3
    )
    assert [type(layer) for layer in found.network] == [nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize("decay", [0.5, 0.999])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_averaging_is_an_exponential_moving_average_over_all_steps(
    validated: Validated, decay: float, batch_norm: bool
) -> None:
    """Recomputed in numpy from the weights and the batch norm statistics after each step."""
    layers: tuple[Callable[[], nn.Module], ...] = PLAIN_LAYERS
    if batch_norm:
        layers = (dense(784, 16, bias=False), lambda: nn.BatchNorm1d(16), nn.ReLU, dense(16, 10))
    plain = train_plainly(validated, *layers)
    averages = {name: tensor.double().numpy() for name, tensor in plain.after_step[0].items()}
    for number, weights in enumerate(plain.after_step[1:], 1):  # averaged so far
        kept = min(decay, (1 + number) / (10 + number))
        averages = {name: kept * average + (1 - kept) * weights[name].numpy() for name, average in averages.items()}
    plain.network.load_state_dict({name: torch.tensor(average) for name, average in averages.items()})
    found = train(validated, QUICK.with_overrides({"average": decay, "batch_norm": batch_norm}))
    images = train_split(validated).images
    torch.testing.assert_close(logits_of(found.network, images), logits_of(plain.network, images), rtol=1e-3, atol=1e-3)
    assert found.history[-1].loss == pytest.approx(plain.loss, abs=1e-4), "the steps are made with the last weights"


# --- the pieces ---


def test_integer_and_one_hot_labels_give_the_same_loss_and_gradients(validated: Validated) -> None:
    """On the targets of a training, and over a whole training."""
    examples, gradients = train_split(validated), []
    logits = torch.randn(TRAIN_ROWS - HELD_OUT, 10, generator=torch.Generator().manual_seed(0), requires_grad=True)
    configs = [dataclasses.replace(QUICK, labels="integer"), dataclasses.replace(QUICK, labels="one-hot")]
    for config in configs:
        torch.manual_seed(0)
        loss = nn.functional.cross_entropy(logits, divide(examples, config, CPU).targets)
        gradients.append((loss, *torch.autograd.grad(loss, logits)))
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)
    integer, one_hot = (train(validated, config) for config in configs)
    for found, expected in zip(one_hot.network.parameters(), integer.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert one_hot.history[-1].validation_loss == pytest.approx(integer.history[-1].validation_loss, abs=1e-5)


def test_dropout_has_its_rate_scales_the_rest_and_is_off_in_evaluation() -> None:
    torch.manual_seed(0)
    network = MLP(ModelConfig(hidden=(5000,), dropout=0.3), CONTRACT)
    dense, relu, dropout, logits = network
    x = torch.rand(1, 784)
    before = relu(dense(x))
    assert torch.equal(network.eval()(x), logits(before))
    network.train()
    after = dropout(before)
    dropped = (after == 0) & (before > 0)
    units = int((before > 0).sum())
    assert abs(int(dropped.sum()) - 0.3 * units) < 4 * math.sqrt(0.3 * 0.7 * units)
    torch.testing.assert_close(after[~dropped], before[~dropped] / 0.7)


def test_dropout_and_depth_come_from_the_configuration() -> None:
    network = MLP(ModelConfig(hidden=(32, 16), dropout=0.25), CONTRACT)
    kinds = [type(layer) for layer in network]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.25, 0.25]


# --- duration ---


@pytest.mark.parametrize(("batch", "steps"), [(32, 17), (100, 6), (270, 2), (540, 1)])
def test_each_epoch_has_a_step_for_every_batch(validated: Validated, batch: int, steps: int) -> None:
    run = Run(train_split(validated), dataclasses.replace(QUICK, batch_size=batch, epochs=3))
    while not run.is_finished:
        run.advance()
    assert run.phase.step == run.phase.steps == 3 * steps


@pytest.mark.parametrize("batch", [49, 77])  # 540 = 11 * 49 + 1 = 7 * 77 + 1
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_last_batch_of_one_image_is_dropped_with_batch_norm(
    validated: Validated, batch: int, batch_norm: bool
) -> None:
    """One image has no variance, and PyTorch refuses it. The schedule must not count that step."""
    run = Run(train_split(validated), QUICK.with_overrides({"batch_size": batch, "batch_norm": batch_norm}))
    while not run.is_finished:
        run.advance()
    assert run.phase.step == run.phase.steps == 2 * (540 // batch + (not batch_norm))


def test_every_epoch_is_reported(validated: Validated) -> None:
    seen: list[Epoch] = []
    trained = train(validated, QUICK, seen.append)
    assert [epoch.number for epoch in seen] == [1, 2]
    assert tuple(seen) == trained.history
    assert trained.seconds == pytest.approx(sum(epoch.seconds for epoch in seen))
    assert all(epoch.seconds > 0 for epoch in seen)


def test_without_patience_the_last_epoch_s_weights_are_returned(validated: Validated) -> None:
    """At this learning rate the loss fluctuates, and the last epoch is not the best."""
    trained = train(validated, dataclasses.replace(QUICK, epochs=7, batch_size=64, learning_rate=0.3))
    losses = [epoch.validation_loss for epoch in trained.history]
    assert trained.best_epoch == 7
    assert losses[-1] > min(losses)
    assert validation_loss(trained) == pytest.approx(losses[-1], rel=1e-4)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_patience_stops_a_training_and_restores_the_best_weights(validated: Validated, average: float) -> None:
    config = dataclasses.replace(QUICK, epochs=50, batch_size=64, learning_rate=0.3, average=average, patience=2)
    trained = train(validated, config)
    losses = [epoch.validation_loss for epoch in trained.history]
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == trained.best_epoch + 2 < 50
    assert validation_loss(trained) == pytest.approx(min(losses), rel=1e-4)
    as_long = dataclasses.replace(config, epochs=trained.best_epoch, patience=None)
    assert weights_hash(train(validated, as_long).network) == weights_hash(trained.network)


def test_patience_restores_the_best_weights_without_early_stopping_too(validated: Validated) -> None:
    trained = train(validated, dataclasses.replace(QUICK, epochs=7, batch_size=64, learning_rate=0.3, patience=7))
    losses = [epoch.validation_loss for epoch in trained.history]
    assert len(losses) == 7
    assert trained.best_epoch == int(np.argmin(losses)) + 1 < 7
    assert validation_loss(trained) == pytest.approx(min(losses), rel=1e-4)


# --- validation rows ---


@pytest.mark.parametrize(("share", "rows"), [(0.1, 60), (0.2, 120), (0.49, 294), (0.0174, 10)])
def test_the_split_has_the_configured_share_and_every_row_once(share: float, rows: int) -> None:
    """Each image encodes its row number."""
    numbers = np.arange(TRAIN_ROWS)
    images = np.zeros((TRAIN_ROWS, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = numbers % 256, numbers // 256
    labels = (numbers % 10).astype(np.uint8)
    torch.manual_seed(0)
    config = TrainConfig(validation_share=share)
    data = divide(Examples([str(number) for number in numbers], images, labels, CONTRACT), config, CPU)
    x = data.images(torch.arange(len(data.labels)))
    trained_on, held_out = (
        (part[:, 0] * 255 + part[:, 1] * 255 * 256).round().int() for part in (x, data.validation_x)
    )
    assert len(held_out) == rows
    assert sorted([*trained_on.tolist(), *held_out.tolist()]) == list(range(TRAIN_ROWS))
    assert torch.equal(data.labels, trained_on % 10)
    assert torch.equal(data.validation_labels, held_out % 10)
    assert held_out.tolist() != sorted(held_out.tolist()), "the rows are drawn at random"


def test_the_weights_do_not_depend_on_the_validation_images(validated: Validated) -> None:
    examples = train_split(validated)
    torch.manual_seed(QUICK.seed)
    held_out = torch.randperm(TRAIN_ROWS)[:HELD_OUT].numpy()
    images, labels = examples.images.copy(), examples.labels.copy()
    images[held_out], labels[held_out] = 255 - images[held_out], (labels[held_out] + 1) % 10
    runs = [Run(examples, QUICK), Run(Examples(examples.ids, images, labels, CONTRACT), QUICK)]
    histories = []
    for run in runs:
        torch.manual_seed(1)  # the order of the images
        histories.append([run.advance() for _ in range(QUICK.epochs)])
    assert weights_hash(runs[0].phase.network) == weights_hash(runs[1].phase.network)
    assert histories[0][-1].validation_loss != histories[1][-1].validation_loss


@pytest.mark.parametrize("overrides", [{}, {"dropout": 0.5}, {"average": 0.9}, {"batch_norm": True}, {"shift": 2}])
def test_the_validation_loss_is_that_of_the_returned_network(validated: Validated, overrides: dict[str, Any]) -> None:
    trained = train(validated, QUICK.with_overrides(overrides))
    last = trained.history[-1]
    assert validation_loss(trained) == pytest.approx(last.validation_loss, rel=1e-4)
    right = trained.validation_logits.argmax(1).numpy() == trained.validation_labels
    assert right.mean() == pytest.approx(last.validation_accuracy, abs=1e-6)
    examples = train_split(validated)
    torch.manual_seed(QUICK.seed)
    held_out = torch.randperm(TRAIN_ROWS)[:HELD_OUT].numpy()
    assert np.array_equal(trained.validation_labels, examples.labels[held_out])
    close(trained.validation_logits, logits_of(trained.network, examples.images[held_out]))


# --- reliability ---


def test_the_same_seed_gives_bit_identical_weights(validated: Validated) -> None:
    """With more than one thread, as in a user's training."""
    torch.set_num_threads(2)
    config = dataclasses.replace(QUICK, epochs=1)
    first, again = (train(validated, config) for _ in range(2))
    other = train(validated, dataclasses.replace(config, seed=1))
    assert weights_hash(first.network) == weights_hash(again.network) != weights_hash(other.network)


def test_training_learns(validated: Validated, test_split: Examples) -> None:
    trained = train(validated, dataclasses.replace(QUICK, epochs=8))
    predicted = logits_of(trained.network, test_split.images).argmax(1).numpy()
    assert (predicted == test_split.labels).mean() > 0.6
    assert trained.history[-1].loss < trained.history[0].loss / 2


def test_the_returned_network_is_ready_to_serve(trained: Trained) -> None:
    assert not trained.network.training
    assert all(weight.dtype == torch.float32 for weight in trained.network.parameters())
    assert all(weight.is_contiguous() for weight in trained.network.parameters())


DIVERGING = TrainConfig(model=ModelConfig(hidden=(128,) * 44), epochs=10, batch_size=540, learning_rate=1.0)


@pytest.mark.parametrize(
    ("config", "epoch"),
    [
        (dataclasses.replace(DIVERGING, model=ModelConfig(hidden=(256,) * 32), batch_size=270), "1"),
        (DIVERGING, "[2-9]"),
    ],
)
def test_a_loss_that_is_not_finite_fails_the_training_and_saves_nothing(
    validated: Validated, tmp_path: Path, config: TrainConfig, epoch: str
) -> None:
    """Adam moves every weight by about 1; dozens of layers of such weights overflow."""
    with pytest.raises(TrainingError, match=rf"^epoch {epoch}: .*(nan|inf).*try a learning rate below 1\.0"):
        train(validated, config, keep_in=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"batch_size": 541}, {"validation_share": 0.01}])
def test_too_few_images_are_refused(validated: Validated, options: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="600 training images are too few for validation_share"):
        train(validated, QUICK.with_overrides(options))


def test_data_that_changed_after_its_validation_is_refused(archives: Path, settings: Settings) -> None:
    dataset = ingest(str(archives), settings=settings).dataset
    receipt = Validated(dataset, 1, Path("docs"), "now")
    part = settings.datasets_dir / read_manifest(dataset).of("train")[0].file
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(DatasetError, match="changed since it was written"):
        train(receipt, QUICK)


def test_dense_layers_are_initialized_as_in_keras() -> None:
    """glorot_uniform: uniform within ±sqrt(6 / (inputs + outputs)); biases 0."""
    torch.manual_seed(0)
    network = build(TrainConfig(model=ModelConfig(hidden=(300, 200))), CONTRACT)
    for layer in (layer for layer in network if isinstance(layer, nn.Linear)):
        limit = math.sqrt(6 / (layer.in_features + layer.out_features))
        quarters = torch.histc(layer.weight, bins=4, min=-limit, max=limit) / layer.weight.numel()
        assert quarters.tolist() == pytest.approx([0.25] * 4, abs=0.02)
        assert quarters.sum() == 1
        assert not layer.bias.any()
