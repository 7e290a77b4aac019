"""Saves the state of a training in one file, written atomically, to resume it after an interruption.

Format: SHA-256 of the rest (64 hex digits), newline, then safetensors with the facts in the metadata.
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

START_OVER = "train without --resume, or remove the file"


@dataclass(frozen=True)
class State:
    """Everything that the next epoch depends on, except the data and the configuration."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # JSON-serializable


def state_path(folder: Path, dataset_version: str, config: TrainConfig) -> Path:
    """Return the state file of a training. It depends on configuration, dataset, code, PyTorch and threads."""
    versions = [dataset_version, training_code(), torch.__version__, torch.get_num_threads()]
    key = orjson.dumps([versions, asdict(config)], option=orjson.OPT_SORT_KEYS)
    return folder / f"unfinished-{hashlib.sha256(key).hexdigest()[:16]}"


def write_state(path: Path, state: State) -> None:
    """Save a state, replacing the previous one."""
    content = pack(state.tensors, "facts", state.facts)
    write_whole(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_state(path: Path) -> State:
    """Read a state that `write_state` wrote.

    Raises:
        TrainingError: The file is damaged.
    """
    recorded, _, content = path.read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != recorded:
        raise TrainingError(f"{path}: changed since it was written; {START_OVER}")
    try:
        tensors, facts = unpack(content, "facts")
        return State(tensors, orjson.loads(facts))
    except ValueError as error:
        raise TrainingError(f"{path}: not a training state: {error}; {START_OVER}") from error
