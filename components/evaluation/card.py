"""Writes the ModelCard of a finished training."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from components.contract import (
    SPLITS,
    Calibration,
    Dataset,
    KnownRange,
    ModelCard,
    Predictions,
    Probed,
    Profile,
    Validated,
)
from components.dataset.manifest import Manifest, read_manifest, read_split
from components.evaluation.calibrate import calibrate, calibrate_known
from components.evaluation.metrics import AT_ONCE, evaluate
from components.evaluation.profile import make_profile, to_seen
from components.model.known import KnownInputs
from components.model.mlp import MLP
from components.model.tensors import to_input
from components.settings import checkout_commit
from components.training.identity import training_code
from components.training.train import Trained

PACKAGES = ("torch", "numpy", "pyarrow", "safetensors", "bentoml", "prefect", "great-expectations")
PROBES, MAX_NUMBERS = 10, 1_000_000  # probes per class; upper bound of the number of probabilities of all probes


def write_card(preset: str, validated: Validated, trained: Trained) -> ModelCard:
    """Calibrate a trained network on its validation rows, evaluate it, and write its card.

    Args:
        preset: Name of the preset.
        validated: Receipt of the validated training data.
        trained: Result of the training.

    Raises:
        DatasetError: The data changed since its validation.
    """
    calibration = calibrate(trained.validation_logits, trained.validation_labels)
    known, distances = trained.network.known, trained.validation_distances
    manifest = read_manifest(validated.dataset)
    return ModelCard(
        preset=preset,
        contract=validated.dataset.contract,
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
        git_commit=checkout_commit(),
        packages={name: version(name) for name in PACKAGES},
        probes=probe(trained.network, validated.dataset, calibration),
        licence=_licence_of(manifest),
        profile=profile(trained.network, validated.dataset, calibration),
        code=training_code(),
        revisions=manifest.revisions,
        known=None if known is None or distances is None else _measure_known(trained, known, distances, validated),
    )


def _measure_known(
    trained: Trained, known: KnownInputs, distances: NDArray[np.float32], validated: Validated
) -> KnownRange:
    """Fit the threshold for unknown inputs, and count the test images above it."""
    found, measure = calibrate_known(distances, known), known.measure(validated.dataset.contract.compared)
    with torch.inference_mode():
        parts = to_input(read_split(validated.dataset, "test").images).split(AT_ONCE)
        of_test = torch.cat([measure(part, trained.network.hidden(part)) for part in parts]).numpy()
    return replace(found, test_refused=float((~found.is_known(of_test)).mean()))


def probe(network: MLP, dataset: Dataset, calibration: Calibration) -> tuple[Probed, ...]:
    """Return the calibrated probabilities of the first test images of each class, computed without any serving code.

    With more than 316 classes there are fewer probes per class, which keeps the card below a few megabytes.

    Raises:
        DatasetError: The data changed since it was written.
    """
    test = read_split(dataset, "test")
    classes = len(dataset.contract.classes)
    most = min(PROBES, MAX_NUMBERS // classes**2)
    rows = np.sort(np.concatenate([np.flatnonzero(test.labels == label)[:most] for label in range(classes)]))
    with torch.inference_mode():
        logits = network.eval()(to_input(test.images[rows]))
    probabilities = torch.softmax(logits / calibration.temperature, dim=1).double().numpy().round(7)
    return tuple(Probed(test.ids[row], tuple(probed)) for row, probed in zip(rows, probabilities.tolist(), strict=True))


def profile(network: MLP, dataset: Dataset, calibration: Calibration) -> Profile:
    """Return the reference profile for drift detection: statistics of the test images and their predictions.

    Raises:
        DatasetError: The data changed since it was written.
    """
    images = read_split(dataset, "test").images
    with torch.inference_mode():
        logits = torch.cat([network.eval()(part) for part in to_input(images).split(AT_ONCE)])
    probabilities = torch.softmax(logits / calibration.temperature, dim=1)
    confidences, labels = (found.numpy() for found in probabilities.max(dim=1))
    classes = network.contract.classes
    sure = confidences > calibration.bars(len(classes))[labels]
    predictions = Predictions("", classes, labels.astype(np.uint16), probabilities.numpy(), sure)
    return make_profile(to_seen(predictions, images), len(classes))


def _licence_of(manifest: Manifest) -> str:
    added = len(manifest.parts) > len(SPLITS)
    return f"{manifest.licence}; examples added later: as stated by their owners" if added else manifest.licence
