"""Register the automations in deploy/prefect with the Prefect server: create each by name, or update it."""

import contextlib
import copy
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from components.errors import SettingsError
from components.paths import RESOURCES
from components.registry.store import name_models
from flows.notify.block import NAME, FashionNotification
from flows.notify.send import notify_url
from ops.catalogues import Scheduled, find_scheduled
from ops.deployments import name_deployment

FOLDER = RESOURCES / "deploy" / "prefect"
AUTOMATIONS, NOTIFICATIONS = FOLDER / "automations.yaml", FOLDER / "notifications.yaml"
ANY_MODEL = "fashion.model.*"


def register_automations(client: SyncPrefectClient, scheduled: Scheduled | None = None) -> None:
    """Register the automations of both files; notifications only if FASHION_NOTIFY_URL is set.

    Args:
        client: client of the server.
        scheduled: the scheduled catalogues. Default: from the environment.

    Raises:
        SettingsError: FASHION_NOTIFY_URL is invalid, or a deployment that an automation runs does not exist.
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
        with contextlib.suppress(ValueError):  # no such block
            FashionNotification.delete(NAME)


def describe_automations(scheduled: Scheduled) -> list[dict[str, Any]]:
    """The automations of the file. One that runs a deployment is repeated for each catalogue, matching its models."""
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
    """Remove the automations of a catalogue that is no longer scheduled."""
    for described in yaml.safe_load(AUTOMATIONS.read_text()):
        if _runs_deployment(described):
            _remove_automation(client, name_deployment(catalogue, described["name"]))


def make_automation(client: SyncPrefectClient, described: dict[str, Any]) -> None:
    """Create an automation, or update the one with its name; a disabled one stays disabled.

    Raises:
        SettingsError: a deployment that it runs does not exist.
    """
    actions = [_with_id(client, action) for action in described["actions"]]
    automation = AutomationCore.model_validate({**described, "actions": actions})
    if found := client.read_automations_by_name(automation.name):
        client.update_automation(found[0].id, automation.model_copy(update={"enabled": found[0].enabled}))
    else:
        client.create_automation(automation)


def _with_id(client: SyncPrefectClient, action: dict[str, Any]) -> dict[str, Any]:
    """Replace the name of an action's deployment by its id, which the server requires."""
    name = action.get("deployment")
    if name is None:
        return action
    try:
        deployment = client.read_deployment_by_name(name).id
    except ObjectNotFound as error:
        raise SettingsError(f"found no deployment {name}. Run 'prefect deploy --all' first") from error
    others = {key: value for key, value in action.items() if key != "deployment"}
    return {**others, "source": "selected", "deployment_id": deployment}


def _save_block(url: str) -> str:
    """Save the URL on the server, which encrypts it and never shows it again. Returns the id of the block document."""
    return str(FashionNotification(url=url).save(NAME, overwrite=True))


def _remove_automation(client: SyncPrefectClient, name: str) -> None:
    for found in client.read_automations_by_name(name):
        client.delete_automation(found.id)
