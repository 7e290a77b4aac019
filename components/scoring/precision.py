"""Chooses the arithmetic of a scoring job: float32, or integers where they are faster and exact enough."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from components.contract import Images
from components.errors import SettingsError
from components.model.classifier import Arithmetic, Classifier

Precision = Literal["auto", "float32"]

TIMED, TRIALS, MIN_SPEEDUP = 256, 3, 1.3  # rows, repetitions, and how much faster integers must be
SMALL = 1_000_000  # weights; reading takes longer than the products of a smaller network


def choose(model: Classifier, precision: Precision) -> Arithmetic:
    """Return the fastest arithmetic within the bound. Measures both for `auto`, unless the network is small."""
    if precision == "float32" or model.weights < SMALL:
        return "float32"
    try:
        integers, images = use(model, "int8"), _draw(model)
    except SettingsError:
        return "float32"
    with one_thread():  # as in a scoring job
        seconds = [min(_time(one, images) for _ in range(TRIALS)) for one in (model, integers)]
    return "int8" if seconds[0] > MIN_SPEEDUP * seconds[1] else "float32"


def use(model: Classifier, arithmetic: str) -> Classifier:
    """Return the model in float32 or int8.

    Raises:
        SettingsError: this machine or this model cannot do it.
    """
    if arithmetic == "float32":
        return model
    if model.network.config.batch_norm or model.contract.embedding or not model.network.layers:
        raise SettingsError("precision: int8 is for dense networks of pixels without batch norm")
    from components.scoring.int8 import Int8Classifier  # imports PyTorch, which takes two seconds

    try:
        found = Int8Classifier(model.tag, model.card, model.network)
        if found.is_close(_draw(model)):
            return found
    except (RuntimeError, AttributeError):
        pass
    raise SettingsError("precision: the job was started in int8, which this machine cannot multiply; use float32")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit NumPy to one thread while the block runs, and PyTorch in this thread.

    A job scores several parts at once, and two threads would add up the products of one in another order.
    """
    torch = sys.modules.get("torch")  # is imported for integer products only
    threads = torch.get_num_threads() if torch else 0
    with threadpool_limits(1, "blas"):
        limit_torch()
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)


def take_one_core() -> None:
    """Do the same for good, in a process that only scores. Several threads of it may call this."""
    threadpool_limits(1, "blas")
    limit_torch()


def limit_torch() -> None:
    """Limit PyTorch to one thread in this thread, if it is imported."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _draw(model: Classifier) -> Images:
    """Random images."""
    shape = (TIMED, *model.contract.image.shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _time(model: Classifier, images: Images) -> float:
    began = time.perf_counter()
    model.judge(images)
    return time.perf_counter() - began
