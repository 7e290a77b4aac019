"""What is kept of images that go by two models: counts, and the pictures of the most confident flips to each class."""

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions
from components.evaluation.compare import Changes, count_changes
from components.evaluation.pages import to_uri
from components.readers.blocks import Block

SHOWN = 16  # pictures of each new label


@dataclass(frozen=True)
class ModelAnswer:
    """What a model says of one image."""

    name: str
    confidence: float  # 0 to 1
    sure: bool


@dataclass(frozen=True)
class Flip:
    """An image that two models answer differently."""

    id: str
    true: str  # the name of its class, "" where nobody knows
    before: ModelAnswer
    after: ModelAnswer
    image: Images  # uint8 (height, width[, 3])

    @property
    def uri(self) -> str:
        """The picture."""
        return to_uri(self.image)


@dataclass
class Tally:
    """What is kept of the images that went by."""

    classes: tuple[str, ...]  # of both models, by label
    changes: Changes = field(init=False)
    sure_before: int = 0  # images that the other model is sure of
    sure_after: int = 0
    both_sure: int = 0  # flips of which both are
    rejected: int = 0  # rows that could not be read
    first_reject: str = ""  # and why the first one could not
    heaps: list[list[tuple[float, int, Flip]]] = field(init=False)

    def __post_init__(self) -> None:
        nothing = np.empty(0, np.uint16)
        self.changes, self.heaps = count_changes(None, nothing, nothing, self.classes), [[] for _ in self.classes]

    def add(self, block: Block, before: Predictions, after: Predictions) -> NDArray[np.intp]:
        """Count a block and keep its most confident flips. Returns the rows of all of them."""
        flipped = np.flatnonzero(before.labels != after.labels)
        self.changes += count_changes(block.labels, before.labels, after.labels, self.classes)
        self.sure_before += int(before.sure.sum())
        self.sure_after += int(after.sure.sum())
        self.both_sure += int((before.sure & after.sure)[flipped].sum())
        if block.rejects and not self.rejected:
            self.first_reject = f"{block.rejects[0].line}: {block.rejects[0].reason}"
        self.rejected += len(block.rejects)
        for row in flipped.tolist():
            self._keep(row, block, before, after)
        return flipped

    def _keep(self, row: int, block: Block, before: Predictions, after: Predictions) -> None:
        heap, rank = self.heaps[after.labels[row]], (float(after.confidences[row]), -int(block.lines[row]))
        if len(heap) < SHOWN:
            heapq.heappush(heap, (*rank, _to_flip(row, block, before, after)))
        elif rank > heap[0][:2]:
            heapq.heapreplace(heap, (*rank, _to_flip(row, block, before, after)))

    def most_confident(self) -> list[list[Flip]]:
        """For each class the flips to it that the new model is most confident of, the most confident first."""
        return [[flip for _, _, flip in sorted(heap, key=lambda one: one[:2], reverse=True)] for heap in self.heaps]


def _to_flip(row: int, block: Block, before: Predictions, after: Predictions) -> Flip:
    label = len(after.classes) if block.labels is None else int(block.labels[row])
    return Flip(
        id=block.ids[row],
        true=after.classes[label] if label < len(after.classes) else "",
        before=_to_answer(row, before),
        after=_to_answer(row, after),
        image=block.shown[row].copy(),  # and not a view that keeps the block
    )


def _to_answer(row: int, answers: Predictions) -> ModelAnswer:
    return ModelAnswer(answers.classes[answers.labels[row]], float(answers.confidences[row]), bool(answers.sure[row]))
