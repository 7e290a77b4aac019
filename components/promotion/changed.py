"""Compare a challenger with a champion that has different classes, on the groups of classes that both know."""

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

ImageCounts = Counter[tuple[int, str, bytes]]  # (group, id, SHA-256 of the pixels) -> number of images


@dataclass(frozen=True)
class PairedAnswers:
    """Answers of challenger and champion on the same images."""

    labels: Labels  # true labels, (n,); groups if the classes changed
    ours: Answers
    theirs: Answers
    champion: Performance
    changed: ChangedClasses | None = None  # None: both have the same classes

    def count_discordant(self) -> tuple[int, int]:
        """Count the images that only the challenger gets right (fixed) and only the champion does (regressed)."""
        right, other_right = self.ours.labels == self.labels, self.theirs.labels == self.labels
        return int((right & ~other_right).sum()), int((other_right & ~right).sum())

    def measure_noise(self) -> Noise:
        """Estimate how far equally good models differ by chance on these images."""
        return measure_noise(self.labels, self.ours, self.theirs, len(self.champion.metrics.classes))


@dataclass(frozen=True)
class CommonImages:
    """Test images of the classes that both models know."""

    images: Images  # (n,)
    labels: Labels  # groups, (n,)
    version: str  # version of their split


def compare_changed(
    challenger: Classifier, champion: Classifier, common: CommonClasses, test: Examples, dataset: Dataset
) -> PairedAnswers:
    """Evaluate both models on the classes that both know.

    Args:
        challenger: model with the dataset's contract.
        champion: model with other classes.
        common: class groups of the two models.
        test: test split of the challenger's dataset.
        dataset: the challenger's dataset; the champion's is expected in the same folder.

    Raises:
        DatasetError: no test image belongs to a common class.
        ModelError: a logit is not finite.
    """
    groups = common.ours.part_of(test.labels)
    rows = groups < len(common.names)
    if not rows.any():
        raise DatasetError(f"dataset {dataset.version}: no test image belongs to a class that {champion.tag} knows")
    seen = CommonImages(test.images[rows], groups[rows], read_manifest(dataset).split_version("test"))
    ours, performance = _perform(challenger, common, common.ours, seen)
    theirs, champion_performance = _perform(champion, common, common.theirs, seen)
    other = find_other_images(common, test, champion, dataset.path.parent)
    changed = ChangedClasses(performance, common.summary, other)
    return PairedAnswers(seen.labels, ours, theirs, champion_performance, changed)


def _perform(
    model: Classifier, common: CommonClasses, grouped: GroupedClasses, seen: CommonImages
) -> tuple[Answers, Performance]:
    """Evaluate by group, like `trial.perform`. A group's probability is the sum over its classes, as served."""

    def answer(images: Images) -> Tensor:
        return grouped.join(finite_logits(model, images) / model.card.calibration.temperature)

    logits = answer(seen.images)
    clean, disturbed = measure_robustness(lambda images: answer(images).numpy(), seen.images, seen.labels)
    performance = Performance(
        tag=model.tag,
        card=model.card,
        metrics=common.measure(logits, seen.labels, grouped, seen.version),
        robustness={name: (float(right.mean()), float(clean.mean())) for name, right in disturbed.items()},
        bytes=model.bytes,
    )
    return to_answers(logits, seen.labels, 1.0, clean, disturbed), performance


def finite_logits(model: Classifier, images: Images) -> Tensor:
    """Compute a model's logits, float32 (n, classes).

    Raises:
        ModelError: a logit is not finite.
    """
    logits = torch.from_numpy(model.logits(images))
    if not torch.isfinite(logits).all():
        raise ModelError(f"{model.tag}: its logits on the test images are not finite")
    return logits


def find_other_images(common: CommonClasses, test: Examples, champion: Classifier, folder: Path) -> str:
    """Check that the champion was evaluated on the same test images of the common classes.

    Args:
        common: class groups of the two models.
        test: test split of the challenger's dataset.
        champion: the live model.
        folder: where the datasets are.

    Returns:
        How the images differ; "" if they are the same.
    """
    card, groups = champion.card, len(common.names)
    try:
        dataset = dataset_of(folder, card.dataset_version)
        require_equal(card.contract, dataset.contract, f"dataset {dataset.version}", DatasetError)
        theirs = read_split(dataset, "test")
    except DatasetError as error:
        return f"the test images of the live model {champion.tag} cannot be read: {error}"
    ours = _count(test, common.ours.part_of(test.labels), groups)
    live = _count(theirs, common.theirs.part_of(theirs.labels), groups)
    missing, new = (live - ours).total(), (ours - live).total()
    if not missing and not new:
        return ""
    return (
        f"in the common classes, the challenger's dataset lacks {missing:,} test images of the live model"
        f" {champion.tag} and has {new:,} others"
    )


def _count(examples: Examples, parts: NDArray[np.uint16], groups: int) -> ImageCounts:
    return Counter(
        (int(parts[row]), examples.ids[row], hashlib.sha256(examples.images[row].tobytes()).digest())
        for row in np.flatnonzero(parts < groups)
    )
