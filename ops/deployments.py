"""The deployments of prefect.yaml, once for each catalogue that has schedules."""

import copy
from typing import Any

import yaml

from components.catalogue_in_use import DEFAULT
from components.settings import CHECKOUT
from ops.catalogues import Scheduled, ScheduledCatalogue

PROJECT = CHECKOUT / "prefect.yaml"
TAG = "catalogue:"  # begins the tag that says whose a deployment is, where it is not that of the catalogue in use
TRAINING = "flows/training.py:training"
OWN_PRESET = "photos"  # as `make run` trains for a catalogue of one's own


def describe_deployments(scheduled: Scheduled) -> dict[str, Any]:
    """A file as prefect.yaml is: its deployments for the catalogue in use, then those of each other one."""
    project = yaml.safe_load(PROJECT.read_text())
    plain: list[dict[str, Any]] = project.pop("deployments")
    others = [_of_another(one, catalogue) for catalogue in scheduled.others for one in plain]
    return {"name": project["name"], "deployments": [*(_for(one, scheduled.in_use) for one in plain), *others]}


def _for(deployment: dict[str, Any], catalogue: str) -> dict[str, Any]:
    """A copy, with the recipe of the catalogue; YAML's aliases made one mapping of what several deployments have."""
    deployment = copy.deepcopy(deployment)
    if deployment["entrypoint"] == TRAINING and catalogue != DEFAULT:
        deployment["parameters"]["preset"] = OWN_PRESET
    return deployment


def _of_another(deployment: dict[str, Any], catalogue: ScheduledCatalogue) -> dict[str, Any]:
    deployment = _for(deployment, catalogue.name)
    deployment["name"] = name_deployment(catalogue.name, deployment["name"])
    deployment["description"] = f"{catalogue.name}: {deployment['description']}"
    deployment["tags"] = [*deployment["tags"], f"{TAG}{catalogue.name}"]
    deployment["work_pool"]["job_variables"]["env"] |= catalogue.environment()
    return deployment


def name_deployment(catalogue: str, name: str) -> str:
    """What a deployment of prefect.yaml is called for a catalogue that is not in use, without its flow's name."""
    return f"{catalogue}-{name}"
