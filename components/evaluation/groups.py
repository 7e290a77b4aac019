"""Two models of one catalogue whose classes changed in between, seen through the classes that both know.

A class that was renamed is one class for both. One that was merged is, for the model that still has its parts, the sum
of these; one that was split likewise. Such classes that go together are a group.
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

MIN_GROUPS = 2  # in one, every answer is the same


@dataclass(frozen=True)
class GroupedClasses:
    """A model's classes by group: first those of each common group, then each that only this model knows, alone."""

    parts: tuple[tuple[int, ...], ...]  # labels; each label is in one part
    names: tuple[str, ...]  # of the parts

    @property
    def count(self) -> int:
        """How many classes there are."""
        return sum(map(len, self.parts))

    def join(self, logits: Tensor) -> Tensor:
        """Float32 (n, classes) -> (n, parts), whose softmax is the sum of a part's probabilities."""
        return torch.stack([logits[:, list(part)].logsumexp(dim=1) for part in self.parts], dim=1)

    def part_of(self, labels: Labels) -> NDArray[np.uint16]:
        """The part that each label belongs to, (n,)."""
        places = np.empty(self.count, np.uint16)
        for number, part in enumerate(self.parts):
            places[list(part)] = number
        return places[labels]


@dataclass(frozen=True)
class CommonClasses:
    """The groups of classes that two models know."""

    names: tuple[str, ...]  # of the groups: "coat", or "top (coat and shirt before)"
    ours: GroupedClasses
    theirs: GroupedClasses
    summary: str  # what became of their classes in ours

    @property
    def all_names(self) -> tuple[str, ...]:
        """The groups, then the classes that only we know, then those that only they do."""
        gone = self.theirs.names[len(self.names) :]
        return (*self.ours.names, *(f"{name} (gone)" for name in gone))

    def place_ours(self, labels: Labels) -> Labels:
        """Labels of our classes as positions in `all_names`, (n,); a label of none of them as one past these."""
        places = np.full(len(labels), len(self.all_names), np.uint16)
        known = labels < self.ours.count
        places[known] = self.ours.part_of(labels[known])
        return places

    def place_theirs(self, labels: Labels) -> Labels:
        """Labels of their classes as positions in `all_names`, (n,)."""
        return self.place_their_parts(self.theirs.part_of(labels))

    def place_their_parts(self, parts: Labels) -> Labels:
        """Parts of their classes as positions in `all_names`, (n,)."""
        groups = len(self.names)
        return np.where(parts < groups, parts, parts + len(self.ours.parts) - groups).astype(np.uint16)

    def measure(self, logits: Tensor, labels: Labels, grouped: GroupedClasses, version: str) -> Metrics:
        """What a model does on test images of the groups: every other answer is wrong, and no class is sure.

        Args:
            logits: by part, divided by the model's temperature; float32 (n, parts).
            labels: the true groups, (n,), n at least 1.
            grouped: the model's classes.
            version: of the test split.
        """
        found = measure(logits, labels, grouped.names, "test", version, Calibration())
        groups = len(self.names)
        return replace(found, classes=found.classes[:groups], confusion=found.confusion[:groups])


def find_common(ours: ModelCard, theirs: ModelCard) -> CommonClasses | None:
    """What two models can be compared on; None where they are about other data, or less than two groups are left."""
    if replace(ours.contract, classes=theirs.classes, aliases=()) != theirs.contract:
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
