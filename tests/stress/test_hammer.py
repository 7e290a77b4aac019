"""Many concurrent processes, some of them killed: the pointer always names a loadable model, and nothing is lost."""

import json
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import bentoml
import pytest
from hammering import PRELOADED, hammer

from components.contract import ModelCard
from components.errors import ModelError
from components.files import writer_of
from components.model.checkpoint import write_checkpoint
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.retention.pins import pinned, unpin
from components.registry.retention.prune import prune
from components.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]

PROCESSES = 20
SECONDS = 60
KILLING = (10, 30)  # seconds after the start: first and last kill


class Crowd:
    """Processes forked from one that has already imported torch."""

    def __init__(self, home: Path, checkpoint: Path) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.home, self.checkpoint = home, checkpoint
        self.until = time.time() + SECONDS
        self.started = self.killed = 0
        self.running = [self.start() for _ in range(PROCESSES)]

    def start(self) -> ForkServerProcess:
        self.started += 1
        process = self.context.Process(target=hammer, args=(self.home, self.checkpoint, self.until, self.started))
        process.start()
        return process

    def replace_one(self, chance: random.Random) -> None:
        place = chance.randrange(PROCESSES)
        self.running[place].kill()
        self.running[place].join()
        self.running[place] = self.start()
        self.killed += 1

    def join(self) -> None:
        for process in self.running:
            process.join(60)
            process.kill()

    @property
    def errors(self) -> list[str]:
        return [path.read_text() for path in self.home.parent.glob("worker-*.error")]

    @property
    def done(self) -> Counter[str]:
        counts = (json.loads(path.read_bytes()) for path in self.home.parent.glob("worker-*.json"))
        return sum((Counter(count) for count in counts), Counter())


@contextmanager
def watching() -> Iterator[list[str]]:
    """Load the live model repeatedly. Yields each tag, or the error if the pointer had not moved."""
    outcomes: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            before = champion.pointer_state()
            try:
                outcomes.append(champion.load_model().tag)
            except ModelError as error:
                if champion.pointer_state() == before:
                    outcomes.append(f"error: {error}")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        thread.join()


def leftovers_in(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if writer_of(path)]


def test_twenty_processes_save_promote_roll_back_pin_and_prune_concurrently(
    bentoml_home: Path, tmp_path: Path, network: MLP, card: ModelCard, settings: Settings
) -> None:
    checkpoint = write_checkpoint(tmp_path, network, card).path
    champion.make_live(store.save_model(network, card), "the first")
    chance = random.Random(0)
    crowd = Crowd(bentoml_home, checkpoint)
    began = crowd.until - SECONDS
    with watching() as seen:
        time.sleep(KILLING[0])
        while time.time() < began + KILLING[1]:
            time.sleep(chance.uniform(0, 0.2))
            crowd.replace_one(chance)
        crowd.join()
    assert crowd.errors == []
    assert [process.exitcode for process in crowd.running] == [0] * PROCESSES
    assert [line for line in seen if line.startswith("error")] == []
    assert len(set(seen)) > 10
    assert {"save_and_promote", "promote", "roll_back", "pin", "prune"} <= crowd.done.keys()
    check_history()
    check_store(bentoml_home, settings)


def check_history() -> None:
    moves = champion.history()
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert [move.previous for move in moves] == [None, *(move.tag for move in moves[:-1])]
    assert champion.load_model().tag == moves[-1].tag
    assert all(move.tag != move.previous for move in moves)


def check_store(home: Path, settings: Settings) -> None:
    """Check that a final prune leaves only the needed models, all intact."""
    live, before = champion.live_move(), champion.previous_move()
    for tag in pinned():
        unpin(tag)
    prune(0, settings=settings, grace=0.0)
    needed = {live.tag, live.previous, before and before.tag} - {None}
    stored = {one.tag for one in store.list_stored()}
    assert live.tag in stored <= needed
    for tag in stored:
        store.load_stored(tag)
    assert {str(model.tag) for model in bentoml.models.list()} == stored
    assert str(bentoml.models.get(f"{store.NAME}:latest").tag) in stored
    assert leftovers_in(home, settings.data_dir) == []
    assert list((home / "fashion" / "staging").iterdir()) == []
