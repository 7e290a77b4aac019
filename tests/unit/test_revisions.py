"""Mapping classes between models whose catalogue changed."""

import numpy as np

from components.contract import Revision
from components.revisions import Lineage, describe_changes, group, join_names, relate

FIRST = ("boot", "coat", "shirt")
ADDED = ("boot", "coat", "shirt", "hat")
MERGED = ("boot", "top", "hat")
RENAMED = ("shoe", "top", "hat")
SPLIT = ("shoe", "top", "cap", "beanie")
STEPS = (
    Revision(FIRST, (("boot",), ("coat",), ("shirt",))),
    Revision(ADDED, (("boot",), ("top",), ("top",), ("hat",))),
    Revision(MERGED, (("shoe",), ("top",), ("hat",))),
    Revision(RENAMED, (("shoe",), ("top",), ("cap", "beanie"))),
)
STATES = (FIRST, ADDED, MERGED, RENAMED, SPLIT)


def lineage(number: int) -> Lineage:
    return Lineage(STATES[number], STEPS[:number])


def describe(ours: Lineage, theirs: Lineage) -> str:
    related = relate(ours, theirs)
    assert related is not None
    return describe_changes(ours.classes, theirs.classes, group(related))


def test_equal_classes_match_one_to_one() -> None:
    related = relate(lineage(2), lineage(2))
    assert related is not None
    assert (related == np.eye(3, dtype=bool)).all()
    assert group(related) == [((0,), (0,)), ((1,), (1,)), ((2,), (2,))]
    assert describe(lineage(2), lineage(2)) == ""


def test_every_change_is_described_by_name() -> None:
    assert describe(lineage(1), lineage(0)) == "hat is new"
    assert describe(lineage(2), lineage(1)) == "coat and shirt are top now"
    assert describe(lineage(3), lineage(2)) == "boot is shoe now"
    assert describe(lineage(4), lineage(3)) == "hat is cap and beanie now"


def test_changes_accumulate_over_several_revisions() -> None:
    assert describe(lineage(4), lineage(0)) == "boot is shoe now; coat and shirt are top now; cap and beanie are new"
    related = relate(lineage(4), lineage(0))
    assert related is not None
    assert group(related) == [((0,), (0,)), ((1,), (1, 2)), ((2,), ()), ((3,), ())]


def test_older_classes_are_described_in_reverse() -> None:
    assert describe(lineage(0), lineage(2)) == "top is coat and shirt now; hat is gone"


def test_diverged_lineages_are_compared_through_their_common_ancestor() -> None:
    other = Lineage((*FIRST, "bag"), (Revision(FIRST, (("boot",), ("coat",), ("shirt",))),))
    assert describe(other, lineage(1)) == "bag is new; hat is gone"


def test_a_reused_name_is_not_mistaken_for_the_old_class() -> None:
    first = ("cap", "hat")
    swapped = Lineage(
        ("hat", "bonnet"),
        (
            Revision(first, (("x",), ("hat",))),
            Revision(("x", "hat"), (("x",), ("bonnet",))),
            Revision(("x", "bonnet"), (("hat",), ("bonnet",))),
        ),
    )
    related = relate(swapped, Lineage(first))
    assert related is not None
    assert (related == np.eye(2, dtype=bool)).all()
    assert describe_changes(swapped.classes, first, group(related)) == "cap is hat now; hat is bonnet now"


def test_unrelated_lineages_are_not_compared() -> None:
    assert relate(lineage(1), Lineage(("cat", "dog"))) is None


def test_many_names_are_shortened_in_a_sentence() -> None:
    classes = tuple(f"class {number}" for number in range(12))
    assert join_names(classes[:3]) == "class 0, class 1 and class 2"
    assert join_names(classes[:10]).endswith("class 8 and class 9")
    assert join_names(classes).endswith(", class 9 and 2 more")
    alone = [((label,), ()) for label in range(2)] + [((), (0,)), ((), (1,)), ((), (2,))]
    expected = "class 0 and class 1 are new; boot, coat and shirt are gone"
    assert describe_changes(classes, FIRST, alone) == expected


def test_exchanged_classes_are_described_together() -> None:
    assert describe_changes(("top", "cap"), ("coat", "hat"), [((0, 1), (0, 1))]) == "coat and hat are top and cap now"


def test_inconsistent_changes_are_found() -> None:
    assert lineage(4).find_misfit() == ""
    assert Lineage(FIRST, (Revision(FIRST, (("boot",), ("coat",))),)).find_misfit() == (
        "revisions.0: found 2 entries in became, expected 3"
    )
    strange = Lineage(FIRST, (Revision(FIRST, (("boot",), ("coat",), ("hat",))),))
    assert strange.find_misfit() == "revisions.0.became: 'hat' is not a class after this change"
