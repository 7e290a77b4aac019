"""Stores a finished training of a sweep in one safetensors file, so that it can be reused."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from components.contract import Epoch, NonNegative, Positive
from components.errors import FashionError, TrainingError
from components.files import write_whole
from components.model.mlp import MLP, ModelConfig
from components.model.packing import pack, unpack
from components.records import read_record
from components.training.sweeps.candidates import Candidate, Outcome
from components.training.train import Trained

LOGITS, LABELS, DISTANCES = "validation_logits", "validation_labels", "validation_distances"
NETWORK = "network."


@dataclass(frozen=True)
class Facts:
    """Metadata of a training: everything but its tensors."""

    model: ModelConfig
    history: tuple[Epoch, ...]
    best_epoch: Positive
    seconds: NonNegative
    hardware: dict[str, Any]


def kept_path(folder: Path, candidate: Candidate) -> Path:
    """Return the file of a candidate's finished training."""
    return folder / f"{candidate.key}.safetensors"


def keep_trained(path: Path, trained: Trained) -> None:
    """Write a finished training to a file, atomically."""
    tensors = {f"{NETWORK}{name}": weight for name, weight in trained.network.to_tensors().items()}
    tensors |= {LOGITS: trained.validation_logits, LABELS: torch.tensor(trained.validation_labels)}
    if trained.validation_distances is not None:
        tensors[DISTANCES] = torch.tensor(trained.validation_distances)
    facts = Facts(
        trained.network.config, trained.history, trained.best_epoch, trained.seconds, hardware=trained.hardware
    )
    write_whole(path, pack(tensors, "facts", asdict(facts)))


def read_trained(path: Path, candidate: Candidate) -> Trained:
    """Read a training that `keep_trained` wrote.

    Raises:
        TrainingError: The file is missing or damaged.
    """
    try:
        tensors, metadata = unpack(path.read_bytes(), "facts")
        facts = read_record(Facts, metadata, "facts", TrainingError)
        network = MLP(facts.model, candidate.dataset.contract)
        weights = {name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)}
        network.from_tensors(weights)
        logits, labels, distances = tensors[LOGITS], tensors[LABELS].numpy(), tensors.get(DISTANCES)
    except (FashionError, OSError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{path}: cannot be read: {reason}; sweep without --resume") from error
    if facts.best_epoch > len(facts.history):
        found = f"best epoch {facts.best_epoch}, expected at most {len(facts.history)}"
        raise TrainingError(f"{path}: {found}; sweep without --resume")
    return Trained(
        network=network.eval(),
        config=candidate.config,
        history=facts.history,
        best_epoch=facts.best_epoch,
        seconds=facts.seconds,
        hardware=facts.hardware,
        validation_logits=logits,
        validation_labels=labels,
        validation_distances=None if distances is None else distances.numpy(),
    )


def trained_outcome(candidate: Candidate, trained: Trained) -> Outcome:
    """Return the row of a finished training."""
    chosen = trained.history[trained.best_epoch - 1]
    return Outcome(
        preset=candidate.preset,
        seed=candidate.config.seed,
        validation_accuracy=chosen.validation_accuracy,
        validation_loss=chosen.validation_loss,
        epochs=len(trained.history),
        seconds=trained.seconds,
        parameters=candidate.parameters,
        key=candidate.key,
    )
