"""Prefect's server notifies about rejections, failures and crashes."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
import yaml
from prefects import LONG, Shared, wait_until
from receiving import Receiver, receiving

from components.settings import CHECKOUT
from ops.automations import NOTIFICATIONS
from ops.layout import StackLayout
from ops.start import sends_notifications

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


FAILING = """
from prefect import flow
from components.promotion.promote import Promotion
from flows.notify.events import emit_promotion

@flow(name="training")
def training():
    emit_promotion(Promotion("fashion-mlp:new", False, None, "fashion-mlp:old"))
    raise ConnectionError("postgresql://fashion:hunter2@db/prefect, token=abc123, swordfish-42")

training()
"""


@dataclasses.dataclass(frozen=True)
class Notified:
    """The shared server with the automations, and the receiver of notifications."""

    server: Shared
    receiver: Receiver

    def run(self, code: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", code]
        environment = self.server.environment
        return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=LONG)

    def end_a_run(self, state: str, message: str, called: str = "") -> str:
        """Create a run that ends in this state; the server does the rest. Returns its name."""
        ask = self.server.api.ask
        flow = ask("POST", "/flows/", {"name": "training"})["id"]
        run = ask("POST", "/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING", "name": "Running"}})
        body = {"state": {"type": state.upper(), "name": called or state, "message": message}, "force": True}
        ask("POST", f"/flow_runs/{run['id']}/set_state", body)
        return str(run["name"])

    @property
    def layout(self) -> StackLayout:
        nowhere = self.server.log.parent
        port = int(self.server.api.url.split(":")[2].removesuffix("/api"))
        return StackLayout(nowhere, nowhere, nowhere, 1, port)

    def block(self) -> httpx.Response:
        path = "block_types/slug/fashion-notification/block_documents/name/fashion"
        return self.server.api.client.get(f"{self.server.api.url}/{path}")


@pytest.fixture(scope="module")
def prefect(prefect_server: Shared) -> Iterator[Notified]:
    prefect_server.have_deployment()
    with receiving() as receiver:
        prefect_server.register(receiver.url)
        yield Notified(prefect_server, receiver)
        prefect_server.register()


def names_of_notifications() -> list[str]:
    return [described["name"] for described in yaml.safe_load(NOTIFICATIONS.read_text())]


def test_a_rejection_and_a_failure_are_reported_with_a_link_and_without_secrets(prefect: Notified) -> None:
    failed = prefect.run(FAILING)
    assert failed.returncode
    refused = prefect.receiver.wait_for("was rejected")
    assert refused["title"] == "fashion-mlp:new was rejected; fashion-mlp:old stays live"
    assert "fashion verdict fashion-mlp:new" in refused["message"]
    message = prefect.receiver.wait_for("training failed")["message"]
    assert "ConnectionError: postgresql://***@db/prefect, token=***, ***" in message
    link = f"Link: {prefect.server.api.url.removesuffix('/api')}/runs/flow-run/"
    run = message.partition(link)[2].split()[0]
    assert prefect.server.api.state(run) == "Failed"
    link += run
    assert link in refused["message"]
    assert "Next: look up the reason in docs/operations.md" in message
    assert not [
        secret for secret in ("hunter2", "abc123", "swordfish") if secret in json.dumps(prefect.receiver.received)
    ]


def test_the_server_reports_a_crash_since_the_run_cannot(prefect: Notified) -> None:
    name = prefect.end_a_run("Crashed", "no heartbeat")
    message = prefect.receiver.wait_for(f"training crashed: {name}")["message"]
    assert message.startswith("Why: no heartbeat\n")
    assert "resume=true" in message


def test_a_run_that_times_out_is_reported(prefect: Notified) -> None:
    """Prefect names this state and its event TimedOut, but its type is FAILED."""
    name = prefect.end_a_run("Failed", "it took 7200 seconds", called="TimedOut")
    assert "7200 seconds" in prefect.receiver.wait_for(f"training timed out: {name}")["message"]


def test_the_url_is_kept_secret_and_registering_again_changes_nothing(prefect: Notified) -> None:
    prefect.server.register(prefect.receiver.url)
    assert prefect.server.automations() == sorted(["dead-runs", "train-on-drift", *names_of_notifications()])
    assert prefect.block().raise_for_status().json()["data"]["url"] == "********"
    assert sends_notifications(prefect.layout) is True


def test_a_failed_notification_is_logged_by_the_server(prefect: Notified) -> None:
    prefect.server.register("json://bob:hunter2@127.0.0.1:9")
    prefect.end_a_run("Failed", "a reason")
    log = prefect.server.log
    wait_until(lambda: "Notification failed" in log.read_text(), "a line of it", log)
    assert "hunter2" not in log.read_text()


def test_without_a_url_the_server_notifies_no_one_and_forgets_the_old_one(prefect: Notified) -> None:
    prefect.server.register()
    assert prefect.server.automations() == ["dead-runs", "train-on-drift"]
    assert prefect.block().status_code == 404
    assert sends_notifications(prefect.layout) is False
    assert sends_notifications(dataclasses.replace(prefect.layout, prefect_port=9)) is None
