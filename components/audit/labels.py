"""The labels that are most probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021, in cleanlab).

An image is suspect where a network that never saw it is more confident of another class than it usually is of that
class, and no more images of a class are suspect than the counts of such disagreements say are mislabelled.
"""

from dataclasses import dataclass

import numpy as np

from components.audit.folds import Probabilities
from components.dataset.manifest import Examples


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong."""

    row: int
    given: int  # its label
    suggested: int  # the most probable class
    score: float  # the probability of its label, 0 to 1: the lower, the more suspect


def find_suspects(examples: Examples, probabilities: Probabilities) -> list[Suspect]:
    """The suspects of a split, the most suspect first.

    Args:
        examples: n images.
        probabilities: float32 (n, classes), from networks that were not trained on the image.
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
