"""Helpers for the tests of training."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from components.contract import Validated
from components.dataset.manifest import Examples, read_split
from components.model.mlp import ModelConfig
from components.training.config import TrainConfig
from components.training.train import Trained

QUICK = TrainConfig(model=ModelConfig(hidden=(16,)), epochs=2, batch_size=32)
TRAIN_ROWS, HELD_OUT = 600, 60  # of the synthetic sample, with the default validation_share


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limit PyTorch to one thread: waiting threads spin, so on busy cores two are fifty times slower for tiny steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train_split(validated: Validated) -> Examples:
    return read_split(validated.dataset, "train")


def weights_hash(network: nn.Module) -> str:
    content = b"".join(weight.numpy().tobytes() for weight in network.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def validation_loss(trained: Trained) -> float:
    """The cross-entropy of the returned network, in plain NumPy."""
    logits = trained.validation_logits.numpy().astype(np.float64)
    of_the_label = logits[np.arange(len(logits)), trained.validation_labels]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - of_the_label))


def logits_of(network: nn.Module, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """The logits for uint8 (n, 28, 28) in evaluation mode, float32 (n, 10)."""
    with torch.inference_mode():
        logits: torch.Tensor = network.eval()(torch.tensor(pixels).flatten(1).float() / 255)
    return logits
