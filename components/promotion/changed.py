"""A challenger beside a live model of other classes: on the test images and by the groups of classes that both know."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Dataset, Images, Labels, require_equal
from components.dataset.manifest import Examples, dataset_of, read_manifest, read_split
from components.errors import DatasetError, ModelError
from components.evaluation.groups import CommonClasses, GroupedClasses
from components.model.classifier import Classifier
from components.promotion.gate import ChangedClasses, Performance
from components.promotion.noise import Answers, Noise, measure_noise, to_answers
from components.promotion.robustness import measure_robustness

Known = Counter[tuple[int, str, bytes]]  # group, id and SHA-256 of the pixels -> images


@dataclass(frozen=True)
class Beside:
    """What two models say of the same images."""

    labels: Labels  # the true ones, (n,); groups where classes changed
    ours: Answers
    theirs: Answers
    champion: Performance
    changed: ChangedClasses | None = None  # None: both know the same classes

    def count_uneven(self) -> tuple[int, int]:
        """How many images only the challenger gets right, and how many only the champion."""
        right, other_right = self.ours.labels == self.labels, self.theirs.labels == self.labels
        return int((right & ~other_right).sum()), int((other_right & ~right).sum())

    def measure_noise(self) -> Noise:
        """How far models of equal quality would differ by chance."""
        return measure_noise(self.labels, self.ours, self.theirs, len(self.champion.metrics.classes))


@dataclass(frozen=True)
class CommonImages:
    """Test images of the classes that both know."""

    images: Images  # (n, height, width[, 3])
    labels: Labels  # the groups, (n,)
    version: str  # of the split that they are of


def compare_changed(
    challenger: Classifier, champion: Classifier, common: CommonClasses, test: Examples, dataset: Dataset
) -> Beside:
    """Measure both on what both know.

    Args:
        challenger: of the dataset's contract.
        champion: of other classes.
        common: what goes together.
        test: the test split of the challenger's dataset.
        dataset: that dataset; the champion's is looked for beside it.

    Raises:
        DatasetError: no test image is of a class that both know.
        ModelError: a logit is not finite.
    """
    groups = common.ours.part_of(test.labels)
    rows = groups < len(common.names)
    if not rows.any():
        raise DatasetError(f"dataset {dataset.version}: no test image is of a class that {champion.tag} knows too")
    seen = CommonImages(test.images[rows], groups[rows], read_manifest(dataset).split_version("test"))
    ours, performance = _perform(challenger, common, common.ours, seen)
    theirs, rival = _perform(champion, common, common.theirs, seen)
    other = find_other_images(common, test, champion, dataset.path.parent)
    return Beside(seen.labels, ours, theirs, rival, ChangedClasses(performance, common.summary, other))


def _perform(
    model: Classifier, common: CommonClasses, grouped: GroupedClasses, seen: CommonImages
) -> tuple[Answers, Performance]:
    """As `trial.perform`, by group; the probabilities of a group are the served ones of its classes, added up."""

    def answer(images: Images) -> Tensor:
        return grouped.join(finite_logits(model, images) / model.card.calibration.temperature)

    logits = answer(seen.images)
    clean, disturbed = measure_robustness(answer, seen.images, seen.labels)
    performance = Performance(
        tag=model.tag,
        card=model.card,
        metrics=common.measure(logits, seen.labels, grouped, seen.version),
        robustness={name: (float(right.mean()), float(clean.mean())) for name, right in disturbed.items()},
        bytes=sum(weight.nbytes for weight in model.network.parameters()),
    )
    return to_answers(logits, seen.labels, 1.0, clean, disturbed), performance


def finite_logits(model: Classifier, images: Images) -> Tensor:
    """What a model says, float32 (n, classes).

    Raises:
        ModelError: a logit is not finite.
    """
    logits = model.logits(images)
    if not torch.isfinite(logits).all():
        raise ModelError(f"{model.tag}: what it says of the test images is not finite")
    return logits


def find_other_images(common: CommonClasses, test: Examples, champion: Classifier, folder: Path) -> str:
    """Why the images of the common classes are not those that the live model was judged on; "" where they are.

    Args:
        common: the classes.
        test: the test split of the challenger's dataset.
        champion: the live model.
        folder: where datasets are.
    """
    card, groups = champion.card, len(common.names)
    try:
        dataset = dataset_of(folder, card.dataset_version)
        require_equal(card.contract, dataset.contract, f"dataset {dataset.version}", DatasetError)
        theirs = read_split(dataset, "test")
    except DatasetError as error:
        return f"the test images of {champion.tag}, which is live, cannot be read and so not be compared: {error}"
    ours = _count(test, common.ours.part_of(test.labels), groups)
    live = _count(theirs, common.theirs.part_of(theirs.labels), groups)
    gone, new = (live - ours).total(), (ours - live).total()
    if not gone and not new:
        return ""
    return (
        f"of the classes that both know the challenger's dataset lacks {gone:,} of the test images that {champion.tag},"
        f" which is live, was judged on, and has {new:,} others"
    )


def _count(examples: Examples, parts: NDArray[np.uint16], groups: int) -> Known:
    return Counter(
        (int(parts[row]), examples.ids[row], hashlib.sha256(examples.images[row].tobytes()).digest())
        for row in np.flatnonzero(parts < groups)
    )
