"""The time of a rollback."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract import ModelCard
from components.model.mlp import MLP
from components.registry import champion, store
from components.settings import CHECKOUT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]


@pytest.fixture
def live(network: MLP, card: ModelCard, bentoml_home: Path) -> str:
    tag = store.save_model(network, card)
    champion.make_live(tag, "a test")
    return tag


@pytest.mark.slow
def test_a_rollback_takes_less_than_two_seconds(live: str, network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    """CPU time of the whole command, on a history of a thousand moves. Other programs may run at the same time."""
    for _ in range(3):
        champion.make_live(store.save_model(network, card), "a test")
    path = bentoml_home / "fashion" / "history.jsonl"
    moves = [dataclasses.replace(champion.history()[index % 4], number=index + 1) for index in range(1000)]
    path.write_text("".join(json.dumps(dataclasses.asdict(move)) + "\n" for move in moves))
    (bentoml_home / "fashion" / "live.json").write_text(json.dumps(dataclasses.asdict(moves[-1])))
    code = "import sys, fashion.cli.app as f; f.app(['rollback'], standalone_mode=False); print(*sys.modules)"
    used: list[float] = []
    while len(used) < 3 or (min(used) >= 2 and len(used) < 10):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, capture_output=True, text=True)
        after = os.times()
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert not {"torch", "prefect", "great_expectations", "pandas", "scipy"} & set(done.stdout.split())
    assert min(used) < 2, used
    assert len(champion.history()) == 1000 + len(used)
