"""The trainings of a sweep, what each came to, and which is best by its validation rows. The test split is not read."""

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
        """Weights and biases of the network that it would store."""
        return count_parameters(self.config, self.dataset.contract)

    @property
    def key(self) -> str:
        """What its files are called: another recipe, dataset or PyTorch is another name."""
        told = orjson.dumps([self.dataset.version, torch.__version__, asdict(self.config)], option=orjson.OPT_SORT_KEYS)
        return f"{self.preset}-{self.config.seed}-{hashlib.sha256(told).hexdigest()[:16]}"


@dataclass(frozen=True)
class Outcome:
    """What a training came to, of its chosen epoch; a row of the table."""

    preset: str
    seed: int
    validation_accuracy: float | None  # None where it failed
    validation_loss: float | None  # mean cross-entropy, nats
    epochs: int  # that ran
    seconds: float  # of all epochs
    parameters: int
    key: str
    error: str = ""

    @property
    def rank(self) -> tuple[float, float, str]:
        """The best comes first: the highest validation accuracy, then the lowest loss; failures come last."""
        if self.validation_accuracy is None or self.validation_loss is None:
            return math.inf, math.inf, self.key
        return -self.validation_accuracy, self.validation_loss, self.key


def list_candidates(
    presets: Sequence[str], seeds: Sequence[int], overrides: dict[str, Any], dataset: Dataset
) -> list[Candidate]:
    """Every preset with every seed.

    Raises:
        SettingsError: no presets or seeds, one twice, no such preset or field, or a value that cannot be used.
    """
    for name, given in (("presets", presets), ("seeds", seeds)):
        if not given or len(set(given)) != len(given):
            raise SettingsError(f"{name}: {', '.join(map(str, given)) or 'none'}; expected one or more, each once")
    if "seed" in overrides:
        raise SettingsError("seed: a sweep takes it from --seeds")
    image = dataset.contract.image
    return [
        Candidate(preset, configure(preset, {**overrides, "seed": seed}, image), dataset)
        for preset, seed in product(presets, seeds)
    ]


def failed_outcome(candidate: Candidate, error: str) -> Outcome:
    """The row of a training that gave no network."""
    return Outcome(
        candidate.preset, candidate.config.seed, None, None, 0, 0.0, candidate.parameters, candidate.key, error
    )


def sort_outcomes(found: Iterable[Outcome]) -> list[Outcome]:
    """Best first."""
    return sorted(found, key=lambda outcome: outcome.rank)


def sweeps_folder(checkpoints: Path) -> Path:
    """Where finished trainings of sweeps stay until they are swept again."""
    return checkpoints / "sweeps"
