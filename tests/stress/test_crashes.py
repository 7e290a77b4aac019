"""A kill, a full disk or a second process at any time leaves the old state intact, and a retry succeeds."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from readings import PIXEL_COLUMNS

from components.contract import ModelCard
from components.errors import InputError
from components.model.checkpoint import write_checkpoint
from components.model.mlp import MLP
from components.registry import champion, store
from components.scoring.job import rejects_path, run_job
from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
KILLS = 4

SAVE_AND_PROMOTE = """
import sys
from pathlib import Path
from components.files import sha256_of
from components.model.checkpoint import Checkpoint, read_checkpoint
from components.registry import champion, store
network, card = read_checkpoint(Checkpoint(Path(sys.argv[1]), sha256_of(Path(sys.argv[1]))))
print("ready", flush=True)
for turn in range(int(sys.argv[2])):
    champion.make_live(store.save_model(network, card), "a loop")
    if turn % 3 == 2:
        champion.rollback()
"""

SCORE = """
import sys
from pathlib import Path
import fashion
from components.scoring.job import run_job
model = fashion.load_model()
print("ready", flush=True)
run_job(model, Path(sys.argv[1]), Path(sys.argv[2]))
"""

# Limits the size of written files, which simulates a full disk.
LITTLE_SPACE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
"""


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout
    assert process.stdout.readline() == "ready\n", process.communicate()[1]


@pytest.fixture
def checkpoint(tmp_path: Path, network: MLP, card: ModelCard) -> Path:
    return write_checkpoint(tmp_path, network, card).path


def test_a_kill_during_saves_and_promotions_leaves_a_loadable_model(
    bentoml_home: Path, checkpoint: Path, network: MLP, card: ModelCard
) -> None:
    champion.make_live(store.save_model(network, card), "before any kill, however early")
    generator = random.Random(0)
    for _ in range(KILLS):
        process = start(SAVE_AND_PROMOTE, checkpoint, 10_000)
        wait_until_ready(process)
        time.sleep(generator.uniform(0.05, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        champion.load_model()
        numbers = [move.number for move in champion.history()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(stored.card for stored in store.list_stored())
    listed = subprocess.run(
        [Path(sys.executable).with_name("bentoml"), "models", "list", "-o", "json"], capture_output=True, text=True
    )
    assert len(json.loads(listed.stdout)) == len(store.list_stored()) > 0


def test_processes_can_save_promote_and_roll_back_concurrently(bentoml_home: Path, checkpoint: Path) -> None:
    turns, count = 6, 4
    processes = [start(SAVE_AND_PROMOTE, checkpoint, turns) for _ in range(count)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, errors
    moves = champion.history()
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert [move.previous for move in moves[1:]] == [move.tag for move in moves[:-1]]
    assert len(moves) == count * (turns + turns // 3)
    assert len(store.list_stored()) == count * turns
    assert champion.load_model().tag == moves[-1].tag


def test_a_full_disk_during_a_save_leaves_the_store_unchanged(bentoml_home: Path, checkpoint: Path) -> None:
    process = start(LITTLE_SPACE + SAVE_AND_PROMOTE, checkpoint, 1)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "File too large" in error
    assert store.list_stored() == []
    assert not list((bentoml_home / "fashion" / "staging").iterdir())
    retry = start(SAVE_AND_PROMOTE, checkpoint, 1)
    assert retry.wait(60) == 0
    assert champion.live_move().number == 1


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Repeated rows that take a few seconds to score; one in a hundred is invalid."""
    generator = np.random.default_rng(0)
    rows = [",".join(map(str, row)) for row in generator.integers(0, 256, (99, 784))] + ["bad"]
    path = tmp_path / "in.csv"
    path.write_text("\n".join([",".join(PIXEL_COLUMNS), *rows * 150]) + "\n")
    return path


def test_a_kill_during_scoring_leaves_the_old_output_and_a_retry_succeeds(
    bentoml_home: Path, network: MLP, card: ModelCard, table: Path, tmp_path: Path
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    folder = tmp_path / "scored"
    folder.mkdir()
    output = folder / "out.csv"
    output.write_text("of yesterday")
    process = start(SCORE, table, output)
    wait_until_ready(process)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert output.read_text() == "of yesterday"
    assert not rejects_path(output).exists()
    count = run_job(champion.load_model(), table, output).count
    assert (count.rows, count.scored, count.rejected) == (15_000, 14_850, 150)
    assert len(output.read_text().splitlines()) == 14_851
    assert len(rejects_path(output).read_text().splitlines()) == 151


def test_a_full_disk_during_scoring_leaves_the_old_output(
    bentoml_home: Path, network: MLP, card: ModelCard, table: Path, tmp_path: Path
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    folder = tmp_path / "scored"
    folder.mkdir()
    (folder / "out.csv").write_text("of yesterday")
    process = start(LITTLE_SPACE + SCORE, table, folder / "out.csv")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "File too large" in error
    assert {path.name for path in folder.iterdir()} <= {"out.csv", ".out.csv.job"}
    assert (folder / "out.csv").read_text() == "of yesterday"


def test_an_output_that_cannot_be_written_is_an_error(
    bentoml_home: Path, network: MLP, card: ModelCard, table: Path, tmp_path: Path
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    (tmp_path / "a file").write_text("")
    with pytest.raises(OSError, match="a file"):
        run_job(champion.load_model(), table, tmp_path / "a file" / "out.csv")


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_an_output_that_is_not_a_file_is_left_unchanged(
    bentoml_home: Path, network: MLP, card: ModelCard, table: Path, tmp_path: Path, kind: str
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    output = tmp_path / "scored" / "out.csv"
    output.parent.mkdir()
    output.mkdir() if kind == "folder" else os.mkfifo(output)
    with pytest.raises(InputError, match="not a file"):
        run_job(champion.load_model(), table, output)
    assert list(output.parent.iterdir()) == [output]
