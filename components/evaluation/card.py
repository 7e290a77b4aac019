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
from components.model.inputs import to_rows
from components.model.mlp import MLP
from components.model.numpy_mlp import softmax
from components.model.tensors import to_input
from components.settings import checkout_commit
from components.training.identity import training_code
from components.training.train import Trained

PACKAGES = ("torch", "numpy", "pyarrow", "safetensors", "bentoml", "prefect", "great-expectations")
OF_NETWORKS = ("onnxruntime", "pillow")  # which make the vectors
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
    known = _fit_known(trained)
    reference = profile(trained.network, validated.dataset, calibration, known)
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
        packages={name: version(name) for name in (*PACKAGES, *(OF_NETWORKS if manifest.contract.embedding else ()))},
        probes=probe(trained.network, validated.dataset, calibration),
        licence=_licence_of(manifest),
        profile=reference,
        code=training_code(),
        revisions=manifest.revisions,
        known=known and replace(known, test_refused=_share_unknown(reference)),
    )


def _fit_known(trained: Trained) -> KnownRange | None:
    """Fit the threshold for unknown inputs; None if the network does not detect them."""
    known, distances = trained.network.known, trained.validation_distances
    return None if known is None or distances is None else calibrate_known(distances, known)


def _share_unknown(reference: Profile) -> float:
    """The share of the test images that count as unknown, 0 to 1."""
    return sum(reference.unknown) / sum(map(sum, next(iter(reference.counts.values()))))


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


@np.errstate(all="ignore")  # as in `Classifier`
def profile(network: MLP, dataset: Dataset, calibration: Calibration, known: KnownRange | None = None) -> Profile:
    """Return the reference profile for drift detection: statistics of the test images and their predictions.

    Raises:
        DatasetError: The data changed since it was written.
    """
    images = read_split(dataset, "test").images
    served, classes = network.to_numpy(), network.contract.classes
    logits, distances = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
    for start in range(0, len(images), AT_ONCE):
        inputs = to_rows(images[start : start + AT_ONCE])
        hidden = served.hidden(inputs)
        logits.append(served.output(hidden))
        if served.measure:
            distances.append(served.measure(inputs, hidden))
    probabilities = softmax(np.concatenate(logits) / np.float32(calibration.temperature))
    labels = probabilities.argmax(axis=1).astype(np.uint16)
    sure = probabilities.max(axis=1) > calibration.bars(len(classes))[labels]
    flags = known.is_known(np.concatenate(distances)) if known and distances else None
    predictions = Predictions("", classes, labels, probabilities, sure, flags)
    return make_profile(to_seen(predictions, images), len(classes))


def _licence_of(manifest: Manifest) -> str:
    added = len(manifest.parts) > len(SPLITS)
    return f"{manifest.licence}; examples added later: as stated by their owners" if added else manifest.licence
