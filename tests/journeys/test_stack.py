"""`make up`, `make status`, `make down`: one command starts the system, and one leaves nothing running."""

import json
from pathlib import Path

import httpx
import pytest
from prefects import wait_until
from scored import HEADER, to_lines
from stacks import QUICK, SECRET, Stack

from components.dataset.manifest import Examples

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def test_every_piece_runs_and_a_second_up_changes_nothing(stack: Stack) -> None:
    before: dict[str, dict[str, object]] = json.loads(stack.fashion("status", "--json").stdout)["pieces"]
    assert list(before) == ["prefect", "worker", "service"]
    assert all(piece["is_well"] for piece in before.values()), before
    again = stack.fashion("up", PORT="1")
    assert again.returncode == 0, again.stderr
    assert again.stderr.strip() == "already up"
    assert f"export PREFECT_API_URL={stack.api.url}" in again.stdout
    assert stack.service in again.stdout
    assert {name: piece.pid for name, piece in stack.pieces().items()} == {
        name: piece["pid"] for name, piece in before.items()
    }


def test_without_the_password_the_server_answers_401_and_logs_no_secret(stack: Stack) -> None:
    assert httpx.post(f"{stack.api.url}/flow_runs/filter", json={}, timeout=30).status_code == 401
    for name in ("supervisord", "prefect", "deploy", "worker", "service"):
        assert SECRET not in stack.log(name).read_text()


def test_nightly_runs_are_scheduled_ahead(stack: Stack) -> None:
    body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "limit": 100}
    wait_until(
        lambda: len(stack.api.ask("POST", "/flow_runs/filter", body)) >= 4, "scheduled runs", stack.log("prefect")
    )


def test_a_nightly_training_goes_live_serves_and_scores(stack: Stack, test_split: Examples, tmp_path: Path) -> None:
    assert "no model is live" in httpx.get(f"{stack.service}/readyz", timeout=30).text
    run = stack.start_run("training/nightly", QUICK)
    assert stack.end_of(run) == "Completed", stack.log("worker").read_text()
    (model,) = json.loads(stack.fashion("models", "--json").stdout)
    assert model["live"]
    wait_until(lambda: httpx.get(f"{stack.service}/readyz", timeout=30).is_success, "the service to be ready")
    assert httpx.get(f"{stack.service}/model", timeout=30).json()["model"] == model["tag"]
    (tmp_path / "in.csv").write_text("\n".join([HEADER, *to_lines(test_split, 50)]) + "\n")
    parameters = {"input": str(tmp_path / "in.csv"), "output": str(tmp_path / "out.jsonl"), "check": "off"}
    assert stack.end_of(stack.start_run("scoring/on-demand", parameters)) == "Completed"
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [(row["id"], row["model"]) for row in rows] == [(str(number + 1), model["tag"]) for number in range(50)]
    assert stack.end_of(stack.start_run("probation/frequent", {})) == "Completed", stack.log("worker").read_text()
