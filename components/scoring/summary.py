"""Row counts of a scoring job."""

import re
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from components.contract import Predictions
from components.readers.blocks import Block
from components.readers.tables.numbers import MAX_SHOWN, UNLABELLED

MAX_REASONS = 50  # reasons counted separately
OTHER = "other reasons"
Confusion = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Count:
    """Counts of rows; add two with `+`."""

    rows: int = 0  # scored and rejected
    scored: int = 0
    rejected: int = 0
    not_sure: int = 0  # rows on which the model abstains
    unknown: int = 0  # rows unlike everything that the model was trained on
    reasons: dict[str, int] = field(default_factory=dict)  # reason for rejection, see `generalize` -> rows
    names: dict[str, int] = field(default_factory=dict)  # predicted class -> rows
    confusion: Confusion = ()  # [true][predicted] of the labelled rows; () if there are none
    unlabelled: int = 0  # scored rows whose label cannot be read
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
            self.unknown + other.unknown,
            reasons,
            dict(Counter(self.names) + Counter(other.names)),
            _add_confusions(self.confusion, other.confusion),
            self.unlabelled + other.unlabelled,
            dict((Counter(self.unread) + Counter(other.unread)).most_common(MAX_SHOWN)),
        )

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the labelled rows, 0 to 1; None if there are none."""
        if not self.confusion:
            return None
        table = np.array(self.confusion)
        return float(np.trace(table) / table.sum())

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Count":
        """Restore counts from the JSON of `dataclasses.asdict`."""
        known = {one.name: values[one.name] for one in fields(cls)}
        return cls(**{**known, "confusion": tuple(map(tuple, known["confusion"]))})


def count_rows(predictions: Predictions, block: Block) -> Count:
    """Count the n rows of a block by predicted class, and its rejects."""
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
        unknown=predictions.unknown,
        reasons=dict(reasons),
        names={name: count for name, count in zip(classes, found, strict=True) if count},
        confusion=tuple(map(tuple, confusion.tolist())) if confusion.any() else (),
        unlabelled=0 if labels is None else int(np.count_nonzero(~known)),
        unread=dict(block.unread),
    )


def generalize(reason: str) -> str:
    """Remove the values from a reason, so that "pixel7: '300' is not ..." and "pixel9: 'x' is not ..." become equal.

    Numbers in the expected value stay, because they are the same in all rows.
    """
    found = re.sub(r"'[^']*'|\"[^\"]*\"", "...", reason)
    expected = re.search(r"[,;] expected | is not a ", found)
    end = expected.start() if expected else len(found)
    return (re.sub(r"\d+", "N", found[:end]) + found[end:])[:120]


def _add_confusions(one: Confusion, other: Confusion) -> Confusion:
    if not one or not other:
        return one or other
    return tuple(map(tuple, (np.array(one) + np.array(other)).tolist()))
