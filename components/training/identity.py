"""Whether a training would be the one that gave a model: same data, same recipe, same code, same PyTorch."""

import hashlib
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson

from components.contract import Dataset, ModelCard
from components.settings import CHECKOUT
from components.training.config import TrainConfig

# What the weights and the calibration of a model depend on.
SOURCES = ("contract.py", "dataset/manifest.py", "model/*.py", "training/*.py", "evaluation/c*.py")


@cache  # it is the code of this process, whatever becomes of the files
def training_code() -> str:
    """SHA-256 of the sources that a training depends on, 16 hex digits. A commit elsewhere leaves it as it is."""
    folder, digest = CHECKOUT / "components", hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in folder.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def is_same_training(card: ModelCard, dataset: Dataset, config: TrainConfig) -> bool:
    """Whether training again would be to repeat what gave this model.

    Args:
        card: the model's.
        dataset: what would be trained on.
        config: the recipe.
    """
    return (
        card.dataset_version == dataset.version
        and card.code == training_code()
        and card.packages.get("torch") == version("torch")
        and _as_json(card.training) == _as_json(asdict(config))
    )


def _as_json(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
