"""A bad model goes live by force, serves real traffic, and is rolled back by the check of its probation."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import torch
from following import wait_for
from probations import PATIENCE, SETTINGS, Traffic, pretend_an_hour_of, wait_for_record
from promotions import LENIENT, SERVED, change_bias
from servers import serve, using_home

from components.contract import GateCheck, ModelCard
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.promote import promote
from components.registry import champion, store
from components.settings import CHECKOUT, Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("validated")]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with using_home(tmp_path / "bentoml") as home:
        yield home


def serve_well(model: Classifier, bounds: GateBounds, settings: Settings) -> tuple[GateCheck, ...]:
    """A canary that passes; tests/journeys/test_promotion.py has the real one."""
    return (SERVED,)


def fashion(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fashion", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)


def test_a_bad_model_is_rolled_back_by_the_traffic_it_serves(
    home: Path, network: MLP, card: ModelCard, shared_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    good = store.save_model(network, card)
    bad = store.save_model(change_bias(network, 40 * torch.eye(10)[3]), card)  # always the same class
    champion.make_live(good, "a test")
    with serve(home) as server:
        traffic = Traffic(server.client())
        traffic.start()
        usual = wait_for_record(good)
        pretend_an_hour_of(usual)
        forced = promote(bad, "a test", force=True, bounds=LENIENT, settings=shared_settings, canary=serve_well)
        assert forced.promoted
        promoted = datetime.fromisoformat(champion.live_move().when).timestamp()
        wait_for(server, bad)
        assert wait_for_record(bad, promoted).requests
        check_until_rolled_back()
        wait_for(server, good)
        traffic.ending.set()
        traffic.join()
    move = champion.live_move()
    assert (move.action, move.tag, move.previous) == ("rollback", good, bad)
    assert move.why.startswith("probation: ")
    assert move.why in json.loads(fashion("history", "--json").stdout)[-1]["why"]
    listed = {one["tag"]: one for one in json.loads(fashion("models", "--json").stdout)}
    assert listed[bad]["barred"] == move.why
    assert listed[good]["live"]
    shown = json.loads(fashion("probation", "--json").stdout)["probation"]
    assert (shown["model"], shown["state"], shown["reported"]) == (bad, "rolled back", True)
    again = promote(bad, "a test", bounds=LENIENT, settings=shared_settings, canary=serve_well)
    assert not again.promoted
    assert again.verdict
    assert "barred" in {check.name for check in again.verdict.checks if not check.passed}
    assert champion.live_move() == move
    assert not traffic.problems
    assert set(traffic.statuses) == {200}
    assert set(traffic.models) == {good, bad}


def check_until_rolled_back() -> None:
    deadline = time.monotonic() + PATIENCE
    while (done := fashion("probation", "--check", "--json")).returncode != 3:
        assert done.returncode == 0, done.stderr
        assert time.monotonic() < deadline, done.stdout
        time.sleep(1)
    assert json.loads(done.stdout)["move"]["action"] == "rollback"
