"""The hourly check on a real Prefect server: what it tells, once, and what the server does about it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from servers import free_port, stop, using_home
from test_drift import write_lines

from components.contract import ModelCard
from components.dataset.sample import draw
from components.model.classifier import Classifier
from components.registry import champion, store
from components.settings import CHECKOUT
from components.training.train import Trained

pytestmark = pytest.mark.slow
START = 120  # seconds for a server with an empty home
SOON = 90  # seconds for a server to see an event and act on it
HOUR = 3600  # seconds


@dataclass(frozen=True)
class Stack:
    """A server, a live model with a profile, and the environment of what runs beside them."""

    url: str
    environment: dict[str, str]
    model: Classifier
    predictions: Path
    data: Path

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=self.environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=180)

    def ask(self, what: str, body: dict[str, Any]) -> Any:
        return httpx.post(f"{self.url}/{what}", json=body, timeout=30).raise_for_status().json()

    def check(self, times: int = 1) -> list[str]:
        """Run the flow as often as that, an hour's work each."""
        code = f"from flows.monitoring import monitoring; print(*[monitoring() for _ in range({times})])"
        done = self.python("-c", code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[-1].split()

    def events(self, name: str, count: int) -> list[dict[str, Any]]:
        """Those of a name, once the server has seen so many."""
        deadline = time.monotonic() + SOON
        found: list[dict[str, Any]] = []
        while time.monotonic() < deadline and len(found) < count:
            time.sleep(0.5)
            found = self.ask("events/filter", {"filter": {"event": {"name": [name]}}})["events"]
        return found

    def see(self, seed: int, inverted: bool) -> None:
        """Four hours of traffic, the last of them now."""
        for old in self.predictions.glob("*.jsonl*"):
            old.unlink()
        images = draw(1200, np.random.default_rng(seed))[0]
        write_lines(
            self.predictions, 255 - images if inverted else images, self.model, time.time() - 4 * HOUR, time.time()
        )


@pytest.fixture(scope="module")
def stack(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("drift")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    with using_home(folder / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FASHION_"))},
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "BENTOML_HOME": str(home),
            "FASHION_DATA_DIR": str(folder / "data"),
        }
        log = folder / "server.log"
        command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port)]
        with log.open("wb") as output:
            server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            wait_for(f"{url}/health", log)
            yield Stack(url, environment, champion.load_model(), store.home() / "predictions", folder / "data")
        finally:
            stop(server)


def wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not answer:\n{log.read_text()}")


def test_a_drift_is_told_of_once_and_starts_a_training(stack: Stack) -> None:
    make = (
        "from prefect.client.orchestration import get_client\n"
        "from flows.stack.automations import register_automations\n"
        "with get_client(sync_client=True) as client: register_automations(client)"
    )
    refused = stack.python("-c", make)
    assert "no deployment training/on-demand; 'prefect deploy --all' comes first" in refused.stderr

    flow = stack.ask("flows/", {"name": "training"})["id"]
    deployment = stack.ask("deployments/", {"name": "on-demand", "flow_id": flow})["id"]
    for _ in range(2):
        made = stack.python("-c", make)
        assert made.returncode == 0, made.stderr
    automations = stack.ask("automations/filter", {})
    assert sorted(one["name"] for one in automations if one["enabled"]) == ["dead-runs", "train-on-drift"]

    stack.see(1, inverted=True)
    assert stack.check(times=2) == ["drift", "drift"]
    (event,) = stack.events("fashion.drift.detected", 1)
    assert event["resource"]["prefect.resource.id"] == f"fashion.model.{stack.model.tag}"
    assert "mean" in event["payload"]["drifted"]
    run = wait_for_run(stack, deployment)
    assert run["state_type"] == "SCHEDULED"
    assert run["created_by"]["display_value"] == "train-on-drift"
    page = (stack.data / "reports" / "drift.html").read_text()
    assert "Traffic has drifted" in page
    (table,) = stack.ask("artifacts/latest/filter", {"artifacts": {"key": {"any_": ["drift"]}}})
    rows = {row["feature"]: row for row in json.loads(table["data"])}
    assert rows["mean"]["verdict"] == "DRIFT"


def test_its_end_is_told_of_too(stack: Stack) -> None:
    """Runs after the drift above."""
    stack.see(2, inverted=False)
    assert stack.check() == ["calm"]
    (ended,) = stack.events("fashion.drift.ended", 1)
    assert ended["payload"]["model"] == stack.model.tag
    assert len(stack.events("fashion.drift.detected", 1)) == 1
    assert json.loads((stack.data / "drift.json").read_text()) is None


def wait_for_run(stack: Stack, deployment: str) -> dict[str, Any]:
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        runs = stack.ask("flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [deployment]}}})
        if runs:
            (run,) = runs
            found: dict[str, Any] = run
            return found
        time.sleep(0.5)
    pytest.fail("no training was started")
