"""Find probable label errors by confident learning (Northcutt, Jiang and Chuang 2021, implemented in cleanlab).

A label is suspect if a network that was not trained on the image is more confident of another class than it is on
average for images of that class. The number of suspects per class is capped by the estimated number of label errors.
"""

from dataclasses import dataclass

import numpy as np

from components.audit.folds import Probabilities
from components.dataset.manifest import Examples


@dataclass(frozen=True)
class Suspect:
    """A probable label error."""

    row: int
    given: int  # its label
    suggested: int  # the most probable class
    score: float  # predicted probability of the given label, 0 to 1: the lower, the more suspect


def find_suspects(examples: Examples, probabilities: Probabilities) -> list[Suspect]:
    """Find the probable label errors of a split, the most suspect first.

    Args:
        examples: n images.
        probabilities: out-of-sample, float32 (n, classes).
    """
    from cleanlab.filter import find_label_issues

    labels = examples.labels.astype(np.int64)
    rows = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    best = probabilities.argmax(axis=1)
    return [
        Suspect(row, int(labels[row]), int(best[row]), float(f"{probabilities[row, labels[row]]:.3g}"))
        for row in rows.tolist()
        if best[row] != labels[row]
    ]
