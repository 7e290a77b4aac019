"""Unattended scheduled runs on the stack that `fashion up` starts."""

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from prefects import LONG, PREFECT, wait_until
from stacks import Stack

from components.settings import CHECKOUT
from ops.automations import AUTOMATIONS
from ops.supervisor import asking, start_piece

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]
FLOW = """
import time
from pathlib import Path
from prefect import flow, get_run_logger

@flow
def waiting(file: str) -> None:
    "Ends once the file is there."
    Path(file).with_suffix(".started").touch()
    while not Path(file).exists():
        time.sleep(0.1)
    get_run_logger().info("it is there")
"""
SCHEDULED = "waiting/scheduled"


@pytest.fixture(scope="module")
def waiting(stack: Stack) -> Stack:
    """The stack with a deployment that has the concurrency limit of the scheduled ones in prefect.yaml."""
    project = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())
    nightly = project["deployments"][0]
    kept = {name: nightly[name] for name in ("concurrency_limit", "work_pool")}
    folder = stack.folder / "waiting"
    folder.mkdir()
    (folder / "flow.py").write_text(FLOW)
    deployment = {"name": "scheduled", "entrypoint": "flow.py:waiting", **kept}
    (folder / "prefect.yaml").write_text(yaml.safe_dump({"name": "waiting", "deployments": [deployment]}))
    done = stack.prefect("--no-prompt", "deploy", "--all", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return stack


@pytest.fixture
def gate(waiting: Stack, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The file that a run waits for."""
    file = waiting.folder / f"{request.node.name}.open"
    yield file
    file.touch()


def start(stack: Stack, gate: Path, **more: Any) -> str:
    return stack.start_run(SCHEDULED, {"file": str(gate)}, **more)


def wait_for_start(stack: Stack, gate: Path) -> None:
    wait_until(gate.with_suffix(".started").exists, "a run to start", stack.log("worker"))


def test_a_second_concurrent_run_is_cancelled_and_a_killed_server_and_worker_lose_nothing(
    waiting: Stack, gate: Path
) -> None:
    first = start(waiting, gate)
    wait_for_start(waiting, gate)
    second = start(waiting, gate)
    assert waiting.end_of(second) == "Cancelled"
    killed = [psutil.Process(waiting.pieces()[name].pid) for name in ("prefect", "worker")]
    for piece in killed:
        piece.kill()
    wait_until(lambda: not any(piece.is_running() for piece in killed), "them to be gone")
    wait_until(lambda: waiting.api.state(first) == "Running", "the server to come back", waiting.log("prefect"))
    gate.touch()
    assert waiting.end_of(first) == "Completed"
    assert held(waiting) == 0, "or every later run would be cancelled"


def held(stack: Stack) -> int:
    """Return how many runs hold the deployment's concurrency limit."""
    return int(stack.api.ask("GET", f"/deployments/name/{SCHEDULED}")["global_concurrency_limit"]["active_slots"])


def test_one_catch_up_run_covers_all_missed_runs(waiting: Stack, gate: Path) -> None:
    """Also if the deployments are registered again before a worker starts, as `fashion up` does."""
    layout = waiting.layout
    with asking(layout) as supervisor:
        supervisor.stopProcess("worker")
    due = [datetime.now(UTC) - timedelta(days=days) for days in (3, 2, 1)]
    late = [
        start(waiting, gate, state={"type": "SCHEDULED", "state_details": {"scheduled_time": moment.isoformat()}})
        for moment in due
    ]
    wait_until(lambda: all(waiting.api.state(run) == "Late" for run in late), "the runs to be late")
    done = waiting.prefect("--no-prompt", "deploy", "--all", cwd=waiting.folder / "waiting")
    assert done.returncode == 0, done.stderr
    start_piece(layout, "worker")
    wait_for_start(waiting, gate)
    wait_until(
        lambda: sorted(map(waiting.api.state, late)) == ["Cancelled", "Cancelled", "Running"], "one to be picked"
    )
    gate.touch()
    assert sorted(map(waiting.end_of, late)) == ["Cancelled", "Cancelled", "Completed"]


def test_a_run_on_a_dead_machine_is_marked_crashed_and_the_next_one_works(waiting: Stack, gate: Path) -> None:
    """Worker and run are killed together. A copy of the stack's automation watches this run with a shorter timeout."""
    soon = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    run = start(waiting, gate, state={"type": "SCHEDULED", "state_details": {"scheduled_time": soon}})
    (automation,) = [one for one in yaml.safe_load(AUTOMATIONS.read_text()) if one["name"] == "dead-runs"]
    trigger = {**automation["trigger"], "match": {"prefect.resource.id": f"prefect.flow-run.{run}"}, "within": 10}
    waiting.api.ask("POST", "/automations/", {**automation, "name": "soon", "trigger": trigger})
    wait_for_start(waiting, gate)
    wait_until(lambda: heartbeats(waiting, run) > 0, "a heartbeat")
    worker = psutil.Process(waiting.pieces()["worker"].pid)
    for process in (worker, waiting.process_of(run)):
        process.send_signal(signal.SIGKILL)
    assert waiting.end_of(run) == "Crashed"
    following = start(waiting, gate)
    gate.touch()
    assert waiting.end_of(following) == "Completed"
    assert waiting.pieces()["worker"].pid not in (0, worker.pid)


def test_a_killed_supervisor_is_reported_and_replaced_and_runs_continue(waiting: Stack, gate: Path) -> None:
    run = start(waiting, gate)
    wait_for_start(waiting, gate)
    with asking(waiting.layout) as supervisor:
        killed = psutil.Process(supervisor.getPID())
    killed.kill()
    killed.wait(LONG)
    message = waiting.fashion("status").stderr
    assert message.startswith("error: supervisord does not answer, but "), message
    assert (
        message.endswith(f"runs ({waiting.process_of(run).pid}) still run. Run 'fashion up' to replace them\n")
        or "worker" in message
    )
    done = waiting.fashion("up")
    assert done.returncode == 0, done.stderr
    assert all(piece.is_well for piece in waiting.pieces().values())
    gate.touch()
    assert waiting.end_of(run) == "Completed"


def heartbeats(stack: Stack, run: str) -> int:
    body = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
        }
    }
    return int(stack.api.ask("POST", "/events/filter", body)["total"])


def test_commands_wait_for_a_locked_database(waiting: Stack, gate: Path) -> None:
    """The server answers 503, and the command retries for about a minute, as all Prefect clients do."""
    gate.touch()
    database = sqlite3.connect(waiting.data / "prefect" / "prefect.db")
    database.execute("BEGIN EXCLUSIVE")
    said = waiting.folder / "asking.log"
    command = [str(PREFECT), "deployment", "run", SCHEDULED, "--watch", "--param", f"file={gate}"]
    with said.open("w") as log:
        environment = {**waiting.user, "PREFECT_LOGGING_LEVEL": "DEBUG"}
        asked = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    wait_until(lambda: "Another attempt will be made" in said.read_text(), "the lock to be in the way", said)
    database.rollback()
    assert asked.wait(LONG) == 0, said.read_text()
