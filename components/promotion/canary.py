"""Canary deployment: serve a stored model with the real server before it goes live.

`bentoml serve` runs in a separate process on a free loopback port, with a temporary BENTOML_HOME in which this model is
made live. Every endpoint must return the predictions that the network made right after training.
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

from components.contract import GateCheck, Images, pictures_of
from components.dataset.manifest import dataset_of, read_split
from components.errors import DatasetError, PromotionRefused
from components.model.classifier import Classifier
from components.paths import RESOURCES
from components.promotion.bounds import GateBounds
from components.promotion.canary_steps import STEPS, STEPS_WITH_NETWORK, Canary, CanaryFailed
from components.promotion.server import client_of
from components.promotion.standby import Server, standby
from components.readers.images.photos import read_views, write_png
from components.registry.champion import make_home
from components.registry.store import home
from components.scoring.predict import predict, predict_photos
from components.settings import Settings

WAIT_FOR_OTHERS = 600  # seconds


def try_canary(
    model: Classifier, bounds: GateBounds, settings: Settings, source: Path = RESOURCES
) -> tuple[GateCheck, ...]:
    """Serve a model and check every endpoint of the service.

    Args:
        model: loaded from the store.
        bounds: maximum request latency.
        settings: where the datasets are.
        source: folder passed to `bentoml serve`.

    Returns:
        One check per step, up to the first failure, whose message names the server log.

    Raises:
        PromotionRefused: other canaries held the lock for 10 minutes.
    """
    log = home() / "canary" / f"{model.tag.replace(':', '-')}.log"
    with _canary_lock():
        checks = _serve(model, bounds, settings, source, log)
        if not checks[0].passed:  # retry once: the port may have been taken, or the machine overloaded
            checks = _serve(model, bounds, settings, source, log)
    if all(check.passed for check in checks):
        log.unlink(missing_ok=True)
        return checks
    return (*checks[:-1], replace(checks[-1], message=f"{checks[-1].message}; server log: {log}"))


def _serve(model: Classifier, bounds: GateBounds, settings: Settings, source: Path, log: Path) -> tuple[GateCheck, ...]:
    """Run the steps on a server and keep its log."""
    with standby.take(source) as server:
        make_home(server.home, model.tag)
        checks = tuple(_run_steps(model, bounds, settings, server))
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(server.log, log)
    return checks


def _run_steps(model: Classifier, bounds: GateBounds, settings: Settings, server: Server) -> Iterator[GateCheck]:
    expected = _find_expected(model, settings)
    with client_of(server.port) as client:
        canary = Canary(server.process, client, model.tag, model.contract, server.home, *expected)
        for name, step in (STEPS_WITH_NETWORK if model.contract.embedding else STEPS).items():
            try:
                measured, bound = step(canary, bounds)
            except (CanaryFailed, httpx.HTTPError, LookupError, TypeError, ValueError) as error:
                message = f"canary, {name}: {error or type(error).__name__}"
                yield GateCheck(f"canary: {name}", False, "failed", "", message)
                return
            yield GateCheck(f"canary: {name}", True, measured, bound, f"canary, {name}: {measured}, expected: {bound}")


@contextlib.contextmanager
def _canary_lock() -> Iterator[None]:
    """Run one canary at a time, so that each has enough memory."""
    lock = FileLock(home() / "canary.lock", timeout=WAIT_FOR_OTHERS)
    try:
        lock.acquire()
    except Timeout:
        message = f"other canary deployments did not finish within {WAIT_FOR_OTHERS // 60} minutes; try again"
        raise PromotionRefused(message) from None
    try:
        yield
    finally:
        lock.release()


def _find_expected(
    model: Classifier, settings: Settings
) -> tuple[Images, NDArray[np.float32], bool, list[bytes], NDArray[np.float32]]:
    """Find the images to send and the probabilities to expect.

    Returns:
        Images; probabilities, float32 (n, classes); whether these were recorded right after training; the pictures as
        PNG files, and the probabilities to expect of these. If the test images are missing, random images and the
        loaded model's own probabilities take their place.
    """
    images, expected, recorded = _find_images(model, settings)
    pngs = [write_png(picture) for picture in pictures_of(images)]
    if model.contract.embedding is None:
        return images, expected, recorded, pngs, expected
    of_pngs = predict_photos(model, [read_views(content, model.contract) for content in pngs]).probabilities
    return images, expected, recorded, pngs, of_pngs


def _find_images(model: Classifier, settings: Settings) -> tuple[Images, NDArray[np.float32], bool]:
    probes = {probe.id: probe.probabilities for probe in model.card.probes}
    try:
        test = read_split(dataset_of(settings.datasets_dir, model.card.dataset_version), "test")
        rows = [row for row, name in enumerate(test.ids) if name in probes]
    except DatasetError:
        rows = []
    if rows and len(rows) == len(probes):
        return test.images[rows], np.array([probes[test.ids[row]] for row in rows], np.float32), True
    images = np.zeros(64, model.contract.dtype)
    pictures_of(images)[:] = np.random.default_rng(0).integers(0, 256, (64, *model.contract.image.shape), np.uint8)
    return images, predict(model, images).probabilities, False
