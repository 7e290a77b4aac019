"""Candidates of a sweep, their outcomes, and their ranking by validation accuracy. The test split is not read."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import torch

from components.contract import Dataset
from components.errors import SettingsError
from components.training.config import TrainConfig
from components.training.presets import configure, count_parameters


@dataclass(frozen=True)
class Candidate:
    """One training of a sweep."""

    preset: str
    config: TrainConfig
    dataset: Dataset

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the stored network."""
        return count_parameters(self.config, self.dataset.contract)

    @property
    def key(self) -> str:
        """File name stem: unique to the preset, configuration, dataset and PyTorch version."""
        identity = [self.dataset.version, torch.__version__, asdict(self.config)]
        content = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
        return f"{self.preset}-{self.config.seed}-{hashlib.sha256(content).hexdigest()[:16]}"


@dataclass(frozen=True)
class Outcome:
    """Result of one training, at its best epoch: a row of the sweep's table."""

    preset: str
    seed: int
    validation_accuracy: float | None  # None if it failed
    validation_loss: float | None  # mean cross-entropy, nats; None if it failed
    epochs: int  # completed
    seconds: float  # of all epochs
    parameters: int
    key: str
    error: str = ""

    @property
    def rank(self) -> tuple[float, float, str]:
        """Sort key, best first: highest validation accuracy, then lowest validation loss; failures last."""
        if self.validation_accuracy is None or self.validation_loss is None:
            return math.inf, math.inf, self.key
        return -self.validation_accuracy, self.validation_loss, self.key


def list_candidates(
    presets: Sequence[str], seeds: Sequence[int], overrides: dict[str, Any], dataset: Dataset
) -> list[Candidate]:
    """Return a candidate for every combination of preset and seed.

    Raises:
        SettingsError: Presets or seeds are empty or repeated, a preset or field is unknown, or a value is invalid.
    """
    for name, given in (("presets", presets), ("seeds", seeds)):
        if not given or len(set(given)) != len(given):
            raise SettingsError(f"{name}: {', '.join(map(str, given)) or 'none'}; expected one or more, no duplicates")
    if "seed" in overrides:
        raise SettingsError("seed: cannot be set in a sweep. Use --seeds")
    image = dataset.contract.input
    return [
        Candidate(preset, configure(preset, {**overrides, "seed": seed}, image), dataset)
        for preset, seed in product(presets, seeds)
    ]


def failed_outcome(candidate: Candidate, error: str) -> Outcome:
    """Return the row of a failed training."""
    return Outcome(
        candidate.preset, candidate.config.seed, None, None, 0, 0.0, candidate.parameters, candidate.key, error
    )


def sort_outcomes(found: Iterable[Outcome]) -> list[Outcome]:
    """Sort outcomes, best first."""
    return sorted(found, key=lambda outcome: outcome.rank)


def sweeps_folder(checkpoints: Path) -> Path:
    """Return the folder of the finished trainings of sweeps."""
    return checkpoints / "sweeps"
