"""A training in progress, in one file that appears whole or not at all: to go on where a stop left it.

<SHA-256 of the rest, 64 hex digits> newline, then safetensors with the facts in their metadata
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor

from components.errors import TrainingError
from components.files import write_whole
from components.model.packing import pack, unpack
from components.training.config import TrainConfig
from components.training.identity import training_code

START_ANEW = "train without --resume, or remove it"


@dataclass(frozen=True)
class State:
    """Everything that the next epoch depends on, but for the data and the configuration."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # JSON


def state_path(folder: Path, dataset_version: str, config: TrainConfig) -> Path:
    """Where a training keeps its state: another recipe, dataset, code, PyTorch or number of threads is another file."""
    versions = [dataset_version, training_code(), torch.__version__, torch.get_num_threads()]
    key = orjson.dumps([versions, asdict(config)], option=orjson.OPT_SORT_KEYS)
    return folder / f"unfinished-{hashlib.sha256(key).hexdigest()[:16]}"


def write_state(path: Path, state: State) -> None:
    """Replace the state that was kept before."""
    content = pack(state.tensors, "facts", state.facts)
    write_whole(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_state(path: Path) -> State:
    """What `write_state` wrote.

    Raises:
        TrainingError: it is damaged.
    """
    recorded, _, content = path.read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != recorded:
        raise TrainingError(f"{path}: changed since it was written; {START_ANEW}")
    try:
        tensors, facts = unpack(content, "facts")
        return State(tensors, orjson.loads(facts))
    except ValueError as error:
        raise TrainingError(f"{path}: not the state of a training: {error}; {START_ANEW}") from error
