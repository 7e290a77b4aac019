"""Several catalogues on one stack: each has its own deployments, live model and inboxes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from photos import write_photos
from stacks import Stack

from components.contract import ImageSpec
from components.dataset.ingest import ingest
from components.dataset.own.start import StartOptions
from components.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]
COUNTS = {"shop": {"hat": 40, "scarf": 40}, "shoes": {"boot": 40, "sandal": 40}}
SHORT = {"epochs": 20, "batch_size": 16, "overrides": {"hidden": [32]}}


@pytest.fixture(scope="module")
def catalogues(stack: Stack) -> Iterator[Stack]:
    """Add two catalogues to the stack, and remove them at the end."""
    for name, counts in COUNTS.items():
        settings = Settings(data_dir=stack.data, catalogue=name)
        photos = write_photos(stack.folder / "photos" / name, counts, first=100 * len(name))
        ingest(str(photos), settings=settings, options=StartOptions(image=ImageSpec(16, 16, 3)))
    done = stack.fashion("up", FASHION_CATALOGUES="shop,shoes")
    assert done.returncode == 0, done.stderr
    yield stack
    assert stack.fashion("up", FASHION_CATALOGUES="").returncode == 0


def deployments(stack: Stack) -> set[str]:
    return {one["name"] for one in stack.api.ask("POST", "/deployments/filter", {})}


def models(stack: Stack, catalogue: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.fashion("models", "--json", FASHION_CATALOGUE=catalogue).stdout)
    return found


def test_the_status_lists_the_catalogues(catalogues: Stack) -> None:
    assert json.loads(catalogues.fashion("status", "--json").stdout)["catalogues"] == ["fashion-mnist", "shop", "shoes"]
    assert "shoes (training/shoes-nightly)" in catalogues.fashion("status").stdout
    again = catalogues.fashion("up")
    assert (again.returncode, again.stderr) == (0, "already up\n"), "a shell without the variable changes nothing"


def test_training_one_catalogue_makes_only_its_own_model_live(catalogues: Stack) -> None:
    """It trains on the ingested dataset; the worker's FASHION_SOURCE names Fashion-MNIST archives."""
    before = models(catalogues, "fashion-mnist")
    parameters = [part for name, value in SHORT.items() for part in ("--param", f"{name}={json.dumps(value)}")]
    done = catalogues.prefect("deployment", "run", "training/shop-nightly", "--watch", *parameters)
    assert done.returncode == 0, done.stdout + done.stderr + catalogues.log("worker").read_text()
    (model,) = models(catalogues, "shop")
    assert model["live"]
    assert model["tag"].startswith("shop-mlp:")
    assert model["preset"] == "photos"
    assert models(catalogues, "shoes") == []
    assert models(catalogues, "fashion-mnist") == before


def test_files_in_the_inbox_of_a_catalogue_are_scored_by_its_model(catalogues: Stack) -> None:
    """Runs after the training above."""
    inbox = catalogues.data / "catalogues" / "shop" / "inbox" / "scoring"
    write_photos(inbox, {"hat": 3})
    run = catalogues.start_run("scoring/shop-inbox", {"settle": 0, "check": "off"})
    assert catalogues.end_of(run) == "Completed", catalogues.log("worker").read_text()
    (answered,) = inbox.rglob("done/**/*.csv")
    rows = answered.read_text().splitlines()
    assert len(rows) == 4
    assert all("shop-mlp:" in row for row in rows[1:])


def test_a_removed_catalogue_has_no_schedules(catalogues: Stack, tmp_path: Path) -> None:
    assert {"nightly", "shop-nightly", "shoes-nightly", "shop-hourly"} <= deployments(catalogues)
    done = catalogues.fashion("up", FASHION_CATALOGUES="shoes")
    assert done.returncode == 0, done.stderr
    left = deployments(catalogues)
    assert {"nightly", "shoes-nightly"} <= left
    assert not [name for name in left if name.startswith("shop-")]
    automations = {one["name"] for one in catalogues.api.ask("POST", "/automations/filter", {})}
    assert {"train-on-drift", "shoes-train-on-drift"} <= automations
    assert "shop-train-on-drift" not in automations
