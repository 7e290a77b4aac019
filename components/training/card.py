"""What is known of a training, as it happened -> ModelCard."""

import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from components.contract import Metrics, ModelCard, Validated
from components.settings import CHECKOUT
from components.training.train import Trained

PACKAGES = ("torch", "numpy", "pyarrow", "safetensors", "bentoml", "prefect", "great-expectations")


def write_card(preset: str, validated: Validated, trained: Trained, train: Metrics, test: Metrics) -> ModelCard:
    """The card of a trained network.

    Args:
        preset: the recipe's name.
        validated: what it was trained on.
        trained: what came of it.
        train: its metrics on the whole training split, validation rows included.
        test: its metrics on the test split.
    """
    return ModelCard(
        preset=preset,
        model=asdict(trained.config.model),
        training={**asdict(trained.config), "best_epoch": trained.best_epoch},
        source=validated.dataset.source,
        dataset_version=validated.dataset.version,
        train=train,
        test=test,
        history=trained.history,
        train_seconds=trained.seconds,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        git_commit=_git_commit(),
        packages={name: version(name) for name in PACKAGES},
    )


def _git_commit() -> str:
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+changes" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
