"""The flow on a real Prefect server, from a deployment, by a real worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from servers import free_port
from test_scoring import HEADER, to_lines

from components.manifest import Examples
from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
PREFECT = Path(sys.executable).with_name("prefect")
START = 90  # seconds for a server with an empty home
RUN = 180  # seconds for a run


@dataclass(frozen=True)
class Stack:
    """A server and a worker, and the environment that commands reach them with."""

    url: str
    environment: dict[str, str]
    worker_log: Path

    def prefect(self, *arguments: str, timeout: float = RUN) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PREFECT, *arguments],
            env=self.environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def fashion(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "flows", *arguments]
        return subprocess.run(command, env=self.environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=RUN)

    def runs(self) -> list[dict[str, object]]:
        answer = httpx.post(f"{self.url}/flow_runs/filter", json={}, timeout=30)
        rows: list[dict[str, object]] = answer.raise_for_status().json()
        return rows


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FASHION_"))},
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # instead of 10: how often the worker looks for runs
        "BENTOML_HOME": str(folder / "bentoml"),
        "FASHION_DATA_DIR": str(folder / "data"),
        "FASHION_SOURCE": str(archives),
    }
    server = start([PREFECT, "server", "start", "--port", str(port)], environment, folder / "server.log")
    try:
        wait_for(f"http://127.0.0.1:{port}/api/health", folder / "server.log")
        stack = Stack(f"http://127.0.0.1:{port}/api", environment, folder / "worker.log")
        done = stack.prefect("work-pool", "create", "fashion", "--type", "process")
        assert done.returncode == 0, done.stderr
        worker = start([PREFECT, "worker", "start", "--pool", "fashion"], environment, stack.worker_log)
        try:
            yield stack
        finally:
            stop(worker)
    finally:
        stop(server)


def start(command: list[Path | str], environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=environment, cwd=CHECKOUT, stdout=output, stderr=output, start_new_session=True
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not answer:\n{log.read_text()}")


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Stack:
    done = stack.prefect("--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    return stack


def test_the_nightly_deployment_is_scheduled_and_never_overlaps(deployed: Stack) -> None:
    answer = httpx.get(f"{deployed.url}/deployments/name/training/nightly", timeout=30).raise_for_status().json()
    (schedule,) = answer["schedules"]
    assert schedule["schedule"]["cron"] == "30 3 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert schedule["active"]
    assert answer["global_concurrency_limit"]["limit"] == 1
    assert answer["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert answer["parameters"]["sample_fallback"] is False


def test_a_deployment_run_trains_and_promotes(deployed: Stack) -> None:
    done = deployed.prefect("deployment", "run", "training/nightly", "--watch", "--param", "epochs=2")
    assert done.returncode == 0, done.stdout + done.stderr + deployed.worker_log.read_text()
    (model,) = json.loads(deployed.fashion("models", "--json").stdout)
    assert model["live"]
    assert model["source"] == "sample"
    artifacts = httpx.post(f"{deployed.url}/artifacts/filter", json={}, timeout=30).json()
    (artifact,) = [row for row in artifacts if row["key"] == "training"]
    assert model["tag"] in artifact["data"]
    assert f"{model['test_accuracy']:.4f}" in artifact["data"]
    (verdict,) = [row for row in artifacts if row["key"] == "verdict"]
    assert verdict["description"] == f"passed: {model['tag']} beside nothing"
    rows = {row["check"]: row for row in json.loads(verdict["data"])}
    assert rows["canary: stop"]["outcome"] == "passed"
    assert rows["dataset receipt"]["measured"] == "valid"


def test_a_table_is_scored_on_demand(deployed: Stack, test_split: Examples) -> None:
    """Relative paths are the worker's; after the run above, which put a model live."""
    answer = httpx.get(f"{deployed.url}/deployments/name/scoring/on-demand", timeout=30).raise_for_status().json()
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


def test_images_of_the_test_split_are_no_new_labels(deployed: Stack, test_split: Examples) -> None:
    folder = Path(deployed.environment["FASHION_DATA_DIR"]) / "inbox" / "labelled"
    folder.mkdir(parents=True)
    (folder / "copies.csv").write_text("\n".join([HEADER, *to_lines(test_split, 5)]) + "\n")
    done = deployed.prefect("deployment", "run", "labels/inbox", "--watch", "--param", "settle=0")
    assert done.returncode == 0, done.stdout + done.stderr + deployed.worker_log.read_text()
    artifacts = httpx.post(f"{deployed.url}/artifacts/filter", json={}, timeout=30).json()
    ((row,),) = [json.loads(one["data"]) for one in artifacts if one["key"] == "labels"]
    assert (row["outcome"], row["read"], row["rejected"], row["added"]) == ("nothing new", 5, 5, 0)


def test_a_parameter_of_the_wrong_kind_fails_before_anything_runs(deployed: Stack) -> None:
    done = deployed.prefect("deployment", "run", "training/nightly", "--watch", "--param", "epochs=many")
    assert done.returncode != 0


def test_a_scheduled_run_without_data_fails_and_leaves_the_live_model(deployed: Stack) -> None:
    """The source is a parameter, so that this run alone has nothing to train on."""
    before = deployed.fashion("models", "--json").stdout
    done = deployed.prefect(
        "deployment", "run", "training/nightly", "--watch", "--param", 'source="/nowhere"', "--param", "epochs=1"
    )
    assert done.returncode != 0
    assert deployed.fashion("models", "--json").stdout == before


def test_the_command_line_uses_a_running_server(deployed: Stack) -> None:
    before = len(deployed.runs())
    done = deployed.fashion("train", "--epochs", "1", "--seed", "3", "--json", "--no-promote")
    assert done.returncode == 0, done.stderr
    assert "temporary server" not in done.stderr
    result = json.loads(done.stdout)
    assert result["promoted"] is False
    assert result["epochs"] == 1
    assert len(deployed.runs()) == before + 1
    models = json.loads(deployed.fashion("models", "--json").stdout)
    assert [model["tag"] for model in models if model["live"]] != [result["tag"]]
