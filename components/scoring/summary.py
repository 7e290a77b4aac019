"""What came of scoring: every row counted once."""

import re
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from components.contract import Predictions
from components.readers.blocks import Block
from components.readers.tables.numbers import MAX_SHOWN, UNLABELLED

MAX_REASONS = 50  # that are told apart
OTHER = "other reasons"
Confusion = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Count:
    """The count of some rows; two are added up with `+`."""

    rows: int = 0  # scored and rejected
    scored: int = 0
    rejected: int = 0
    not_sure: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # of rejects, without the values in them
    names: dict[str, int] = field(default_factory=dict)  # predicted class -> rows
    confusion: Confusion = ()  # [true][predicted] of the rows that have a label; () where none has
    unlabelled: int = 0  # rows whose label cannot be read; they are scored all the same
    unread: dict[str, int] = field(default_factory=dict)  # the most frequent of those labels -> rows

    def __add__(self, other: "Count") -> "Count":
        counters = (Counter(self.reasons) + Counter(other.reasons)).most_common()
        reasons = dict(counters[:MAX_REASONS])
        if rest := sum(count for _, count in counters[MAX_REASONS:]):
            reasons[OTHER] = reasons.get(OTHER, 0) + rest
        return Count(
            self.rows + other.rows,
            self.scored + other.scored,
            self.rejected + other.rejected,
            self.not_sure + other.not_sure,
            reasons,
            dict(Counter(self.names) + Counter(other.names)),
            _add_confusions(self.confusion, other.confusion),
            self.unlabelled + other.unlabelled,
            dict((Counter(self.unread) + Counter(other.unread)).most_common(MAX_SHOWN)),
        )

    @property
    def accuracy(self) -> float | None:
        """Of the rows that have a label, the share whose prediction is that; None where none has."""
        if not self.confusion:
            return None
        table = np.array(self.confusion)
        return float(np.trace(table) / table.sum())

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Count":
        """What `dataclasses.asdict` and JSON made of one."""
        known = {one.name: told[one.name] for one in fields(cls)}
        return cls(**{**known, "confusion": tuple(map(tuple, known["confusion"]))})


def count_rows(predictions: Predictions, block: Block) -> Count:
    """Count the n rows of a block, by what was predicted of them, and its rejects."""
    labels, predicted, classes = block.labels, predictions.labels, predictions.classes
    found = np.bincount(predicted, minlength=len(classes)).tolist()
    reasons = Counter(generalize(reject.reason) for reject in block.rejects)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    if labels is not None:
        known = labels != UNLABELLED
        np.add.at(confusion, (labels[known], predicted[known]), 1)
    return Count(
        rows=len(predicted) + reasons.total(),
        scored=len(predicted),
        rejected=reasons.total(),
        not_sure=int(np.count_nonzero(~predictions.sure)),
        reasons=dict(reasons),
        names={name: count for name, count in zip(classes, found, strict=True) if count},
        confusion=tuple(map(tuple, confusion.tolist())) if confusion.any() else (),
        unlabelled=0 if labels is None else int(np.count_nonzero(~known)),
        unread=dict(block.unread),
    )


def generalize(reason: str) -> str:
    """A reason without the values in it: "pixel7: '300' is not ..." and "pixel9: 'x' is not ..." are one.

    What is expected instead, the same in all rows, keeps its numbers.
    """
    found = re.sub(r"'[^']*'|\"[^\"]*\"", "...", reason)
    expected = re.search(r"[,;] expected | is not a ", found)
    end = expected.start() if expected else len(found)
    return (re.sub(r"\d+", "N", found[:end]) + found[end:])[:120]


def _add_confusions(one: Confusion, other: Confusion) -> Confusion:
    if not one or not other:
        return one or other
    return tuple(map(tuple, (np.array(one) + np.array(other)).tolist()))
