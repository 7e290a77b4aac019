"""Scheduled catalogues: how they are found, and the environment of their runs."""

import os
from pathlib import Path

import pytest
from shop import write_shop

from components.errors import SettingsError
from components.monitoring.prediction_log import log_folder
from components.registry.store import home
from components.settings import Settings, load_settings
from fashion.cli import stack
from ops.catalogues import (
    Scheduled,
    ScheduledCatalogue,
    asked_of_running,
    describe_scheduled,
    find_scheduled,
    keep_scheduled,
    kept_scheduled,
)
from ops.layout import read_layout

SHOP = ScheduledCatalogue("shop", "auto", "20x24x3", "letterbox")


@pytest.fixture
def started(settings: Settings) -> Settings:
    """The catalogue `shop` has data."""
    write_shop(settings.data_dir / "catalogues" / "shop" / "datasets", 30, 30)
    return settings


def test_by_default_only_the_catalogue_in_use_is_scheduled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_scheduled() == Scheduled("fashion-mnist")
    monkeypatch.setenv("FASHION_CATALOGUES", " ")
    monkeypatch.setenv("FASHION_CATALOGUE", "hats")
    assert find_scheduled() == Scheduled("hats")


def test_settings_of_a_catalogue_come_from_its_data_not_from_the_environment(
    started: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_CATALOGUES", "shop")
    monkeypatch.setenv("FASHION_IMAGE", "64x64x1")
    monkeypatch.setenv("FASHION_PREPARATION", "garment")
    monkeypatch.setenv("FASHION_SOURCE", "/elsewhere")
    assert find_scheduled() == Scheduled("fashion-mnist", (SHOP,))


def test_the_path_of_a_source_becomes_absolute(
    started: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    (found,) = find_scheduled("shop=./photos").others
    assert found.source == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("shop,Hats", "found 'Hats', expected at most 40 .*: try 'hats'; separate names by commas"),
        ("shop,", "found '', expected at most 40 .*; separate names by commas"),
        (
            "shop,hats",
            "'hats' has no data in .*. Create it with 'FASHION_CATALOGUE=hats fashion ingest --source ...'",
        ),
        ("shop, shop", "found 'shop' more than once"),
        ("fashion-mnist", "'fashion-mnist' is the catalogue in use"),
        ("shop=/nowhere", "shop=/nowhere: no such file or folder"),
    ],
)
def test_an_invalid_entry_is_one_error_and_starts_nothing(
    started: Settings, monkeypatch: pytest.MonkeyPatch, requested: str, message: str
) -> None:
    monkeypatch.setenv("FASHION_CATALOGUES", requested)
    with pytest.raises(SettingsError, match=f"^FASHION_CATALOGUES: {message}"):
        stack.up()
    assert {path.name for path in read_layout().home.iterdir()} <= {"change.lock"}


def test_the_environment_of_a_worker_does_not_leak_into_runs_of_another_catalogue(
    started: Settings, bentoml_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaks = ("CATALOGUE", "SOURCE", "IMAGE", "PREPARATION", "NETWORK", "INBOX_DIR", "PREDICTION_LOG")
    for name in leaks:
        monkeypatch.setenv(f"FASHION_{name}", "28x28x1" if name == "IMAGE" else "elsewhere")
    for name, value in SHOP.environment().items():
        monkeypatch.setenv(name, value)
    loaded = load_settings()
    assert (loaded.catalogue, loaded.source, loaded.preparation) == ("shop", "auto", "letterbox")
    assert loaded.network == "", "a catalogue keeps its own"
    assert loaded.image
    assert loaded.image.shape == (20, 24, 3)
    assert (
        loaded.inbox == loaded.catalogue_dir / "inbox" / "scoring" == started.data_dir / "catalogues/shop/inbox/scoring"
    )
    assert log_folder(home()) == bentoml_home / "fashion" / "catalogues" / "shop" / "predictions"


def test_the_environment_of_a_run_has_every_variable_specific_to_a_catalogue() -> None:
    shared = {"data_dir", "mirrors", "download_timeout", "download_attempts"}
    specific = {f"FASHION_{name.upper()}" for name in Settings.model_fields.keys() - shared}
    assert specific <= SHOP.environment().keys()


def test_a_stack_remembers_its_catalogues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_CATALOGUE", "hats")
    assert kept_scheduled(tmp_path) == Scheduled("hats")
    keep_scheduled(tmp_path, Scheduled("fashion-mnist", (SHOP,)))
    assert kept_scheduled(tmp_path) == Scheduled("fashion-mnist", (SHOP,))
    (tmp_path / "catalogues.json").write_text("{}")
    assert kept_scheduled(tmp_path) == Scheduled("hats")


def test_a_running_stack_keeps_its_catalogues_unless_others_are_requested(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_scheduled(tmp_path, Scheduled("hats", (SHOP,)))
    assert asked_of_running(tmp_path) == Scheduled("hats", (SHOP,))
    monkeypatch.setenv("FASHION_CATALOGUES", "")
    assert asked_of_running(tmp_path) == Scheduled("hats")
    assert "FASHION_CATALOGUE" not in os.environ, "the catalogue in use is the stack's, not the shell's"


def test_each_catalogue_is_described_with_its_nightly_training() -> None:
    assert describe_scheduled(("fashion-mnist", "shop")) == (
        "fashion-mnist (served, training/nightly), shop (training/shop-nightly)"
    )
