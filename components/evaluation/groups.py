"""Maps the classes of two models of one catalogue to common groups, if the classes changed in between.

A renamed class is one group. A merged or split class forms a group with its parts: for the model that has the parts,
the probability of the group is their sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Calibration, Labels, Metrics, ModelCard
from components.evaluation.metrics import measure
from components.revisions import Lineage, describe_changes, group, join_names, relate

MIN_GROUPS = 2  # with one group, every prediction is the same


@dataclass(frozen=True)
class GroupedClasses:
    """A partition of a model's classes: the common groups first, then each class that only this model has."""

    parts: tuple[tuple[int, ...], ...]  # labels of each part; each label is in exactly one part
    names: tuple[str, ...]  # of the parts

    @property
    def count(self) -> int:
        """Number of classes."""
        return sum(map(len, self.parts))

    def join(self, logits: Tensor) -> Tensor:
        """Join logits, float32 (n, classes), to (n, parts); their softmax is the sum of each part's probabilities."""
        return torch.stack([logits[:, list(part)].logsumexp(dim=1) for part in self.parts], dim=1)

    def part_of(self, labels: Labels) -> NDArray[np.uint16]:
        """Return the index of the part of each label, (n,)."""
        places = np.empty(self.count, np.uint16)
        for number, part in enumerate(self.parts):
            places[list(part)] = number
        return places[labels]


@dataclass(frozen=True)
class CommonClasses:
    """The groups of classes that two models have in common."""

    names: tuple[str, ...]  # of the groups: "coat", or "top (coat and shirt before)"
    ours: GroupedClasses
    theirs: GroupedClasses
    summary: str  # changes from their classes to ours, in words

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of the groups, then of the classes that only we have, then of those that only they have."""
        gone = self.theirs.names[len(self.names) :]
        return (*self.ours.names, *(f"{name} (gone)" for name in gone))

    def place_ours(self, labels: Labels) -> Labels:
        """Map labels of our classes to positions in `all_names`, (n,); an unknown label to one past the last."""
        places = np.full(len(labels), len(self.all_names), np.uint16)
        known = labels < self.ours.count
        places[known] = self.ours.part_of(labels[known])
        return places

    def place_theirs(self, labels: Labels) -> Labels:
        """Map labels of their classes to positions in `all_names`, (n,)."""
        return self.place_their_parts(self.theirs.part_of(labels))

    def place_their_parts(self, parts: Labels) -> Labels:
        """Map parts of their classes to positions in `all_names`, (n,)."""
        groups = len(self.names)
        return np.where(parts < groups, parts, parts + len(self.ours.parts) - groups).astype(np.uint16)

    def measure(self, logits: Tensor, labels: Labels, grouped: GroupedClasses, version: str) -> Metrics:
        """Evaluate a model on the test images of the common groups. Every prediction outside the groups is wrong.

        The model's thresholds are ignored, so `coverage` and `sure_accuracy` do not apply to it as served.

        Args:
            logits: Logits by part, divided by the model's temperature, float32 (n, parts).
            labels: True groups, (n,), n at least 1.
            grouped: The model's classes.
            version: Version of the test split.
        """
        found = measure(logits, labels, grouped.names, "test", version, Calibration())
        groups = len(self.names)
        return replace(found, classes=found.classes[:groups], confusion=found.confusion[:groups])


def find_common(ours: ModelCard, theirs: ModelCard) -> CommonClasses | None:
    """Return the classes to compare two models on; None if their data is unrelated or fewer than two groups remain."""
    if replace(ours.contract, classes=theirs.classes, aliases=()).difference(theirs.contract):
        return None
    related = relate(Lineage(ours.classes, ours.revisions), Lineage(theirs.classes, theirs.revisions))
    groups = [] if related is None else group(related)
    common = [(left, right) for left, right in groups if left and right]
    if len(common) < MIN_GROUPS:
        return None
    names = tuple(
        _name_group([ours.classes[label] for label in left], [theirs.classes[label] for label in right])
        for left, right in common
    )
    return CommonClasses(
        names,
        _group_classes(ours.classes, names, [left for left, _ in common]),
        _group_classes(theirs.classes, names, [right for _, right in common]),
        describe_changes(ours.classes, theirs.classes, groups) or "in another order",
    )


def _name_group(ours: Sequence[str], theirs: Sequence[str]) -> str:
    return join_names(ours) if ours == theirs else f"{join_names(ours)} ({join_names(theirs)} before)"


def _group_classes(classes: Sequence[str], names: tuple[str, ...], common: Sequence[tuple[int, ...]]) -> GroupedClasses:
    known = {label for part in common for label in part}
    alone = [label for label in range(len(classes)) if label not in known]
    parts = (*common, *((label,) for label in alone))
    return GroupedClasses(parts, (*names, *(classes[label] for label in alone)))
