"""What the Prefect server does by itself, from deploy/prefect: each automation is created by its name, or updated."""

import contextlib
import copy
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from components.errors import SettingsError
from components.registry.store import name_models
from components.settings import CHECKOUT
from flows.notify.block import NAME, FashionNotification
from flows.notify.send import notify_url
from ops.catalogues import Scheduled, find_scheduled
from ops.deployments import name_deployment

FOLDER = CHECKOUT / "deploy" / "prefect"
AUTOMATIONS, NOTIFICATIONS = FOLDER / "automations.yaml", FOLDER / "notifications.yaml"
ANY_MODEL = "fashion.model.*"


def register_automations(client: SyncPrefectClient, scheduled: Scheduled | None = None) -> None:
    """Make the server do what the two files say; without an address nobody is told.

    Args:
        client: the server's.
        scheduled: for which catalogues; None: as the environment says.

    Raises:
        SettingsError: FASHION_NOTIFY_URL cannot be used, or a deployment that one of them runs is not there.
    """
    scheduled = scheduled or find_scheduled()
    for described in describe_automations(scheduled):
        make_automation(client, described)
    url = notify_url()
    block = _save_block(url) if url else None
    for described in yaml.safe_load(NOTIFICATIONS.read_text()):
        if block:
            action = {"type": "send-notification", "block_document_id": block}
            action |= {part: described.pop(part) for part in ("subject", "body")}
            make_automation(client, {**described, "actions": [action]})
        else:
            _remove_automation(client, described["name"])
    if not block:
        with contextlib.suppress(ValueError):  # there is none
            FashionNotification.delete(NAME)


def describe_automations(scheduled: Scheduled) -> list[dict[str, Any]]:
    """Those of the file; one that runs a deployment is of the models of one catalogue, and there is one for each."""
    found = []
    for described in yaml.safe_load(AUTOMATIONS.read_text()):
        if _runs_deployment(described):
            found += [_of_catalogue(described, name, name == scheduled.in_use) for name in scheduled.names]
        else:
            found.append(described)
    return found


def _runs_deployment(described: dict[str, Any]) -> bool:
    return any("deployment" in action for action in described["actions"])


def _of_catalogue(described: dict[str, Any], catalogue: str, in_use: bool) -> dict[str, Any]:
    described = copy.deepcopy(described)
    match = described["trigger"]["match"]
    if match["prefect.resource.id"] == ANY_MODEL:
        match["prefect.resource.id"] = f"fashion.model.{name_models(catalogue)}:*"
    if not in_use:
        described["name"] = name_deployment(catalogue, described["name"])
        for action in described["actions"]:
            flow, _, name = action["deployment"].partition("/")
            action["deployment"] = f"{flow}/{name_deployment(catalogue, name)}"
    return described


def remove_automations_of(client: SyncPrefectClient, catalogue: str) -> None:
    """Remove those of a catalogue that has no schedules any more."""
    for described in yaml.safe_load(AUTOMATIONS.read_text()):
        if _runs_deployment(described):
            _remove_automation(client, name_deployment(catalogue, described["name"]))


def make_automation(client: SyncPrefectClient, described: dict[str, Any]) -> None:
    """Create an automation, or make the one of its name what is described; one that a person switched off stays off.

    Raises:
        SettingsError: a deployment that it runs is not there.
    """
    actions = [_with_id(client, action) for action in described["actions"]]
    automation = AutomationCore.model_validate({**described, "actions": actions})
    if found := client.read_automations_by_name(automation.name):
        client.update_automation(found[0].id, automation.model_copy(update={"enabled": found[0].enabled}))
    else:
        client.create_automation(automation)


def _with_id(client: SyncPrefectClient, action: dict[str, Any]) -> dict[str, Any]:
    """An action that names a deployment, with its id, which is all that the server takes."""
    name = action.get("deployment")
    if name is None:
        return action
    try:
        deployment = client.read_deployment_by_name(name).id
    except ObjectNotFound as error:
        raise SettingsError(f"no deployment {name}; 'prefect deploy --all' comes first") from error
    others = {key: value for key, value in action.items() if key != "deployment"}
    return {**others, "source": "selected", "deployment_id": deployment}


def _save_block(url: str) -> str:
    """Keep the address in the server, which encrypts it and never shows it again. Returns the document's id."""
    return str(FashionNotification(url=url).save(NAME, overwrite=True))


def _remove_automation(client: SyncPrefectClient, name: str) -> None:
    for found in client.read_automations_by_name(name):
        client.delete_automation(found.id)
