"""The contract of a new catalogue with a network."""

from dataclasses import replace
from pathlib import Path

import pytest
from networks import embedding_of, make_network
from photos import write_photos

from components.contract import ImageSpec
from components.dataset.own.contract import derive_contract
from components.dataset.own.rows import SourceRows
from components.dataset.own.sources import read_source
from components.dataset.own.tables import TableOptions
from components.errors import SettingsError, SourceError

EMBEDDING = embedding_of(make_network())


@pytest.fixture
def source(tmp_path: Path) -> SourceRows:
    return read_source(write_photos(tmp_path / "photos", {"hat": 12, "cap": 12}), TableOptions())


def test_with_a_network_people_see_small_colour_pictures(source: SourceRows) -> None:
    contract = derive_contract("shop", source, embedding=EMBEDDING)
    assert (contract.image, contract.preparation) == (ImageSpec(64, 64, 3), "embedding")
    assert contract.embedding == EMBEDDING
    assert derive_contract("shop", source, ImageSpec(9, 20), embedding=EMBEDDING).image == ImageSpec(9, 20)


def test_a_network_takes_photos_and_no_pixels(source: SourceRows) -> None:
    pixels = replace(source, image=ImageSpec(28, 28))
    with pytest.raises(SourceError, match=r"found pixels, but a network takes photos\. Leave out --network"):
        derive_contract("shop", pixels, embedding=EMBEDDING)


def test_a_preparation_that_does_not_fit_is_an_error(source: SourceRows) -> None:
    with pytest.raises((SettingsError, SourceError), match="'garment' of shop cannot be used with a network"):
        derive_contract("shop", source, preparation="garment", embedding=EMBEDDING)
    with pytest.raises((SettingsError, SourceError), match="'embedding' of shop needs a network: name one with"):
        derive_contract("shop", source, preparation="embedding")
