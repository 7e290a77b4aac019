"""The stack of `make up` under kills, maintenance, and commands from an unrelated shell."""

import json
import os
import re
import signal
import socket
import subprocess

import httpx
import psutil
import pytest
import torch
from prefects import LONG, PREFECT, wait_until
from probations import SETTINGS, Traffic, pretend_an_hour_of, wait_for_record
from promotions import change_bias
from servers import using_home
from stacks import QUICK, SECRET, Stack

from components.model.mlp import to_mlp
from components.registry import champion, store
from components.registry.bars import read_bar

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def test_prefect_reaches_the_stack_from_the_project_folder(stack: Stack) -> None:
    """The shell has no stack address, and the user's own profile names another server."""
    home = stack.folder / "stranger"
    home.mkdir()
    (home / "profiles.toml").write_text('active = "own"\n[profiles.own]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n')
    shell = {**stack.environment, "PREFECT_HOME": str(home), "PREFECT_API_AUTH_STRING": SECRET}
    command = [str(PREFECT), "deployment", "run", "training/nightly", "--start-in", "1 day"]
    done = subprocess.run(command, env=shell, cwd=stack.project, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    (name,) = re.findall(r"Created flow run '([\w-]+)'", done.stdout)
    (run,) = stack.api.ask("POST", "/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    stack.api.ask("DELETE", f"/flow_runs/{run['id']}")


def test_a_killed_training_resumes_goes_live_and_is_not_repeated(stack: Stack) -> None:
    """The nightly deployment takes the service from no model to the new one."""
    assert "no model is live" in httpx.get(f"{stack.service}/readyz", timeout=30).text
    longer = {**QUICK, "epochs": 200}
    killed = stack.start_run("training/nightly", longer)
    checkpoints = stack.data / "checkpoints"
    wait_until(lambda: any(checkpoints.glob("unfinished-*")), "an epoch", stack.log("worker"))
    stack.process_of(killed).send_signal(signal.SIGKILL)
    assert stack.end_of(killed) == "Crashed"
    assert stack.end_of(stack.start_run("training/nightly", longer)) == "Completed", stack.log("worker").read_text()
    assert "resuming after epoch" in stack.log("worker").read_text()
    (model,) = json.loads(stack.fashion("models", "--json").stdout)
    assert model["live"]
    wait_until(lambda: httpx.get(f"{stack.service}/readyz", timeout=30).is_success, "the service to be ready")
    assert httpx.get(f"{stack.service}/model", timeout=30).json()["model"] == model["tag"]
    assert stack.end_of(stack.start_run("training/nightly", longer)) == "Completed"
    assert f"skipped: {model['tag']} is live" in stack.log("worker").read_text()
    assert len(json.loads(stack.fashion("models", "--json").stdout)) == 1


def test_maintenance_removes_abandoned_files(stack: Stack) -> None:
    old = stack.data / "checkpoints" / "unfinished-0123456789abcdef"
    young = old.with_name("unfinished-fedcba9876543210")
    result = stack.data / "prefect" / "storage" / ("0123456789abcdef" * 2)
    for path in (old, young, result):
        path.touch()
    for path in (old, result):
        os.utime(path, (0, 0))
    assert stack.end_of(stack.start_run("maintenance/weekly")) == "Completed", stack.log("worker").read_text()
    assert [path for path in (old, young, result) if path.exists()] == [young]
    young.unlink()
    artifacts = stack.api.ask("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": ["maintenance"]}}})
    assert old.name in artifacts[0]["data"]
    assert artifacts[0]["description"].startswith("2 items removed")


def kill(stack: Stack, name: str) -> None:
    """Kill a piece, and wait until it was started again."""
    before = stack.pieces()[name].pid
    psutil.Process(before).kill()
    wait_until(lambda: stack.pieces()[name].pid not in (0, before), f"{name} to come back")


@pytest.mark.parametrize("name", ["service"])  # test_unattended.py kills the others
def test_a_killed_piece_is_restarted(stack: Stack, name: str) -> None:
    kill(stack, name)
    wait_until(lambda: stack.pieces()[name].is_well, f"{name} to answer", stack.log(name))


def test_a_bad_model_is_rolled_back_although_everything_was_killed(stack: Stack) -> None:
    """The service with its worker and shadow, the Prefect server and its worker: what is known of the model stays."""
    short = {"job_variables": {"env": SETTINGS}}
    with using_home(stack.folder / "bentoml"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASHION_DATA_DIR", str(stack.data))
        good = champion.live_move().tag
        card, network = store.describe_stored(good), to_mlp(store.load_stored(good).network)
        bad = store.save_model(change_bias(network, 40 * torch.eye(10)[3]), card)  # always the same class
        traffic = Traffic(httpx.Client(base_url=stack.service, timeout=30, trust_env=False))
        traffic.start()
        pretend_an_hour_of(wait_for_record(good))
        champion.make_live(bad, "a test")
        wait_for_record(bad)
        assert stack.end_of(stack.start_run("probation/frequent", **short)) == "Completed"
        for name in ("service", "prefect", "worker"):
            kill(stack, name)
        wait_until(lambda: all(piece.is_well for piece in stack.pieces().values()), "the pieces", stack.log("prefect"))
        for _ in range(30):  # the looks double their distance, up to eight minutes
            assert stack.end_of(stack.start_run("probation/frequent", **short)) == "Completed", stack.log("worker")
            if champion.live_move().tag == good:
                break
        traffic.ending.set()
        traffic.join()
        assert champion.live_move().tag == good
        assert champion.live_move().why.startswith("probation: ")
        assert read_bar(bad)
    assert set(traffic.statuses) == {200}
    wait_until(lambda: httpx.get(f"{stack.service}/model", timeout=30).json()["model"] == good, "the good model")


def test_down_leaves_no_process_not_even_a_run(stack: Stack) -> None:
    """Runs last: it stops the shared stack."""
    run = stack.start_run("training/on-demand", {**QUICK, "epochs": 100_000, "promote": False})
    wait_until(lambda: any((stack.data / "checkpoints").glob("unfinished-*")), "an epoch", stack.log("worker"))
    running = stack.processes()
    assert stack.process_of(run) in running
    done = stack.fashion("down")
    assert done.returncode == 0, done.stderr
    left = [one for one in running if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left, "a zombie is what a container's first process has not looked at yet"
    assert not stack.processes()
    assert not (stack.project / "prefect.toml").exists()
    for port in ("PORT", "PREFECT_PORT"):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(stack.environment[port])))
    assert stack.fashion("down").stdout == "already down\n"
    assert stack.fashion("status").stderr == "error: the stack is down; 'fashion up' starts it\n"


@pytest.mark.parametrize("variable", ["PORT", "PREFECT_PORT"])
def test_a_port_in_use_is_reported_in_one_line_and_starts_nothing(stack: Stack, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = stack.fashion("up", **{variable: str(port), "FASHION_DATA_DIR": str(stack.folder / "other")})
    (line,) = done.stderr.splitlines()
    start = f"error: cannot listen on 127.0.0.1, port {port}: Address already in use by process {os.getpid()} ("
    assert line.startswith(start)
    assert line.endswith(f"). Stop it, or choose another port with {variable}=...")
    assert done.returncode == 1


def test_the_same_port_for_both_is_reported_in_one_line_and_starts_nothing(stack: Stack) -> None:
    port = stack.environment["PORT"]
    done = stack.fashion("up", PREFECT_PORT=port, FASHION_DATA_DIR=str(stack.folder / "same"))
    message = f"error: PORT and PREFECT_PORT are both {port}, expected different ports\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_an_invalid_port_is_reported_in_one_line(stack: Stack) -> None:
    done = stack.fashion("up", PREFECT_PORT="many")
    assert done.returncode == 1
    assert done.stderr.startswith("error: PREFECT_PORT: ")
