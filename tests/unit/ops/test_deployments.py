"""The deployments of prefect.yaml, for several catalogues."""

from typing import Any

import pytest
import yaml
from networks import contract_with, draw_records, embedding_of, make_network, write_records

from components.settings import Settings
from ops.automations import describe_automations
from ops.catalogues import Scheduled, ScheduledCatalogue
from ops.deployments import PROJECT, describe_deployments

PLAIN: list[dict[str, Any]] = yaml.safe_load(PROJECT.read_text())["deployments"]
SHOP, SHOES = ScheduledCatalogue("shop", "auto", "16x16x3", "garment"), ScheduledCatalogue("shoes", "/photos")

pytestmark = pytest.mark.usefixtures("settings")


def names_of(deployments: list[dict[str, Any]]) -> list[str]:
    return [f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}" for one in deployments]


def test_the_default_catalogue_alone_has_the_deployments_of_the_file(settings: Settings) -> None:
    assert describe_deployments(Scheduled("fashion-mnist"))["deployments"] == PLAIN


def test_each_other_catalogue_has_the_same_deployments_with_its_prefix() -> None:
    deployments = describe_deployments(Scheduled("fashion-mnist", (SHOP, SHOES)))["deployments"]
    assert deployments[: len(PLAIN)] == PLAIN
    for number, catalogue in ((1, "shop"), (2, "shoes")):
        theirs = deployments[number * len(PLAIN) : (number + 1) * len(PLAIN)]
        assert names_of(theirs) == [name.replace("/", f"/{catalogue}-") for name in names_of(PLAIN)]
        for one, plain in zip(theirs, PLAIN, strict=True):
            assert one["tags"] == [*plain["tags"], f"catalogue:{catalogue}"]
            assert one.get("schedules") == plain.get("schedules")
            assert one["concurrency_limit"] == plain["concurrency_limit"]
            environment = one["work_pool"]["job_variables"]["env"]
            assert environment["FASHION_CATALOGUE"] == catalogue
            assert environment.items() >= plain["work_pool"]["job_variables"]["env"].items()


@pytest.mark.parametrize(("catalogue", "preset"), [("fashion-mnist", "flagship"), ("shop", "photos")])
def test_a_custom_catalogue_is_trained_with_the_preset_of_make_run(catalogue: str, preset: str) -> None:
    others = () if catalogue == "fashion-mnist" else (ScheduledCatalogue("fashion-mnist", "auto"),)
    nightly, *_ = describe_deployments(Scheduled(catalogue, others))["deployments"]
    assert (nightly["name"], nightly["parameters"]["preset"]) == ("nightly", preset)


def test_a_catalogue_with_a_network_is_trained_on_vectors(settings: Settings) -> None:
    contract = contract_with(embedding_of(make_network()))
    write_records(settings.data_dir / "catalogues" / "shop" / "datasets", draw_records(contract, 4), contract)
    deployments = describe_deployments(Scheduled("fashion-mnist", (SHOP,)))["deployments"]
    (nightly,) = (one for one in deployments if one["name"] == "shop-nightly")
    assert nightly["parameters"]["preset"] == "vectors"


def test_a_drift_starts_the_training_of_its_own_catalogue() -> None:
    dead, *training = describe_automations(Scheduled("fashion-mnist", (SHOP,)))
    assert dead["name"] == "dead-runs"
    assert [
        (one["name"], one["trigger"]["match"]["prefect.resource.id"], one["actions"][0]["deployment"])
        for one in training
    ] == [
        ("train-on-drift", "fashion.model.fashion-mlp:*", "training/on-demand"),
        ("shop-train-on-drift", "fashion.model.shop-mlp:*", "training/shop-on-demand"),
    ]
