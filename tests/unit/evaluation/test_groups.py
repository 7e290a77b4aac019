"""Common groups of classes of two models with different classes."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from revised import ADDED, FIRST, Shown, became, model_of

from components.contract import ImageSpec
from components.evaluation.groups import find_common

MERGED: Shown = {"hat": ["hat"], "boot": ["boot"], "top": ["coat", "shirt"], "bag": ["bag"]}


def test_moved_and_merged_classes_are_matched(tmp_path: Path) -> None:
    live = model_of(tmp_path, FIRST)
    model = model_of(tmp_path, MERGED, became(FIRST, MERGED))
    common = find_common(model.card, live.card)
    assert common
    assert common.names == ("boot", "top (coat and shirt before)", "bag")
    assert common.ours.parts == ((1,), (2,), (3,), (0,))
    assert common.theirs.parts == ((0,), (1, 2), (3,))
    assert common.ours.names == (*common.names, "hat")
    assert common.theirs.names == common.names
    assert common.summary == "coat and shirt are top now; hat is new"
    assert common.ours.part_of(np.array([0, 1, 2, 3, 2], np.uint16)).tolist() == [3, 0, 1, 2, 1]


def test_the_probability_of_a_group_is_the_sum_of_its_classes(tmp_path: Path) -> None:
    live = model_of(tmp_path, FIRST)
    common = find_common(model_of(tmp_path, MERGED, became(FIRST, MERGED)).card, live.card)
    assert common
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 3
    single, joined = torch.softmax(logits, dim=1), torch.softmax(common.theirs.join(logits), dim=1)
    assert torch.allclose(joined, torch.stack([single[:, 0], single[:, 1] + single[:, 2], single[:, 3]], dim=1))
    assert torch.equal(common.theirs.join(logits)[:, [0, 2]], logits[:, [0, 3]]), (
        "a single class is unchanged to the bit"
    )
    assert (joined.argmax(dim=1) != torch.tensor([0, 1, 1, 2])[single.argmax(dim=1)]).any(), (
        "two parts outweigh a third"
    )


def test_a_prediction_outside_the_common_groups_is_wrong(tmp_path: Path) -> None:
    live = model_of(tmp_path, FIRST)
    common = find_common(model_of(tmp_path, ADDED, became(FIRST, ADDED)).card, live.card)
    assert common
    labels = np.array([0, 1, 2, 3], np.uint16)
    logits = torch.full((4, 5), -20.0)
    logits[range(4), [0, 1, 4, 3]] = 0.0  # a shirt is predicted as a hat
    metrics = common.measure(common.ours.join(logits), labels, common.ours, "0" * 16)
    assert metrics.accuracy == 0.75
    assert [one.name for one in metrics.classes] == ["boot", "coat", "shirt", "bag"]
    assert [one.f1 for one in metrics.classes] == [1, 1, 0, 1]
    assert metrics.macro_f1 == 0.75
    assert not metrics.is_skewed
    assert metrics.calibrated.loss > 4


def test_unrelated_data_has_no_common_groups(tmp_path: Path) -> None:
    live = model_of(tmp_path, FIRST).card
    added = model_of(tmp_path, ADDED, became(FIRST, ADDED)).card
    assert find_common(added, live)
    assert find_common(dataclasses.replace(added, revisions=()), live) is None, "no revision relates the classes"
    for change in ({"name": "another"}, {"image": ImageSpec(8, 9)}, {"preparation": "garment"}):
        other = dataclasses.replace(added, contract=dataclasses.replace(added.contract, **change))
        assert find_common(other, live) is None


def test_one_common_class_is_too_few(tmp_path: Path) -> None:
    left: Shown = {"boot": ["boot"], "hat": ["hat"]}
    live = model_of(tmp_path, FIRST)
    assert find_common(model_of(tmp_path, left, became(FIRST, left)).card, live.card) is None
    wider: Shown = {**left, "bag": ["bag"]}
    assert find_common(model_of(tmp_path, wider, became(FIRST, wider)).card, live.card)
