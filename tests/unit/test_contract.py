"""Data contracts: matching class names, comparing contracts, and rejecting invalid ones."""

import dataclasses
import hashlib
import json
import re
from typing import Any

import numpy as np
import orjson
import pytest
from networks import contract_with, embedding_of, make_network

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, ImageSpec, pictures_of, require_equal
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
def test_names_match_up_to_nfkc_case_and_white_space(name: str, label: int | None) -> None:
    assert SHOP.label_of(name) == label


def test_a_number_is_an_index_unless_class_names_are_numbers() -> None:
    assert [SHOP.label_of_number(number) for number in (0, 3, 4, -1)] == [0, 3, None, None]
    assert [DIGITS.label_of_number(number) for number in (10, 2, 7, 0, 1)] == [0, 1, 2, None, None]
    assert [DIGITS.label_of(name) for name in ("10", "2", "0", "1")] == [0, 1, None, None]


def test_names_take_precedence_over_aliases() -> None:
    contract = dataclasses.replace(SHOP, aliases=(("Straße", "a,b"),))
    assert contract.label_of("strasse") == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Shop!"}, "the catalogue's name: found 'Shop!', expected at most .*: try 'shop'"),
        ({"name": "../shop"}, r"the catalogue's name: found '\.\./shop'"),
        ({"name": "s" * 41}, "at most 40"),
        ({"classes": ("one",)}, "1 classes; expected 2 to 1,000"),
        ({"classes": tuple(map(str, range(1001)))}, "1001 classes"),
        ({"classes": ("Hat", "Bag", " hat ")}, "two classes are called 'Hat'"),
        ({"classes": ("Straße", "STRASSE")}, "two classes are called"),
        ({"classes": ("Hat", "  ")}, "a class without a name"),
        ({"aliases": (("cap", "Hat"),)}, "'cap' stands for no class"),
    ],
)
def test_invalid_contracts_are_refused_when_created_and_when_read(fields: dict[str, Any], message: str) -> None:
    bare = {**fields, "aliases": fields.get("aliases", ())}
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SHOP, **bare)
    content = json.dumps({**dataclasses.asdict(SHOP), **bare})
    with pytest.raises(ModelError, match=message):
        read_record(DataContract, content, "here", ModelError)


@pytest.mark.parametrize("image", [(7, 28, 1), (28, 129, 1), (28, 28, 2), (28, 28, 4)])
def test_image_sizes_have_bounds(image: tuple[int, int, Any]) -> None:
    with pytest.raises(ValueError, match=r"^found "):
        ImageSpec(*image)


def test_the_largest_contract_is_valid() -> None:
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


@pytest.mark.parametrize("message", DIFFERENT)
def test_the_first_difference_is_named(message: str) -> None:
    other = dataclasses.replace(SHOP, **DIFFERENT[message])
    assert message in SHOP.difference(other)
    assert (other == SHOP, SHOP.fingerprint == other.fingerprint) == (False, False)
    with pytest.raises(DatasetError, match=message):
        require_equal(SHOP, other, "here", DatasetError)


def test_versions_of_a_preparation_can_be_compared() -> None:
    newer = dataclasses.replace(SHOP, preparation=f"{SHOP.preparation}-2")
    assert (newer == SHOP, SHOP.difference(newer), newer.difference(SHOP)) == (False, "", "")
    assert newer.preparation_family == SHOP.preparation_family == SHOP.preparation


def test_aliases_are_not_compared() -> None:
    other = dataclasses.replace(SHOP, aliases=())
    assert (other == SHOP, SHOP.difference(other), SHOP.fingerprint == other.fingerprint) == (True, "", True)
    require_equal(SHOP, other, "here", DatasetError)


def test_a_contract_survives_a_round_trip_and_only_fields_are_written() -> None:
    assert (SHOP.label_of("a,b"), len(SHOP.fingerprint), SHOP.are_numbers) == (3, 64, False)  # fill the caches
    for content in (orjson.dumps(SHOP), json.dumps(dataclasses.asdict(SHOP)).encode()):
        assert json.loads(content).keys() == {field.name for field in dataclasses.fields(SHOP)}
        read = read_record(DataContract, content, "here", ModelError)
        assert (read, read.aliases) == (SHOP, SHOP.aliases)


# --- with a frozen network ---

WITH_NETWORK = contract_with(embedding_of(make_network()))


def test_a_contract_without_a_network_is_written_and_fingerprinted_as_before() -> None:
    assert "embedding" not in SHOP.fields()
    fields = {key: value for key, value in SHOP.fields().items() if key != "aliases"}
    assert fields.keys() == {"name", "classes", "image", "preparation"}
    before = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert SHOP.fingerprint == before
    assert CONTRACT.fingerprint == "f38f9b814d97543ae255433434908e48b4418d2ac566cecda7c4ee229813145e"


def test_a_contract_with_a_network_survives_a_round_trip() -> None:
    read = read_record(DataContract, json.dumps(WITH_NETWORK.fields()).encode(), "here", ModelError)
    assert (read, read.fingerprint) == (WITH_NETWORK, WITH_NETWORK.fingerprint)


def test_a_contract_of_another_network_is_another_contract() -> None:
    other = contract_with(embedding_of(make_network(1)))
    message = r"embedding: found 'tiny.onnx \(\w{12}\)', expected 'tiny.onnx \(\w{12}\)'"
    assert re.fullmatch(message, WITH_NETWORK.difference(other))
    assert WITH_NETWORK.fingerprint != other.fingerprint
    without = dataclasses.replace(WITH_NETWORK, embedding=None)
    assert WITH_NETWORK.difference(without).startswith("embedding: found 'None', expected 'tiny.onnx (")


def test_an_image_is_pixels_or_a_record_of_a_picture_and_a_vector() -> None:
    assert SHOP.dtype == np.dtype((np.uint8, SHOP.image.shape))
    assert SHOP.input == SHOP.image
    assert WITH_NETWORK.dtype.names == ("picture", "vector")
    assert WITH_NETWORK.dtype.itemsize == 16 * 16 * 3 + 48 * 4
    assert WITH_NETWORK.input == WITH_NETWORK.embedding
    assert pictures_of(np.zeros(2, WITH_NETWORK.dtype)).shape == (2, 16, 16, 3)
    assert pictures_of(np.zeros(2, SHOP.dtype)).shape == (2, *SHOP.image.shape)


def test_a_network_needs_a_hash() -> None:
    fields = WITH_NETWORK.fields() | {"embedding": {"network": "a", "sha256": "no", "size": 1, "side": 32}}
    with pytest.raises(ModelError, match=r"embedding\.sha256"):
        read_record(DataContract, json.dumps(fields).encode(), "here", ModelError)
