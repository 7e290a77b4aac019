"""When two names are one class, when two contracts are one, and which there cannot be."""

import dataclasses
import json
from typing import Any

import orjson
import pytest

from components.contract import DataContract, ImageSpec, require_equal
from components.errors import DatasetError, ModelError
from components.records import read_record

SHOP = DataContract(
    "shop", ("Kids 7-12", "Straße", "Café crème", "a,b"), ImageSpec(20, 24, 3), "letterbox", (("tables", "a,b"),)
)
DIGITS = DataContract("digits", ("10", "2", "7"), ImageSpec(28, 28), "letterbox")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Kids 7-12", 0),
        ("  kids\t7-12 ", 0),
        ("\uff2bids 7-12", 0),  # a full-width K
        ("STRASSE", 1),
        ("Cafe\u0301 cre\u0300me", 2),  # with combining accents
        ("Cafe creme", None),
        ("A,B", 3),
        ("Tables", 3),
        ("Kids 2-6", None),
        ("Kids", None),
        ("Kids7-12", None),
        ("ab", None),
        ("0", None),
        ("", None),
    ],
)
def test_names_are_equal_by_nfkc_case_and_white_space_and_not_otherwise(name: str, label: int | None) -> None:
    assert SHOP.label_of(name) == label


def test_a_number_is_a_position_unless_classes_are_called_by_numbers() -> None:
    assert [SHOP.label_of_number(number) for number in (0, 3, 4, -1)] == [0, 3, None, None]
    assert [DIGITS.label_of_number(number) for number in (10, 2, 7, 0, 1)] == [0, 1, 2, None, None]
    assert [DIGITS.label_of(name) for name in ("10", "2", "0", "1")] == [0, 1, None, None]


def test_an_alias_never_takes_the_place_of_a_name() -> None:
    contract = dataclasses.replace(SHOP, aliases=(("Straße", "a,b"),))
    assert contract.label_of("strasse") == 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "Shop!"}, "a catalogue called 'Shop!'"),
        ({"name": "../shop"}, r"a catalogue called '\.\./shop'"),
        ({"name": "s" * 41}, "at most 40"),
        ({"classes": ("one",)}, "1 classes; expected 2 to 1,000"),
        ({"classes": tuple(map(str, range(1001)))}, "1001 classes"),
        ({"classes": ("Hat", "Bag", " hat ")}, "two classes are called 'Hat'"),
        ({"classes": ("Straße", "STRASSE")}, "two classes are called"),
        ({"classes": ("Hat", "  ")}, "a class without a name"),
        ({"aliases": (("cap", "Hat"),)}, "'cap' stands for no class"),
    ],
)
def test_what_cannot_be_a_contract_is_refused_where_it_is_made_and_where_it_is_read(
    fields: dict[str, Any], told: str
) -> None:
    bare = {**fields, "aliases": fields.get("aliases", ())}
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(SHOP, **bare)
    content = json.dumps({**dataclasses.asdict(SHOP), **bare})
    with pytest.raises(ModelError, match=told):
        read_record(DataContract, content, "here", ModelError)


@pytest.mark.parametrize("image", [(7, 28, 1), (28, 129, 1), (28, 28, 2), (28, 28, 4)])
def test_an_image_has_bounds(image: tuple[int, int, Any]) -> None:
    with pytest.raises(ValueError, match="an image of"):
        ImageSpec(*image)


def test_a_thousand_classes_and_the_largest_image_are_a_contract() -> None:
    names = tuple(f"class {number}" for number in range(1000))
    large = DataContract("large", names, ImageSpec(128, 128, 3), "letterbox")
    assert (large.label_of("CLASS 999"), large.image.size) == (999, 49_152)


DIFFERENT: dict[str, dict[str, Any]] = {
    "name": {"name": "other"},
    "image": {"image": ImageSpec(24, 20, 3)},
    "preparation": {"preparation": "fashion-mnist"},
    "class 1": {"classes": ("Kids 7-12", "Strasse", "Café crème", "a,b")},
    "3 classes": {"classes": SHOP.classes[:3], "aliases": ()},
}


@pytest.mark.parametrize("told", DIFFERENT)
def test_the_first_difference_is_named(told: str) -> None:
    other = dataclasses.replace(SHOP, **DIFFERENT[told])
    assert told in SHOP.difference(other)
    assert (other == SHOP, SHOP.fingerprint == other.fingerprint) == (False, False)
    with pytest.raises(DatasetError, match=told):
        require_equal(SHOP, other, "here", DatasetError)


def test_aliases_change_nothing_that_was_learned() -> None:
    other = dataclasses.replace(SHOP, aliases=())
    assert (other == SHOP, SHOP.difference(other), SHOP.fingerprint == other.fingerprint) == (True, "", True)
    require_equal(SHOP, other, "here", DatasetError)


def test_it_is_read_as_it_was_written_and_only_its_fields_are_written() -> None:
    assert (SHOP.label_of("a,b"), len(SHOP.fingerprint), SHOP.are_numbers) == (3, 64, False)  # worked out, and kept
    for content in (orjson.dumps(SHOP), json.dumps(dataclasses.asdict(SHOP)).encode()):
        assert json.loads(content).keys() == {field.name for field in dataclasses.fields(SHOP)}
        read = read_record(DataContract, content, "here", ModelError)
        assert (read, read.aliases) == (SHOP, SHOP.aliases)
