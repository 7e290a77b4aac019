"""A finished training in one file, so that it need not be done again: safetensors, with the facts in their metadata."""

from dataclasses import asdict
from pathlib import Path

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from components.contract import Epoch
from components.errors import TrainingError
from components.files import write_whole
from components.model.mlp import MLP, ModelConfig
from components.sweeps.candidates import Candidate, Outcome, count_parameters
from components.training.train import Trained

LOGITS, LABELS, NETWORK = "validation_logits", "validation_labels", "network."


def kept_path(folder: Path, candidate: Candidate) -> Path:
    """Where a finished training is."""
    return folder / f"{candidate.key}.safetensors"


def keep_trained(path: Path, trained: Trained) -> None:
    """Write it down, whole or not at all."""
    tensors = {f"{NETWORK}{name}": weight.contiguous() for name, weight in trained.network.state_dict().items()}
    tensors |= {LOGITS: trained.validation_logits.contiguous(), LABELS: torch.tensor(trained.validation_labels)}
    facts = {
        "model": asdict(trained.network.config),
        "history": [asdict(epoch) for epoch in trained.history],
        "best_epoch": trained.best_epoch,
        "seconds": trained.seconds,
        "hardware": trained.hardware,
    }
    write_whole(path, save(tensors, metadata={"facts": orjson.dumps(facts).decode()}))


def read_trained(path: Path, candidate: Candidate) -> Trained:
    """What `keep_trained` wrote.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = orjson.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        network = MLP(ModelConfig(**{**facts["model"], "hidden": tuple(facts["model"]["hidden"])}))
        weights = {name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)}
        network.load_state_dict(weights)
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}; sweep without --resume") from error
    return Trained(
        network=network.eval(),
        config=candidate.config,
        history=tuple(Epoch(**epoch) for epoch in facts["history"]),
        best_epoch=facts["best_epoch"],
        seconds=facts["seconds"],
        hardware=facts["hardware"],
        validation_logits=tensors[LOGITS],
        validation_labels=tensors[LABELS].numpy(),
    )


def tell_trained(candidate: Candidate, trained: Trained) -> Outcome:
    """Its row of the table."""
    chosen = trained.history[trained.best_epoch - 1]
    return Outcome(
        preset=candidate.preset,
        seed=candidate.config.seed,
        validation_accuracy=chosen.validation_accuracy,
        validation_loss=chosen.validation_loss,
        epochs=len(trained.history),
        seconds=trained.seconds,
        parameters=count_parameters(candidate),
        key=candidate.key,
    )
