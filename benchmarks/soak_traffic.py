"""A client that sends requests to the service at a constant rate and records every response."""

import itertools
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass

import httpx
import numpy as np

from components.contract import Images
from components.readers.images.photos import write_png

PATIENCE = 30.0  # seconds; timeout of a request
OUTAGE = 120.0  # seconds in which a killed service must be back


@dataclass(frozen=True)
class Answer:
    """The result of one request."""

    asked: float  # time of the request, seconds since the epoch
    seconds: float  # until the response
    path: str
    status: int  # 0 if there was no response
    model: str  # tag in the response; "" if there is none
    error: str  # why there was no response

    @property
    def is_good(self) -> bool:
        """Whether the request succeeded."""
        return self.status == 200 and bool(self.model)


class Client(threading.Thread):
    """Sends requests at a constant rate, alternating JSON, bytes and a PNG file, until `stop` is called."""

    def __init__(self, url: str, images: Images, a_second: float) -> None:
        super().__init__(daemon=True, name="client")
        self.url, self.a_second = url, a_second
        self.answers: list[Answer] = []
        self._bodies = itertools.cycle([body for image in images for body in _bodies_of(image)])
        self._ended = threading.Event()

    def run(self) -> None:
        """Send requests one after the other; a late request is not followed by a burst."""
        due = time.monotonic()
        with httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False) as client:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / self.a_second, time.monotonic())
                self.answers.append(_ask(client, *next(self._bodies)))

    def stop(self) -> None:
        """Stop after the current request."""
        self._ended.set()
        self.join()


def _bodies_of(image: Images) -> list[tuple[str, str, bytes]]:
    """Path, content type and body of each kind of request for an image, uint8 (28, 28)."""
    text = str(image.tolist()).replace(" ", "")
    return [
        ("/predict", "application/json", f'{{"images":[{text}]}}'.encode()),
        ("/predict", "application/octet-stream", image.tobytes()),
        ("/classify", "image/png", write_png(image)),
    ]


def _ask(client: httpx.Client, path: str, kind: str, body: bytes) -> Answer:
    asked = time.time()
    try:
        answer = client.post(path, content=body, headers={"content-type": kind})
        model = str(answer.json().get("model", "")) if answer.is_success else ""
        return Answer(asked, time.time() - asked, path, answer.status_code, model, "")
    except (httpx.HTTPError, ValueError) as error:
        return Answer(asked, time.time() - asked, path, 0, "", repr(error))


@dataclass(frozen=True)
class Tally:
    """The results of all requests."""

    asked: int  # number of requests
    by_path: dict[str, int]
    p50: float  # seconds
    p99: float
    models: tuple[str, ...]  # in order of their first response
    lost: tuple[Answer, ...]  # failed requests unrelated to the kill
    lost_to_kill: int
    gap: float  # seconds without a successful request around the kill; 0 if none failed


def tally(answers: list[Answer], killed: float | None) -> Tally:
    """Count the results. Failures within the allowed outage after the kill are attributed to the kill.

    Args:
        answers: in the order of the requests.
        killed: time of the kill, seconds since the epoch; None if the service was not killed.
    """
    good = [one for one in answers if one.is_good]
    bad = [one for one in answers if not one.is_good]
    of_kill = [one for one in bad if killed and killed - PATIENCE < one.asked < killed + OUTAGE]
    times = np.array([one.seconds for one in good] or [np.nan])
    return Tally(
        len(answers),
        dict(Counter(one.path for one in answers)),
        float(np.quantile(times, 0.5)),
        float(np.quantile(times, 0.99)),
        tuple(dict.fromkeys(one.model for one in good)),
        tuple(one for one in bad if one not in of_kill),
        len(of_kill),
        _gap(good, of_kill),
    )


def _gap(good: list[Answer], bad: list[Answer]) -> float:
    """Seconds from the last success before the failures to the first success after them."""
    if not bad:
        return 0.0
    before = max((one.asked + one.seconds for one in good if one.asked < bad[0].asked), default=bad[0].asked)
    after = min((one.asked + one.seconds for one in good if one.asked > bad[-1].asked), default=math.inf)
    return after - before
