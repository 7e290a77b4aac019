"""One client that asks the service all the time and keeps count of every answer."""

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

PATIENCE = 30.0  # seconds for an answer
OUTAGE = 120.0  # seconds after its kill within which the service must be back


@dataclass(frozen=True)
class Answer:
    """What came of one request."""

    asked: float  # seconds since the epoch
    seconds: float  # until the answer
    path: str
    status: int  # 0: none came
    model: str  # the tag that the answer names; "" for none
    error: str  # why none came

    @property
    def is_good(self) -> bool:
        """Whether a client would be content."""
        return self.status == 200 and bool(self.model)


class Client(threading.Thread):
    """Asks at a steady pace, by turns with JSON, bytes and a PNG file, until it is told to stop."""

    def __init__(self, url: str, images: Images, a_second: float) -> None:
        super().__init__(daemon=True, name="client")
        self.url, self.a_second = url, a_second
        self.answers: list[Answer] = []
        self._bodies = itertools.cycle([body for image in images for body in _bodies_of(image)])
        self._ended = threading.Event()

    def run(self) -> None:
        """One request after the other; one that is late is not made good by two at once."""
        due = time.monotonic()
        with httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False) as client:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / self.a_second, time.monotonic())
                self.answers.append(_ask(client, *next(self._bodies)))

    def stop(self) -> None:
        """Returns once the last answer is there."""
        self._ended.set()
        self.join()


def _bodies_of(image: Images) -> list[tuple[str, str, bytes]]:
    """uint8 (28, 28) -> path, content type and body of a request of each kind."""
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
    """What came of all requests."""

    asked: int
    by_path: dict[str, int]
    p50: float  # seconds
    p99: float
    models: tuple[str, ...]  # in the order in which they answered first
    lost: tuple[Answer, ...]  # while nothing of the service had been killed
    lost_to_kill: int
    gap: float  # seconds without a good answer, around the kill; 0 where nobody noticed


def tally(answers: list[Answer], killed: float | None) -> Tally:
    """Count; what is not answered well in the time after the kill that a service has to come back in is the kill's.

    Args:
        answers: in the order in which they were asked.
        killed: when the service was killed, seconds since the epoch; None: it was not.
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
    """Seconds from the last good answer before the bad ones to the first one after them."""
    if not bad:
        return 0.0
    before = max((one.asked + one.seconds for one in good if one.asked < bad[0].asked), default=bad[0].asked)
    after = min((one.asked + one.seconds for one in good if one.asked > bad[-1].asked), default=math.inf)
    return after - before
