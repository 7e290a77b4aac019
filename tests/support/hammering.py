"""A process that saves, promotes, rolls back, pins and prunes as fast as it can; `test_hammer` starts several."""

import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from components.contract import GateCheck, Verdict
from components.errors import ModelNotFound, PromotionRefused
from components.files import sha256_of
from components.model.checkpoint import Checkpoint, read_checkpoint
from components.registry import champion, store, verdicts
from components.registry.retention.pins import pin, unpin
from components.registry.retention.prune import prune
from components.settings import Settings

PRELOADED = [
    "torch",
    "components.model.checkpoint",
    "components.registry.champion",
    "components.registry.retention.prune",
]


@dataclass
class Worker:
    """The actions of a process, which are chosen at random."""

    network: torch.nn.Module
    card: object
    settings: Settings
    chance: random.Random

    def save(self) -> str:
        return store.save_model(self.network, self.card)  # type: ignore[arg-type]

    def save_and_promote(self) -> None:
        champion.make_live(self.save(), "a hammer")

    def promote(self) -> None:
        stored = store.list_stored()  # may be empty after a prune
        champion.make_live(self.chance.choice(stored).tag if stored else self.save(), "a hammer")

    def judge_and_promote(self) -> None:
        """Promote without evaluation and canary, with a verdict that another process may have invalidated."""
        tag, live = self.save(), champion.try_live()
        check = GateCheck("a check", True, "", "", "")
        sha256 = store.card_sha256(tag)
        champion_of = (live.tag, live.card_sha256) if live else (None, "")
        verdict = Verdict(tag, champion_of[0], "2026-01-01T00:00:00+00:00", "", 0, (check,), {}, sha256, champion_of[1])
        verdicts.write_verdict(verdict)
        champion.make_live(tag, "a hammer", verdict)

    def roll_back(self) -> None:
        champion.rollback(why="a hammer")

    def pin(self) -> None:
        """A pinned model must not be pruned."""
        tag = self.save()
        pin(tag, "a hammer")
        time.sleep(self.chance.uniform(0, 0.1))
        store.load_stored(tag)
        unpin(tag)

    def prune(self) -> None:
        prune(self.chance.randrange(4), settings=self.settings, grace=0.0)


def hammer(home: Path, checkpoint: Path, until: float, number: int) -> None:
    """Run random actions until a time, and write their counts, or an unexpected error, next to the home."""
    os.environ["BENTOML_HOME"] = str(home)
    BentoMLContainer.bentoml_home.set(str(home))
    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    torch.set_num_threads(1)
    network, card = read_checkpoint(Checkpoint(checkpoint, sha256_of(checkpoint)))
    worker = Worker(network, card, Settings(data_dir=home.parent / "data"), random.Random(number))
    acts: list[Callable[[], None]] = [worker.save_and_promote, worker.promote, worker.roll_back, worker.pin]
    acts += [worker.judge_and_promote, worker.roll_back, worker.prune]
    done: Counter[str] = Counter()
    try:
        while time.time() < until:
            act = worker.chance.choice(acts)
            try:
                act()
                done[act.__name__] += 1
            except (ModelNotFound, PromotionRefused) as error:  # another process was faster
                done[f"{act.__name__}: {type(error).__name__}"] += 1
    except BaseException:
        (home.parent / f"worker-{number}.error").write_text(traceback.format_exc())
        sys.exit(1)
    (home.parent / f"worker-{number}.json").write_text(json.dumps(done))
