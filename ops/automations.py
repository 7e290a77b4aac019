"""What the Prefect server does by itself, from deploy/prefect: each automation is created by its name, or updated."""

import contextlib
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from components.errors import SettingsError
from components.settings import CHECKOUT
from flows.notify.block import NAME, FashionNotification
from flows.notify.send import notify_url

FOLDER = CHECKOUT / "deploy" / "prefect"
AUTOMATIONS, NOTIFICATIONS = FOLDER / "automations.yaml", FOLDER / "notifications.yaml"


def register_automations(client: SyncPrefectClient) -> None:
    """Make the server do what the two files say; without an address nobody is told.

    Raises:
        SettingsError: FASHION_NOTIFY_URL cannot be used, or a deployment that one of them runs is not there.
    """
    for described in yaml.safe_load(AUTOMATIONS.read_text()):
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
