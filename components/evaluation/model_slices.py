"""Slices of a model's answers on its dataset: test images by class and looks, held-out images by origin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import Dataset, ModelCard, require_equal
from components.dataset.manifest import Examples, read_split
from components.errors import ModelError, SettingsError
from components.evaluation.attributes import Attribute, measure_attributes
from components.evaluation.metrics import AT_ONCE
from components.evaluation.origins import find_origins
from components.evaluation.slices import CHANCE, Slices, find_slices
from components.model.classifier import Classifier
from components.training.config import config_of
from components.training.data import divide_ids

CLASS = "class"  # name of the attribute
TEST, HELD_OUT = "test images", "validation images, held out from training"


@dataclass(frozen=True)
class ModelSlices:
    """The slices of a model."""

    tag: str
    dataset_version: str
    found: tuple[Slices, ...]  # of the test images; then of the held-out images, if their origins differ
    notes: tuple[str, ...] = ()  # what could not be sliced


def slice_model(model: Classifier, dataset: Dataset, test: Examples | None = None) -> ModelSlices:
    """Measure a model by slices of a dataset.

    Test images are sliced by class, brightness, contrast and size. Labels from people, and images that were added
    later, are only in the training split; the images of it that the model was not trained on are sliced by these.

    Args:
        model: Any stored model.
        dataset: A dataset with the model's data contract.
        test: Its test split, if it is read already.

    Raises:
        DatasetError: The dataset is missing or changed.
        ModelError: The model has another data contract.
    """
    require_equal(dataset.contract, model.contract, model.tag, ModelError)
    test = test or read_split(dataset, "test")
    held_out, origins, notes = _find_held_out(model.card, dataset)
    chance = CHANCE / 2 if held_out else CHANCE
    attributes = [Attribute(CLASS, test.labels, test.contract.classes), *measure_attributes(test.images)]
    found = [_slice(model, test, TEST, attributes, chance)]
    if held_out:
        found.append(_slice(model, held_out, HELD_OUT, origins, chance))
    return ModelSlices(model.tag, dataset.version, tuple(found), notes)


def _slice(model: Classifier, examples: Examples, on: str, attributes: list[Attribute], chance: float) -> Slices:
    starts = range(0, len(examples.images), AT_ONCE)
    found = np.concatenate([model.probabilities(examples.images[start : start + AT_ONCE]) for start in starts])
    confidences, predictions = found.max(axis=1), found.argmax(axis=1)
    sure = confidences > model.thresholds[predictions]
    return find_slices(on, predictions == examples.labels, sure, examples.labels, attributes, chance)


def _find_held_out(card: ModelCard, dataset: Dataset) -> tuple[Examples | None, list[Attribute], tuple[str, ...]]:
    """Return the held-out images with their origins, and notes; None if all have one origin, or they are unknown."""
    train = read_split(dataset, "train")
    origins = find_origins(dataset, train)
    if not origins.attributes:
        return None, [], origins.notes
    rows = _held_out_rows(card, dataset, train)
    if rows is None:
        what = " and ".join(one.name for one in origins.attributes)
        reason = "which images were held out from this model's training is not known for this dataset"
        return None, [], (*origins.notes, f"not sliced by {what}: {reason}")
    kept = Examples([train.ids[row] for row in rows], train.images[rows], train.labels[rows], train.contract)
    return kept, [Attribute(one.name, one.values[rows], one.names) for one in origins.attributes], origins.notes


def _held_out_rows(card: ModelCard, dataset: Dataset, train: Examples) -> NDArray[np.intp] | None:
    """Return the rows that the model's training held out, ascending; None if they cannot be determined here.

    A training that started from another model also depends on that model's rows.
    """
    try:
        config = config_of(card.training)
    except (SettingsError, TypeError, KeyError):  # fields of another version
        return None
    if config.start_from or card.dataset_version != dataset.version:
        return None
    held_out = divide_ids(train, config).held_out
    rows = np.array([row for row, row_id in enumerate(train.ids) if row_id in held_out], np.intp)
    return rows if len(rows) == card.calibration.rows and len(rows) else None
