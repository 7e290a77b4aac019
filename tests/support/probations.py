"""Traffic and records for the tests of probations with a real service."""

import dataclasses
import threading
import time

import httpx
import numpy as np

from components.catalogues.sample import draw
from components.monitoring.serving_record import ServingLog, ServingRecord, read_serving, serving_folder
from components.registry import store

HOUR = 3_600.0  # seconds
PATIENCE = 60.0  # seconds
# Looks at 0.9, 1.9, 3.75 seconds and so on, up to eight minutes.
SETTINGS = {"FASHION_PROBATION_MINUTES": "0.5", "FASHION_PROBATION_REQUESTS": "20"}


class Traffic(threading.Thread):
    """A client that sends requests all the time."""

    def __init__(self, client: httpx.Client) -> None:
        """`client`: of the service; the thread closes it."""
        super().__init__(daemon=True)
        self.client, self.ending = client, threading.Event()
        self.statuses, self.models, self.problems = list[int](), list[str](), list[str]()

    def run(self) -> None:
        images = draw(400, np.random.default_rng(0))[0]
        with self.client as client:
            while not self.ending.wait(0.03):
                some = images[np.random.default_rng(len(self.statuses)).integers(0, len(images), 20)]
                try:
                    answer = client.post(
                        "/predict", content=some.tobytes(), headers={"content-type": "application/octet-stream"}
                    )
                except httpx.HTTPError as error:
                    self.problems.append(str(error))
                    continue
                self.statuses.append(answer.status_code)
                self.models.append(answer.json()["model"])


def wait_for_record(model: str, after: float = 0.0) -> ServingRecord:
    """Wait until the service has written a record of a model, of ten seconds of traffic."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = read_serving(serving_folder(store.home()), after, time.time() + 60)
        if of_model := [one for one in found.records if one.model == model and one.until - one.since > 5]:
            return of_model[-1]
        time.sleep(0.2)
    raise AssertionError(f"no record of {model}")


def pretend_an_hour_of(usual: ServingRecord) -> None:
    """Repeat a record that the service wrote, as if the champion had served like this for an hour."""
    log = ServingLog(serving_folder(store.home()))  # of this process, not of the worker
    log.append(
        dataclasses.replace(usual, since=usual.since - 10 * number, until=usual.until - 10 * number)
        for number in range(1, int(HOUR / 10))
    )
