"""What the Prefect server does on its own when an event comes in: `python -m flows.automations` makes it so.

Each automation is known by its name: where one is there already it is brought up to date, so that this may run again.
"""

import sys
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events import AutomationCore, EventTrigger, Posture
from prefect.events.actions import ActionTypes, RunDeployment, SendNotification
from prefect.exceptions import ObjectNotFound

from components.errors import SettingsError
from flows.monitoring import DETECTED

TRAINING = "training/on-demand"  # the deployment that a drift starts
BLOCK = "fashion"  # name of the notification blocks that news go to, of whatever kind


def train_on_drift(client: SyncPrefectClient) -> AutomationCore:
    """A drift that begins starts a training, whose model the gate judges like any other, and is told to people."""
    return AutomationCore(
        name="train on drift",
        description="What comes in has drifted from what the live model was made for.",
        trigger=EventTrigger(
            expect={DETECTED},
            match={"prefect.resource.id": "fashion.model.*"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(source="selected", deployment_id=_deployment(client, TRAINING), parameters={}),
            *_notifications(client, "Traffic has drifted", "{{ event.resource.name }}: {{ event.payload.drifted }}"),
        ],
    )


AUTOMATIONS: tuple[Callable[[SyncPrefectClient], AutomationCore], ...] = (train_on_drift,)


def make_automations() -> list[str]:
    """Create each automation, or bring it up to date; one that a person switched off stays off.

    Returns:
        Their names.

    Raises:
        SettingsError: a deployment that they start is not there.
    """
    with get_client(sync_client=True) as client:
        automations = [describe(client) for describe in AUTOMATIONS]
        for wanted in automations:
            there = client.read_automations_by_name(wanted.name)
            if there:
                kept = wanted.model_copy(update={"enabled": there[0].enabled})
                client.update_automation(there[0].id, kept)
            else:
                client.create_automation(wanted)
        return [wanted.name for wanted in automations]


def _deployment(client: SyncPrefectClient, name: str) -> UUID:
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound as error:
        raise SettingsError(f"no deployment {name}; 'prefect deploy --all' comes first") from error


def _notifications(client: SyncPrefectClient, subject: str, body: str) -> list[ActionTypes]:
    """One for each notification block with our name; none where nobody made one."""
    return [
        SendNotification(block_document_id=block.id, subject=subject, body=body)
        for block in client.read_block_documents()
        if block.name == BLOCK and block.block_schema and "notify" in block.block_schema.capabilities
    ]


if __name__ == "__main__":
    try:
        print(*make_automations(), sep="\n")
    except SettingsError as error:
        sys.exit(f"error: {error}")
