"""Killed scoring and shared inboxes: each row is scored once, and the output has the same bytes."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deliveries import HEADER, empty, inbox, live, report_of, table_of  # noqa: F401, fixtures
from scored import HEADER, SMALL, model, read_csv, rows_of, table, to_lines  # noqa: F401, fixtures

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.inbox import Inbox
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.readers.folders.parts import TableReading
from components.registry import champion, store
from components.scoring.job import run_job
from components.settings import CHECKOUT

pytestmark = pytest.mark.slow


SCORE = """
import sys, time
from pathlib import Path
from components.registry.champion import load_model
from components.readers.folders.parts import TableReading
from components.scoring.job import run_job
model = load_model()
print("ready", flush=True)
run_job(model, Path(sys.argv[1]), Path(sys.argv[2]), reading=TableReading(int(sys.argv[3])), resume=True,
        progress=lambda count, share: time.sleep(0.02))
"""


@pytest.mark.slow
def test_ten_kills_and_a_resume_give_the_same_bytes(
    bentoml_home: Path, network: MLP, card: ModelCard, test_split: Examples, tmp_path: Path
) -> None:
    tag = store.save_model(network, card)
    champion.make_live(tag, "a test")
    lines = to_lines(test_split, 200) * 40
    lines[::97] = ["bad"] * len(lines[::97])
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join([HEADER, *lines]) + "\n")
    moments = random.Random(0)
    for kill in range(10):
        arguments = [sys.executable, "-c", SCORE, str(source), str(output), str(SMALL)]
        process = subprocess.Popen(arguments, cwd=CHECKOUT, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0.05, 0.6))
        while kill == 9 and not list(tmp_path.glob(".out.csv.job/*-*.json")):  # none may be done on a busy machine
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not output.exists()
    model = champion.load_model(tag)
    resumed = run_job(model, source, output, reading=TableReading(SMALL), resume=True)
    assert resumed.resumed > 0
    at = resumed.scored_at.encode()
    whole = run_job(model, source, tmp_path / "whole.csv", reading=TableReading(SMALL))
    expected = (tmp_path / "whole.csv").read_bytes().replace(whole.scored_at.encode(), at)
    assert output.read_bytes() == expected
    assert resumed.count == whole.count


WORKER = """
import sys, time
from pathlib import Path
from components.inbox import find_work, open_inbox
from components.scoring.delivery import deliver
from components.registry.champion import load_model
live, inbox = load_model(), open_inbox(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for item in find_work(inbox, 0.1):
    if done := deliver(inbox, item, live):
        print(done.name, done.outcome, flush=True)
"""


def start_worker(inbox: Inbox) -> "subprocess.Popen[str]":
    """Start a process that waits for a line, then empties the inbox."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(inbox.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_two_workers_share_an_inbox(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    names = [f"{number:02}.csv" for number in range(20)]
    for name in names:
        (inbox.folder / name).write_text(table_of(test_split, 10))
    workers = [start_worker(inbox) for _ in range(2)]
    for process in workers:
        let_go(process)
    said = [word for process in workers for word in process.communicate()[0].split()]
    assert sorted(said[::2]) == names, "each by one of them"
    assert set(said[1::2]) == {"done"}
    assert len(list(inbox.done.iterdir())) == len(names)
    assert not list(inbox.working.iterdir())


@pytest.mark.slow
def test_the_work_of_a_killed_worker_is_resumed(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    header, _, lines = table_of(test_split, 200).partition("\n")
    (inbox.folder / "big.csv").write_text(f"{header}\n{lines * 200}")
    process = start_worker(inbox)
    let_go(process)
    deadline = time.monotonic() + 60
    while not list(inbox.working.glob("*/.scored.csv.job/00000*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (delivery,) = empty(inbox, live)
    assert (delivery.name, delivery.outcome, delivery.rows) == ("big.csv", "done", 40_000)
    report = report_of(delivery)
    assert report["attempts"] == 2
    assert int(str(report["resumed"])) >= 1
    assert not list(inbox.working.iterdir())
