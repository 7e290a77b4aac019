"""Out-of-sample class probabilities, by k-fold cross-validation."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from components.contract import Images
from components.dataset.manifest import Examples
from components.model.mlp import MLP
from components.model.tensors import to_input
from components.training.config import TrainConfig
from components.training.hardware import use_threads
from components.training.train import Run

FOLDS = 5
ROWS = 10_000  # images per prediction batch

Probabilities = NDArray[np.float32]  # (n, classes)


def predict_unseen(
    train: Examples, test: Examples, config: TrainConfig, on_fold: Callable[[int], None] = lambda fold: None
) -> tuple[Probabilities, Probabilities]:
    """Predict every image by networks that were not trained on it, with 5-fold cross-validation.

    Args:
        train: the training split. Each network predicts the fifth that it was not trained on.
        test: the test split. Its probabilities are the mean of the five networks.
        config: how to train each network.
        on_fold: called after each fold, with its number from 1.

    Returns:
        Probabilities of the training and test images, float32 (n, classes) and (m, classes).

    Raises:
        TrainingError: too few images, or the loss is not finite.
    """
    fold_of = np.random.default_rng(config.seed).permutation(len(train.ids)) % FOLDS
    classes = len(train.contract.classes)
    of_train, of_test = (np.zeros((len(split.ids), classes), np.float32) for split in (train, test))
    threads = use_threads(config.threads)
    torch.set_flush_denormal(True)
    try:
        for fold in range(FOLDS):
            network = _train(_rows(train, np.flatnonzero(fold_of != fold)), config)
            rows = np.flatnonzero(fold_of == fold)
            of_train[rows] = _predict(network, train.images[rows])
            of_test += _predict(network, test.images) / FOLDS
            on_fold(fold + 1)
    finally:
        torch.set_flush_denormal(False)
        use_threads(threads)
    return of_train, of_test


def _train(examples: Examples, config: TrainConfig) -> MLP:
    run = Run(examples, config)
    while not run.is_finished:
        run.advance()
    return run.finish().network


def _rows(examples: Examples, rows: NDArray[np.intp]) -> Examples:
    return Examples(
        [examples.ids[row] for row in rows], examples.images[rows], examples.labels[rows], examples.contract
    )


def _predict(network: MLP, images: Images) -> Probabilities:
    parts = [images[start : start + ROWS] for start in range(0, len(images), ROWS)]
    with torch.inference_mode():
        return np.concatenate([torch.softmax(network(to_input(part)), dim=1).numpy() for part in parts])
