"""The flow on a real Prefect server, run from a deployment by a real worker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefects import LONG, PREFECT, Api, Shared
from scored import HEADER, to_lines
from servers import stop

from components.dataset.manifest import Examples
from components.settings import CHECKOUT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]
SHORT = {"untied_epochs": 1, "schedule": "constant"}  # a full flagship training would double the time of these tests
COMPLETED = {"state": {"type": {"any_": ["COMPLETED"]}}}


@dataclass(frozen=True)
class Deployed:
    """A worker, the deployments of prefect.yaml, and the environment of commands that use them."""

    api: Api
    environment: dict[str, str]
    worker_log: Path

    def prefect(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self._run([str(PREFECT), *arguments])

    def fashion(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self._run([sys.executable, "-m", "fashion", *arguments])

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=self.environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=LONG)

    def end_of(self, deployment: str, **parameters: Any) -> tuple[str, str]:
        """Run a deployment. Returns the final state and the run's id."""
        run = self.api.start_run(deployment, parameters)
        return self.api.end_of(run, self.worker_log), run

    def artifact(self, run: str, key: str) -> Any:
        (found,) = self.api.ask(
            "POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}}
        )
        return found


@pytest.fixture(scope="module")
def deployed(prefect_server: Shared, tmp_path_factory: pytest.TempPathFactory, archives: Path) -> Iterator[Deployed]:
    from ops.register import make_pool

    folder = tmp_path_factory.mktemp("deployed")
    environment = {
        **prefect_server.environment,
        "BENTOML_HOME": str(folder / "bentoml"),
        "FASHION_DATA_DIR": str(folder / "data"),
        "FASHION_SOURCE": str(archives),
    }
    deployed = Deployed(prefect_server.api, environment, folder / "worker.log")
    with prefect_server.client() as client:
        make_pool(client)
    done = deployed.prefect("--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    with deployed.worker_log.open("wb") as output:
        command = [str(PREFECT), "worker", "start", "--pool", "fashion"]
        worker = subprocess.Popen(
            command, env=environment, cwd=CHECKOUT, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield deployed
    finally:
        stop(worker)


def test_the_nightly_deployment_is_scheduled_and_never_overlaps(deployed: Deployed) -> None:
    answer = deployed.api.ask("GET", "/deployments/name/training/nightly")
    (schedule,) = answer["schedules"]
    assert schedule["schedule"]["cron"] == "30 3 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert schedule["active"]
    assert answer["global_concurrency_limit"]["limit"] == 1
    assert answer["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert answer["parameters"]["sample_fallback"] is False


def test_a_deployment_run_trains_and_promotes(deployed: Deployed) -> None:
    ended, run = deployed.end_of("training/nightly", epochs=1, overrides=SHORT)
    assert ended == "Completed", deployed.worker_log.read_text()
    (model,) = json.loads(deployed.fashion("models", "--json").stdout)
    assert model["live"]
    assert model["source"] == "sample"
    summary = deployed.artifact(run, "training")["data"]
    assert model["tag"] in summary
    assert f"{model['test_accuracy']:.4f}" in summary
    state = deployed.api.ask("GET", f"/flow_runs/{run}")["state"]
    assert state["message"] == f"{model['tag']} live, test accuracy {model['test_accuracy']:.4f}"
    assert state["data"]["storage_key"], "the result is persisted"
    verdict = deployed.artifact(run, "verdict")
    assert verdict["description"] == f"passed: {model['tag']} compared with no other model"
    rows = {row["check"]: row for row in json.loads(verdict["data"])}
    assert rows["canary: stop"]["outcome"] == "passed"
    assert rows["dataset receipt"]["measured"] == "valid"


def test_a_table_is_scored_on_demand(deployed: Deployed, test_split: Examples) -> None:
    """Runs after the training above, which made a model live."""
    answer = deployed.api.ask("GET", "/deployments/name/scoring/on-demand")
    form = answer["parameter_openapi_schema"]
    assert form["required"] == ["input", "output"]
    assert all(field["description"] for field in form["properties"].values())
    folder = deployed.worker_log.parent
    (folder / "in.csv").write_text("\n".join([HEADER, *to_lines(test_split, 50)]) + "\n")
    parameters = ["--param", f"input={folder / 'in.csv'}", "--param", f"output={folder / 'out.jsonl'}"]
    done = deployed.prefect("deployment", "run", "scoring/on-demand", "--watch", *parameters)
    assert done.returncode == 0, done.stdout + done.stderr + deployed.worker_log.read_text()
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [row["id"] for row in rows] == [str(number + 1) for number in range(50)]


def test_labels_for_images_of_the_test_split_are_rejected(deployed: Deployed, test_split: Examples) -> None:
    folder = Path(deployed.environment["FASHION_DATA_DIR"]) / "inbox" / "labelled"
    folder.mkdir(parents=True)
    (folder / "duplicates.csv").write_text("\n".join([HEADER, *to_lines(test_split, 5)]) + "\n")
    ended, run = deployed.end_of("labels/inbox", settle=0)
    assert ended == "Failed", deployed.worker_log.read_text()
    (row,) = json.loads(deployed.artifact(run, "labels")["data"])
    assert "all rows were rejected" in row["outcome"]
    assert Path(row["moved to"]).parent.name == "failed"


def test_a_parameter_of_the_wrong_type_fails_before_anything_runs(deployed: Deployed) -> None:
    done = deployed.prefect("deployment", "run", "training/nightly", "--watch", "--param", "epochs=many")
    assert done.returncode != 0


def test_a_scheduled_run_without_data_fails_and_keeps_the_live_model(deployed: Deployed) -> None:
    """The source is a parameter, so only this run has nothing to train on."""
    before = deployed.fashion("models", "--json").stdout
    assert deployed.end_of("training/nightly", source="/nowhere", epochs=1)[0] == "Failed"
    assert deployed.fashion("models", "--json").stdout == before


def test_the_command_line_uses_a_running_server(deployed: Deployed) -> None:
    done = deployed.fashion("train", "--preset", "quick", "--epochs", "1", "--seed", "3", "--json", "--no-promote")
    assert done.returncode == 0, done.stderr
    assert "temporary server" not in done.stderr
    result = json.loads(done.stdout)
    assert result["promoted"] is False
    assert result["epochs"] == 1
    (run,) = deployed.api.ask(
        "POST", "/flow_runs/filter", {"flow_runs": COMPLETED, "sort": "END_TIME_DESC", "limit": 1}
    )
    assert result["tag"] in deployed.artifact(run["id"], "training")["data"]
    models = json.loads(deployed.fashion("models", "--json").stdout)
    assert [model["tag"] for model in models if model["live"]] != [result["tag"]]
