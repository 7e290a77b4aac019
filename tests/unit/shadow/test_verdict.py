"""What the counts of a shadow say."""

import json

import pytest
from scipy.stats import binomtest
from shadows import counts_of

from components.shadow.counts import BUSY, FAILED
from components.shadow.verdict import Proportion, ShadowVerdict

COUNTS = counts_of(
    ("Coat", "Coat", 80), ("Coat", "Shirt", 20), ("Bag", "Bag", 899), ("Bag", "Coat", 1), not_sampled=9000
)


def test_the_sentence_names_what_changes() -> None:
    assert str(ShadowVerdict(COUNTS)) == "would change 2.1 % (1.4 to 3.2 %) of answers; 20 % of Coat become Shirt"


def test_few_images_of_a_class_are_not_named() -> None:
    verdict = ShadowVerdict(counts_of(("Coat", "Shirt", 5), ("Bag", "Bag", 95)))
    assert str(verdict) == "would change 5.0 % (2.2 to 11.2 %) of answers"


def test_nothing_mirrored_is_no_verdict() -> None:
    verdict = ShadowVerdict(counts_of(not_sampled=5))
    assert str(verdict) == "no image has been mirrored yet"
    assert verdict.changed is None
    assert verdict.classes == ()


@pytest.mark.parametrize(("count", "of"), [(0, 1), (0, 10), (1, 1), (3, 10), (10, 10), (21, 1000), (999, 1000)])
def test_the_interval_is_wilsons(count: int, of: int) -> None:
    found, expected = Proportion(count, of), binomtest(count, of).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_classes_that_change_most_come_first() -> None:
    first, second = ShadowVerdict(COUNTS).classes
    assert (first.name, first.changed.count, first.changed.of) == ("Coat", 20, 100)
    assert [(name, part.count) for name, part in first.to] == [("Shirt", 20)]
    assert (second.name, second.changed.count, second.changed.of) == ("Bag", 1, 900)


def test_a_class_that_was_merged_does_not_change() -> None:
    pair = counts_of(("Coat", "Top", 50)).pairs[0]
    merged = counts_of(("Coat", "Top", 50), pairs=(type(pair)(pair.champion, pair.candidate, 50, same=True),))
    verdict = ShadowVerdict(merged)
    assert verdict.changed
    assert (verdict.changed.count, verdict.classes[0].to) == (0, ())


def test_the_description_covers_every_image() -> None:
    counts = counts_of(("Bag", "Bag", 4), seen=10, skipped={BUSY: 1, FAILED: 5}, error="it broke", unreadable=1)
    described = dict(ShadowVerdict(counts).describe())
    assert described["mirrored"] == "4 of 10 images seen (40.0 %)"
    assert described["skipped"] == "candidate failed 5, busy 1"
    assert described["last error"] == "it broke"
    assert described["damaged"] == "1 files of counts cannot be read; their images are missing"


def test_json_has_the_counts_and_intervals() -> None:
    found = json.loads(json.dumps(ShadowVerdict(COUNTS).to_json()))
    assert (found["seen"], found["mirrored"], found["skipped"]) == (10_000, 1000, {"not sampled": 9000})
    assert found["changed"]["count"] == 21
    assert found["changed"]["interval"] == pytest.approx([0.0138, 0.0319], abs=1e-4)
    assert found["classes"][0]["to"] == [{"name": "Shirt", **Proportion(20, 100).to_json()}]
