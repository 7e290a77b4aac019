"""Detects that a training would repeat the one that produced a model: same data, settings, code and PyTorch."""

import hashlib
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson

from components.contract import Dataset, ModelCard
from components.settings import CHECKOUT
from components.training.config import TrainConfig

# The sources that a model's weights and calibration depend on.
SOURCES = ("contract.py", "dataset/manifest.py", "model/*.py", "training/*.py", "evaluation/c*.py")


@cache  # identifies the code of this process, even if the files change later
def training_code() -> str:
    """Return the hash of the sources that a training depends on: SHA-256, 16 hex digits. Other files do not count."""
    folder, digest = CHECKOUT / "components", hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in folder.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def is_same_training(card: ModelCard, dataset: Dataset, config: TrainConfig) -> bool:
    """Return whether training with this configuration would repeat the training of a model.

    Args:
        card: The model's card.
        dataset: The dataset to train on.
        config: The configuration to train with.
    """
    return (
        card.dataset_version == dataset.version
        and card.code == training_code()
        and card.packages.get("torch") == version("torch")
        and _as_json(card.training) == _as_json(asdict(config))
    )


def _as_json(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
