"""Validated dataset -> trained network.

The training split is one float32 tensor on the CPU, sliced by index: no loader, no worker, no copy an item. The
validation rows come out of the training split and make every choice; the test split is not read here.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from components.contract import CLASSES, Epoch, Validated
from components.errors import SettingsError, TrainingError
from components.manifest import Examples, read_split
from components.model.mlp import MLP, ModelConfig
from components.model.tensors import to_input
from components.training.optimizer import FusedAdam


@dataclass(frozen=True)
class TrainConfig:
    """A whole recipe: two trainings of the same configuration on the same data and machine are equal to the bit.

    Raises:
        SettingsError: a value outside the bounds beside it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    epochs: int = 10  # 1 or more
    batch_size: int = 32  # images a step, 1 or more
    learning_rate: float = 1e-3  # Adam's, above 0 and at most 1
    validation_share: float = 0.1  # of the training split, above 0 and below 0.5; never trained on
    patience: int | None = None  # epochs without a lower validation loss before stopping; None: run them all
    seed: int = 0  # of the first weights, the validation rows, the order of the images and dropout

    def __post_init__(self) -> None:
        if isinstance(self.model, dict):  # from JSON
            object.__setattr__(self, "model", ModelConfig(**self.model))
        bounds = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "learning_rate": (0 < self.learning_rate <= 1, "above 0 and at most 1"),
            "validation_share": (0 < self.validation_share < 0.5, "above 0 and below 0.5"),
            "patience": (self.patience is None or self.patience >= 1, "1 or more, or none"),
            "seed": (0 <= self.seed < 2**63, "0 or more, below 2 to the 63rd"),
        }
        for name, (fits, expected) in bounds.items():
            if not fits:
                raise SettingsError(f"{name}: {getattr(self, name)}; expected {expected}")


@dataclass(frozen=True)
class Trained:
    """What a training gave."""

    network: MLP  # the weights of the epoch with the lowest validation loss; evaluation mode
    config: TrainConfig
    history: tuple[Epoch, ...]  # every epoch that ran
    best_epoch: int  # the one whose weights these are
    seconds: float  # from the first step to the last validation


def train(validated: Validated, config: TrainConfig, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Trained:
    """Train on the training split of a validated dataset.

    Args:
        validated: the receipt of a passed validation.
        config: the recipe.
        on_epoch: called after each epoch, for a progress bar or a log.

    Raises:
        DatasetError: the data changed since it was validated.
        TrainingError: the loss is not finite, or there are too few images for the configuration.
    """
    examples = read_split(validated.dataset, "train")
    torch.manual_seed(config.seed)
    data = _divide(examples, config)
    torch.set_flush_denormal(True)  # Adam's moments of ever-black pixels turn denormal: 10 to 25 % of the time
    try:
        return _fit(MLP(config.model), data, config, on_epoch)
    finally:
        torch.set_flush_denormal(False)


@dataclass(frozen=True)
class _Data:
    x: Tensor  # float32 (n, 784)
    y: Tensor  # int64 (n,)
    validation_x: Tensor
    validation_y: Tensor


def _divide(examples: Examples, config: TrainConfig) -> _Data:
    x, y = to_input(examples.images), torch.tensor(examples.labels, dtype=torch.int64)
    validation_rows = round(len(y) * config.validation_share)
    if validation_rows < len(CLASSES) or len(y) - validation_rows < config.batch_size:
        raise TrainingError(
            f"{len(y)} training images are too few for validation_share {config.validation_share} "
            f"and batch_size {config.batch_size}"
        )
    order = torch.randperm(len(y))
    held_out, rest = order[:validation_rows], order[validation_rows:].sort().values
    return _Data(x[rest], y[rest], x[held_out], y[held_out])


def _fit(network: MLP, data: _Data, config: TrainConfig, on_epoch: Callable[[Epoch], None]) -> Trained:
    optimizer = FusedAdam(network.parameters(), config.learning_rate)
    history: list[Epoch] = []
    best, best_weights = math.inf, network.state_dict()
    began = time.perf_counter()
    for number in range(1, config.epochs + 1):
        started = time.perf_counter()
        loss = _one_epoch(network, optimizer, data, config.batch_size)
        validation_loss, validation_accuracy = _examine(network, data)
        if not math.isfinite(loss) or not math.isfinite(validation_loss):
            raise TrainingError(
                f"epoch {number}: the loss is {loss}, the validation loss {validation_loss}; nothing is saved; "
                f"a learning rate below {config.learning_rate} may help"
            )
        history.append(Epoch(number, loss, validation_loss, validation_accuracy, time.perf_counter() - started))
        on_epoch(history[-1])
        if validation_loss < best:
            best = validation_loss
            best_weights = {name: weight.clone() for name, weight in network.state_dict().items()}
            best_epoch = number
        elif config.patience and number - best_epoch >= config.patience:
            break
    network.load_state_dict(best_weights)
    return Trained(network.eval(), config, tuple(history), best_epoch, time.perf_counter() - began)


def _one_epoch(network: MLP, optimizer: FusedAdam, data: _Data, batch_size: int) -> float:
    """One pass over the training images in a new order. Returns the mean loss of the steps."""
    network.train()
    total = torch.zeros(())
    for x, y in _batches(data, batch_size):
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(y)
    return total.item() / len(data.y)


def _batches(data: _Data, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.randperm(len(data.y)).split(batch_size):
        yield data.x[rows], data.y[rows]


def _examine(network: MLP, data: _Data) -> tuple[float, float]:
    """The validation rows' mean cross-entropy and accuracy."""
    network.eval()
    with torch.inference_mode():
        logits = network(data.validation_x)
        loss = nn.functional.cross_entropy(logits, data.validation_y)
        accuracy = (logits.argmax(1) == data.validation_y).float().mean()
    return loss.item(), accuracy.item()
