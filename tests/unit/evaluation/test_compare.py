"""Comparison of two models, and metrics for any number of classes."""

import numpy as np
import pytest
from shop import SHOP

from components.evaluation.compare import count_changes
from components.evaluation.metrics import measure_confusion


def test_a_label_outside_the_classes_counts_as_unknown() -> None:
    labels, before, after = np.array([[0, 2, 65535, 1], [0, 1, 1, 1], [1, 2, 0, 1]], np.uint16)
    changes = count_changes(labels, before, after, SHOP.classes)
    assert (changes.images, changes.flips, changes.unlabelled, changes.labelled) == (4, 3, 1, False)
    assert (changes.fixed, changes.regressed, changes.moved) == (1, 1, 0)
    assert [one.name for one in changes.classes] == list(SHOP.classes)


@pytest.mark.parametrize("classes", [2, 1000])
def test_metrics_support_any_number_of_classes(classes: int) -> None:
    names = [f"class {number}" for number in range(classes)]
    found = measure_confusion(np.eye(classes, dtype=int).tolist(), names)
    assert [one.name for one in found.classes] == names
    assert (found.accuracy, found.confused) == (1.0, ())
