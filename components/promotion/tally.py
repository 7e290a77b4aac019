"""Compare two models on a stream of images: counts, and the most confident flips to each class with their pictures."""

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Labels, Predictions
from components.evaluation.compare import Changes, count_changes
from components.evaluation.groups import CommonClasses
from components.pages.render import to_uri
from components.readers.blocks import Block

SHOWN = 16  # pictures per new label


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer for one image."""

    name: str
    confidence: float  # 0 to 1
    sure: bool  # False: the model abstains


@dataclass(frozen=True)
class Flip:
    """An image that two models classify differently."""

    id: str
    true: str  # name of its class; "" if unknown
    before: ModelAnswer
    after: ModelAnswer
    image: Images  # uint8 (height, width[, 3])

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return to_uri(self.image)


@dataclass
class Tally:
    """Counts and flips of the images so far."""

    classes: tuple[str, ...]  # of both models, by label; `CommonClasses.all_names` if their classes differ
    common: CommonClasses | None = None  # class groups if their classes differ
    changes: Changes = field(init=False)
    sure_before: int = 0  # images on which the other model does not abstain
    sure_after: int = 0  # images on which the new model does not abstain
    both_sure: int = 0  # flips on which neither abstains
    rejected: int = 0  # unreadable rows
    first_reject: str = ""  # line and reason of the first
    heaps: list[list[tuple[float, int, Flip]]] = field(init=False)

    def __post_init__(self) -> None:
        empty = np.empty(0, np.uint16)
        self.changes, self.heaps = count_changes(None, empty, empty, self.classes), [[] for _ in self.classes]

    def add(self, block: Block, before: Predictions, after: Predictions) -> NDArray[np.intp]:
        """Count a block and keep its most confident flips. Return the rows of all its flips."""
        labels = None if block.labels is None else self.place_ours(block.labels)
        was, now = self.place_theirs(before.labels), self.place_ours(after.labels)
        flipped = np.flatnonzero(was != now)
        self.changes += count_changes(labels, was, now, self.classes)
        self.sure_before += int(before.sure.sum())
        self.sure_after += int(after.sure.sum())
        self.both_sure += int((before.sure & after.sure)[flipped].sum())
        if block.rejects and not self.rejected:
            self.first_reject = f"{block.rejects[0].line}: {block.rejects[0].reason}"
        self.rejected += len(block.rejects)
        for row in flipped.tolist():
            true = self._name(int(labels[row])) if labels is not None else ""
            self._keep(row, block, true, (int(was[row]), before), (int(now[row]), after))
        return flipped

    def place_ours(self, labels: Labels) -> Labels:
        """Map true labels, or the new model's, to positions in `classes`."""
        return self.common.place_ours(labels) if self.common else labels

    def place_theirs(self, labels: Labels) -> Labels:
        """Map the other model's labels to positions in `classes`."""
        return self.common.place_theirs(labels) if self.common else labels

    def _name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else ""

    def _keep(
        self, row: int, block: Block, true: str, before: tuple[int, Predictions], after: tuple[int, Predictions]
    ) -> None:
        label, answers = after
        heap, rank = self.heaps[label], (float(answers.confidences[row]), -int(block.lines[row]))
        if len(heap) == SHOWN and rank <= heap[0][:2]:
            return
        flip = Flip(
            id=block.ids[row],
            true=true,
            before=self._to_answer(row, *before),
            after=self._to_answer(row, *after),
            image=block.shown[row].copy(),  # a view would keep the block in memory
        )
        (heapq.heappush if len(heap) < SHOWN else heapq.heapreplace)(heap, (*rank, flip))

    def _to_answer(self, row: int, label: int, answers: Predictions) -> ModelAnswer:
        return ModelAnswer(self.classes[label], float(answers.confidences[row]), bool(answers.sure[row]))

    def most_confident(self) -> list[list[Flip]]:
        """Return for each class the flips to it, most confident first."""
        return [[flip for _, _, flip in sorted(heap, key=lambda one: one[:2], reverse=True)] for heap in self.heaps]
