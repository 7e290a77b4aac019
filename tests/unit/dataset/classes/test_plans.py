"""Plans of class changes, before anything is written."""

import pytest

from components.catalogues.fashion_mnist import CONTRACT as FASHION_MNIST
from components.contract import DataContract, ImageSpec
from components.dataset.classes.plans import plan_addition, plan_merger, plan_removal, plan_renaming, plan_split
from components.errors import DatasetError

SHOP = DataContract(
    "shop", ("boot", "coat", "hat", "shirt"), ImageSpec(28, 28), "letterbox", (("jacket", "coat"), ("cap", "hat"))
)


def test_an_added_class_gets_the_next_number() -> None:
    plan = plan_addition(SHOP, "  Ice   skate ")
    assert plan.contract.classes == ("boot", "coat", "hat", "shirt", "Ice skate")
    assert plan.became == (("boot",), ("coat",), ("hat",), ("shirt",))
    assert plan.contract.label_of("jacket") == 1


def test_a_renamed_class_keeps_its_number_and_its_old_name_as_an_alias() -> None:
    plan = plan_renaming(SHOP, "HAT", "headwear")
    assert plan.contract.classes == ("boot", "coat", "headwear", "shirt")
    assert plan.became[2] == ("headwear",)
    assert [plan.contract.label_of(name) for name in ("headwear", "hat", "cap")] == [2, 2, 2]


def test_a_rename_may_change_only_the_case() -> None:
    assert plan_renaming(SHOP, "hat", "Hat").contract.classes[2] == "Hat"


def test_a_merged_class_gets_the_lowest_number_and_the_last_class_fills_the_gap() -> None:
    plan = plan_merger(SHOP, ["hat", "boot"], "accessory")
    assert plan.contract.classes == ("accessory", "coat", "shirt")
    assert plan.became == (("accessory",), ("coat",), ("accessory",), ("shirt",))
    assert plan.contract.label_of("cap") == plan.contract.label_of("boot") == 0


def test_classes_can_be_merged_into_one_of_them() -> None:
    plan = plan_merger(SHOP, ["coat", "shirt"], "coat")
    assert plan.contract.classes == ("boot", "coat", "hat")
    assert plan.contract.label_of("shirt") == 1


def test_the_last_class_gets_the_number_of_a_removed_one() -> None:
    plan = plan_removal(SHOP, "coat")
    assert plan.contract.classes == ("boot", "shirt", "hat")
    assert plan.became == (("boot",), (), ("hat",), ("shirt",))
    assert plan.contract.label_of("jacket") is None


def test_a_split_class_remains_if_some_rows_are_not_listed() -> None:
    plan = plan_split(SHOP, "hat", {"a": "Beanie", "b": "beanie"}, ["a", "b", "c"])
    assert plan.contract.classes == ("boot", "coat", "hat", "shirt", "beanie")
    assert plan.became[2] == ("hat", "beanie")
    assert plan.rows == {"a": "beanie", "b": "beanie"}


def test_the_first_part_of_a_fully_split_class_gets_its_number() -> None:
    plan = plan_split(SHOP, "hat", {"a": "top hat", "b": "beanie"}, ["a", "b"])
    assert plan.contract.classes == ("boot", "coat", "beanie", "shirt", "top hat")
    assert plan.contract.label_of("hat") is None


def test_a_number_is_an_alias_only_of_the_class_with_that_number() -> None:
    plan = plan_removal(FASHION_MNIST, "Coat")
    assert plan.contract.classes[4] == "Ankle boot"
    assert plan.contract.label_of("3") == 3
    assert plan.contract.label_of("9") is None
    assert plan.contract.label_of_cell("4") == 4
    assert plan.contract.label_of("ankle-boot") == 4


def test_an_old_name_can_be_reused_for_another_class() -> None:
    renamed = plan_renaming(SHOP, "hat", "headwear").contract
    again = plan_addition(renamed, "hat").contract
    assert again.label_of("hat") == 4
    assert again.label_of("cap") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: plan_addition(SHOP, "BOOT"), "two classes are called 'boot'"),
        (lambda: plan_addition(SHOP, "  "), "a class without a name"),
        (lambda: plan_renaming(SHOP, "sock", "stocking"), "'sock' is not a class of shop"),
        (lambda: plan_renaming(SHOP, "hat", "coat"), "two classes are called 'coat'"),
        (lambda: plan_renaming(SHOP, "hat", "hat"), "nothing would change"),
        (lambda: plan_merger(SHOP, ["hat", "cap"], "headwear"), "expected two classes or more"),
        (lambda: plan_merger(SHOP, ["hat", "boot"], "coat"), "two classes are called 'coat'"),
        (lambda: plan_split(SHOP, "hat", {"x": "beanie"}, ["a"]), "1 of 1 ids are not rows of 'hat', e.g. 'x'"),
        (lambda: plan_split(SHOP, "hat", {"a": "coat"}, ["a", "b"]), "'coat' is already a class"),
        (lambda: plan_split(SHOP, "hat", {"a": "beanie"}, ["a"]), "names one class only"),
        (lambda: plan_split(SHOP, "hat", {"a": "hat"}, ["a", "b"]), "names one class only"),
        (lambda: plan_removal(plan_removal(plan_removal(SHOP, "hat").contract, "coat").contract, "boot"), "1 classes"),
    ],
)
def test_an_impossible_plan_raises(change: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        change()  # type: ignore[operator]
