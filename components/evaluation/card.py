"""What is known of a training, as it happened -> ModelCard."""

import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from components.contract import ModelCard, Validated
from components.evaluation.calibrate import calibrate
from components.evaluation.metrics import evaluate
from components.settings import CHECKOUT
from components.training.train import Trained

PACKAGES = ("torch", "numpy", "pyarrow", "safetensors", "bentoml", "prefect", "great-expectations")


def write_card(preset: str, validated: Validated, trained: Trained) -> ModelCard:
    """Calibrate a trained network on its validation rows, then read the test split, once.

    Args:
        preset: the recipe's name.
        validated: what it was trained on.
        trained: what came of it.

    Raises:
        DatasetError: the data changed since it was validated.
    """
    calibration = calibrate(trained.validation_logits, trained.validation_labels)
    return ModelCard(
        preset=preset,
        model=asdict(trained.network.config),
        training=asdict(trained.config),
        hardware=trained.hardware,
        source=validated.dataset.source,
        dataset_version=validated.dataset.version,
        expectations=validated.expectations,
        calibration=calibration,
        train=evaluate(trained.network, validated.dataset, "train", calibration),
        test=evaluate(trained.network, validated.dataset, "test", calibration),
        history=trained.history,
        best_epoch=trained.best_epoch,
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
