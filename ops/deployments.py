"""The deployments of prefect.yaml, repeated for each scheduled catalogue."""

import copy
from typing import Any

import yaml

from components.catalogue_in_use import DEFAULT
from components.paths import RESOURCES
from components.training.presets import default_preset
from ops.catalogues import Scheduled, ScheduledCatalogue

PROJECT = RESOURCES / "prefect.yaml"
TAG = "catalogue:"  # prefix of the tag with the catalogue of a deployment, if it is not the one in use
TRAINING = "flows/training.py:training"


def describe_deployments(scheduled: Scheduled) -> dict[str, Any]:
    """Return the content of a prefect.yaml with the deployments of the catalogue in use, then of each other one."""
    project = yaml.safe_load(PROJECT.read_text())
    plain: list[dict[str, Any]] = project.pop("deployments")
    others = [_of_another(one, catalogue) for catalogue in scheduled.others for one in plain]
    return {"name": project["name"], "deployments": [*(_for(one, scheduled.in_use) for one in plain), *others]}


def _for(deployment: dict[str, Any], catalogue: str) -> dict[str, Any]:
    """A copy with the catalogue's preset. A deep copy, because YAML aliases share mappings between deployments."""
    deployment = copy.deepcopy(deployment)
    if deployment["entrypoint"] == TRAINING and catalogue != DEFAULT:
        deployment["parameters"]["preset"] = default_preset(catalogue)
    return deployment


def _of_another(deployment: dict[str, Any], catalogue: ScheduledCatalogue) -> dict[str, Any]:
    deployment = _for(deployment, catalogue.name)
    deployment["name"] = name_deployment(catalogue.name, deployment["name"])
    deployment["description"] = f"{catalogue.name}: {deployment['description']}"
    deployment["tags"] = [*deployment["tags"], f"{TAG}{catalogue.name}"]
    deployment["work_pool"]["job_variables"]["env"] |= catalogue.environment()
    return deployment


def name_deployment(catalogue: str, name: str) -> str:
    """Name of a deployment for a catalogue that is not in use, without the name of its flow."""
    return f"{catalogue}-{name}"
