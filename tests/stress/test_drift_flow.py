"""The hourly check on a real Prefect server: it reports drift once, and the server starts a training."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged import write_lines
from prefects import Api, Shared, wait_until
from servers import using_home

from components.catalogues.sample import draw
from components.contract import ModelCard
from components.errors import SettingsError
from components.model.classifier import Classifier
from components.registry import champion, store
from components.settings import CHECKOUT
from components.training.train import Trained
from ops.automations import make_automation

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]
HOUR = 3600  # seconds
CHECKS = """
import sys
from flows.monitoring import monitoring
for _ in sys.stdin:
    print(monitoring(), flush=True)
"""


@dataclass(frozen=True)
class Watch:
    """A server, a live model with a profile, and a process that checks its traffic on demand."""

    api: Api
    model: Classifier
    predictions: Path
    data: Path
    checking: "subprocess.Popen[str]"
    log: Path

    def check(self) -> str:
        """Run the flow once, as each hour does."""
        assert self.checking.stdin
        assert self.checking.stdout
        self.checking.stdin.write("now\n")
        self.checking.stdin.flush()
        output = self.checking.stdout.readline()
        assert output, self.log.read_text()
        return output.strip()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name, once the server has received one."""
        found: list[dict[str, Any]] = []

        def is_seen() -> bool:
            answer = self.api.ask("POST", "/events/filter", {"filter": {"event": {"name": [name]}}})
            found[:] = answer["events"]
            return bool(found)

        wait_until(is_seen, name, self.log)
        return found

    def see(self, seed: int, inverted: bool) -> None:
        """Write four hours of traffic, up to now."""
        for old in self.predictions.glob("*.jsonl*"):
            old.unlink()
        images = draw(1200, np.random.default_rng(seed))[0]
        write_lines(
            self.predictions, 255 - images if inverted else images, self.model, time.time() - 4 * HOUR, time.time()
        )


@pytest.fixture(scope="module")
def watch(
    prefect_server: Shared, trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watch]:
    folder = tmp_path_factory.mktemp("drift")
    log = folder / "checks.log"
    with using_home(folder / "bentoml") as home, log.open("w") as errors:
        champion.make_live(store.save_model(trained.network, card), "a test")
        environment = {
            **prefect_server.environment,
            "BENTOML_HOME": str(home),
            "FASHION_DATA_DIR": str(folder / "data"),
        }
        command, pipe = [sys.executable, "-c", CHECKS], subprocess.PIPE
        with subprocess.Popen(
            command, env=environment, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=errors, text=True
        ) as checking:
            model, predictions = champion.load_model(), store.home() / "predictions"
            yield Watch(prefect_server.api, model, predictions, folder / "data", checking, log)


def test_an_automation_for_a_missing_deployment_is_refused(prefect_server: Shared) -> None:
    described = {"name": "of-nothing", "actions": [{"type": "run-deployment", "deployment": "training/never"}]}
    message = "found no deployment training/never. Run 'prefect deploy --all' first"
    with prefect_server.client() as client, pytest.raises(SettingsError, match=message):
        make_automation(client, described)


def test_drift_is_reported_once_and_starts_a_training(prefect_server: Shared, watch: Watch) -> None:
    deployment = prefect_server.have_deployment()
    for _ in range(2):
        prefect_server.register()
    assert prefect_server.automations() == ["dead-runs", "train-on-drift"]

    watch.see(1, inverted=True)
    assert [watch.check() for _ in range(2)] == ["drift", "drift"]
    (event,) = watch.events("fashion.drift.detected")
    assert event["resource"]["prefect.resource.id"] == f"fashion.model.{watch.model.tag}"
    assert "mean" in event["payload"]["drifted"]
    run = wait_for_run(watch.api, deployment)
    assert run["state_type"] == "SCHEDULED"
    assert run["created_by"]["display_value"] == "train-on-drift"
    watch.api.ask("DELETE", f"/flow_runs/{run['id']}")  # a worker would run it otherwise
    page = (watch.data / "reports" / "drift.html").read_text()
    assert "Traffic has drifted" in page
    (table,) = watch.api.ask("POST", "/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["drift"]}}})
    rows = {row["feature"]: row for row in json.loads(table["data"])}
    assert rows["mean"]["verdict"] == "DRIFT"


def test_the_end_of_a_drift_is_reported(watch: Watch) -> None:
    """Runs after the drift above."""
    watch.see(2, inverted=False)
    assert watch.check() == "calm"
    (ended,) = watch.events("fashion.drift.ended")
    assert ended["payload"]["model"] == watch.model.tag
    assert len(watch.events("fashion.drift.detected")) == 1
    assert json.loads((watch.data / "drift.json").read_text()) is None


def wait_for_run(api: Api, deployment: str) -> dict[str, Any]:
    """Return the run that the automation starts."""
    found: list[dict[str, Any]] = []

    def run_exists() -> bool:
        answer = api.ask("POST", "/flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [deployment]}}})
        found[:] = [run for run in answer if (run["created_by"] or {}).get("display_value") == "train-on-drift"]
        return bool(found)

    wait_until(run_exists, "a training to be started")
    (run,) = found
    return run
