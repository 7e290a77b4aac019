"""The process in which a candidate classifies: one thread, at the lowest priority, on a small share of a core.

    python -m components.shadow.candidate TAG CARD_SHA256

It reads batches from standard input (`components.shadow.batches`) and writes one line of JSON for each, after a first
line when it is ready. It ends with its standard input.
"""

import contextlib
import os
import sys
import time
from typing import Any

import orjson

CORE_SHARE = 0.1  # of one core, at most; loading the model takes a few seconds at the lowest priority, once


def main(tag: str, card_sha256: str) -> None:
    """Classify batches until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    lower_priority()
    from components.errors import FashionError
    from components.shadow.batches import read_batch
    from components.shadow.comparing import Comparison

    def answer(values: dict[str, Any]) -> None:
        answers.write(orjson.dumps(values) + b"\n")

    try:
        comparison = Comparison(load_candidate(tag, card_sha256))
    except FashionError as error:
        answer({"problem": str(error)})
        return
    answer({"problem": ""})
    while received := read_batch(sys.stdin.buffer):
        began = time.process_time()
        answer(comparison.compare(*received))
        time.sleep((time.process_time() - began) * (1 / CORE_SHARE - 1))


def load_candidate(tag: str, sha256: str) -> Any:
    """Load the model that was put into shadow.

    Raises:
        ModelNotFound, ModelError: it is damaged, or another model has its tag now.
    """
    from components.errors import ModelError
    from components.registry.store import card_sha256, load_stored

    model = load_stored(tag)
    if card_sha256(tag) != sha256:
        raise ModelError(f"{tag}: not the model that was put into shadow; its files were replaced")
    return model


def lower_priority() -> None:
    """Run only when nothing else wants the processor."""
    with contextlib.suppress(OSError):
        os.nice(19)
    if hasattr(os, "SCHED_IDLE"):  # Linux: any other process that wakes up takes the core at once
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    main(*sys.argv[1:])
