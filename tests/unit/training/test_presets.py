"""The preset that is trained if none is named."""

from pathlib import Path

import pytest
from networks import contract_with, draw_records, embedding_of, make_network, write_records
from shop import write_shop

from components.settings import Settings
from components.training.presets import default_preset


def test_the_default_preset_fits_the_catalogue(settings: Settings) -> None:
    assert default_preset("fashion-mnist") == "dense-128"
    assert default_preset("shop") == "photos", "it has no data yet"
    folder = settings.data_dir / "catalogues" / "shop" / "datasets"
    write_shop(folder, 30, 30)
    assert default_preset("shop") == "photos"
    embedding = embedding_of(make_network())
    write_records(folder, draw_records(contract_with(embedding), 4), contract_with(embedding))
    assert default_preset("shop") == "vectors"


def test_a_catalogue_that_starts_with_a_network_trains_vectors(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_CATALOGUE", "shop")
    monkeypatch.setenv("FASHION_NETWORK", "efficientnet-lite0")
    assert default_preset("shop") == "vectors"
    assert default_preset("hats") == "photos", "the network is that of the catalogue in use"
    assert default_preset("fashion-mnist") == "dense-128"
