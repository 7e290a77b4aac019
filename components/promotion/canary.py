"""A stored model in a real server, before anything depends on it.

`bentoml serve` runs in a process of its own, on a free port of the loopback, with a BENTOML_HOME in which this model
and nothing else is live. What it answers through each of its doors must be what the network said right after its
training.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from components.contract import GateCheck, Images
from components.dataset.manifest import dataset_of, read_split
from components.errors import DatasetError, PromotionRefused
from components.files import DAY, remove_leftovers, temporary_name
from components.model.classifier import Classifier
from components.promotion.bounds import GateBounds
from components.promotion.canary_steps import STEPS, Canary, CanaryFailed
from components.promotion.server import client_of, start_server
from components.registry.champion import make_home
from components.registry.store import home
from components.scoring.predict import predict
from components.settings import CHECKOUT, Settings

WAIT_FOR_OTHERS = 600  # seconds: one canary at a time, each with the memory it needs


def try_canary(
    model: Classifier, bounds: GateBounds, settings: Settings, source: Path = CHECKOUT
) -> tuple[GateCheck, ...]:
    """Serve a model and ask the server for all that the service promises.

    Args:
        model: loaded from the store.
        bounds: how long a request may take.
        settings: where the images of its dataset are.
        source: the folder that `bentoml serve` takes.

    Returns:
        A check for each step, up to the first that failed, which names the log that is kept then.
    """
    log = home() / "canary" / f"{model.tag.replace(':', '-')}.log"
    own = home() / "staging" / temporary_name("canary")
    log.parent.mkdir(parents=True, exist_ok=True)
    with _alone():
        remove_leftovers(own.parent, older_than=DAY)
        try:
            make_home(own, model.tag)
            checks = tuple(_take_steps(model, bounds, settings, source, own, log))
            if not checks[0].passed:  # another program may have taken the port, or the machine was too busy
                checks = tuple(_take_steps(model, bounds, settings, source, own, log))
        finally:
            shutil.rmtree(own, ignore_errors=True)
    if all(check.passed for check in checks):
        log.unlink(missing_ok=True)
        return checks
    return (*checks[:-1], replace(checks[-1], message=f"{checks[-1].message}; the server's log is {log}"))


def _take_steps(
    model: Classifier, bounds: GateBounds, settings: Settings, source: Path, own: Path, log: Path
) -> Iterator[GateCheck]:
    expected = _find_expected(model, settings)
    with start_server(source, own, log) as (process, port), client_of(port) as client:
        canary = Canary(process, client, model.tag, model.contract, own, *expected)
        for name, step in STEPS.items():
            try:
                measured, bound = step(canary, bounds)
            except (CanaryFailed, httpx.HTTPError, LookupError, TypeError, ValueError) as error:
                told = f"canary, {name}: {error or type(error).__name__}"
                yield GateCheck(f"canary: {name}", False, "failed", "", told)
                return
            yield GateCheck(f"canary: {name}", True, measured, bound, f"canary, {name}: {measured}, asked for: {bound}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One canary at a time, each with the memory it needs."""
    lock = FileLock(home() / "canary.lock", timeout=WAIT_FOR_OTHERS)
    try:
        lock.acquire()
    except Timeout:
        told = f"the canaries of other promotions took {WAIT_FOR_OTHERS // 60} minutes; try again"
        raise PromotionRefused(told) from None
    try:
        yield
    finally:
        lock.release()


def _find_expected(model: Classifier, settings: Settings) -> tuple[Images, NDArray[np.float32], bool]:
    """Images, what must be said of them, and whether that is the record from the training: all of it, or none."""
    probes = {probe.id: probe.probabilities for probe in model.card.probes}
    try:
        test = read_split(dataset_of(settings.datasets_dir, model.card.dataset_version), "test")
        rows = [row for row, name in enumerate(test.ids) if name in probes]
    except DatasetError:
        rows = []
    if rows and len(rows) == len(probes):
        return test.images[rows], np.array([probes[test.ids[row]] for row in rows], np.float32), True
    images = np.random.default_rng(0).integers(0, 256, (64, *model.contract.image.shape), np.uint8)
    return images, predict(model, images).probabilities, False
