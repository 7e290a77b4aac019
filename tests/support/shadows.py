"""Helpers for the tests of shadows."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import psutil
import torch

from components.contract import ModelCard
from components.model.mlp import MLP
from components.registry import champion, store
from components.registry.shadowed import Shadow
from components.shadow.control import start_shadow
from components.shadow.counts import LIMITS, NOT_SAMPLED, PairCount, ShadowCounts, pair_folder, read_counts
from components.shadow.ledger import Ledger

T = TypeVar("T")
LONG = 240  # seconds; candidates have the lowest priority, and other tests run meanwhile
LIVE, CANDIDATE = "fashion-mlp:livelive", "fashion-mlp:candidate"
SHADOW = Shadow("20260101-000000-0123abcd", CANDIDATE, "0" * 64, 0.5, "2026-01-01T00:00:00+00:00", "anna", "a test")


def counts_of(*pairs: tuple[str, str, int], not_sampled: int = 0, **changed: object) -> ShadowCounts:
    """Counts with these pairs of labels; equal names are the same class."""
    mirrored = sum(images for *_, images in pairs)
    counts = {
        "champion": LIVE,
        "candidate": CANDIDATE,
        "shadow": SHADOW,
        "since": SHADOW.since,
        "until": SHADOW.since,
        "seen": mirrored + not_sampled,
        "mirrored": mirrored,
        "skipped": {NOT_SAMPLED: not_sampled} if not_sampled else {},
        "pairs": tuple(PairCount(left, right, images, left == right) for left, right, images in pairs),
        "champion_sure": 0,
        "candidate_sure": 0,
        "both_sure": 0,
        "seconds": (mirrored, *[0] * len(LIMITS)),
        "cpu_seconds": 0.0,
    }
    return ShadowCounts(**(counts | changed))  # type: ignore[arg-type]


def save_broken(network: MLP, card: ModelCard) -> str:
    """Store a model whose probabilities are not finite, although all of its weights are."""
    with torch.no_grad():
        network.state_dict()["logits.weight"].fill_(3e38)
    return store.save_model(network, card)


def start(tag: str, share: float = 1.0, keep_images: int = 0) -> Shadow:
    return start_shadow(tag, share=share, who="anna", why="a test", keep_images=keep_images)


def record(
    shadow: Shadow, *pairs: tuple[str, str, int], skipped: Mapping[str, int] | None = None, name: str = "1-a"
) -> None:
    """Write the counts of a worker, of these pairs of labels beside the live model."""
    live = champion.live_move().tag
    ledger = Ledger(pair_folder(shadow, live), name, live, shadow.tag)
    images = sum(count for *_, count in pairs)
    ledger.see(images + sum((skipped or {}).values()))
    sure = dict.fromkeys(("champion_sure", "candidate_sure", "both_sure"), 0)
    found = [[left, right, count, left == right] for left, right, count in pairs]
    ledger.add({**sure, "pairs": found, "seconds": [images, *[0] * len(LIMITS)], "cpu_seconds": 1.0})
    for reason, count in (skipped or {}).items():
        ledger.skip(reason, count)
    ledger.close()


def wait_for_counts(tag: str, is_met: Callable[[ShadowCounts], bool], within: float = LONG) -> ShadowCounts:
    """The counts beside the live model, once they meet a condition."""
    return wait_for(
        lambda: found if (found := read_counts(tag)) and is_met(found) else None, lambda: read_counts(tag), within
    )


def wait_for(
    find: Callable[[], T | None], describe: Callable[[], object] = lambda: "not found", within: float = LONG
) -> T:
    """What `find` returns, once that is not None; a failure says what `describe` returns."""
    deadline = time.monotonic() + within
    while (found := find()) is None:
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)
    return found


def candidates_of(pid: int) -> list[psutil.Process]:
    """The processes with candidates below a service."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "components.shadow.candidate" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
