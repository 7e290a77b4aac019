"""Dynamic batching: photos of requests that arrive together are classified in one forward pass.

A pass takes what is waiting when it starts, and requests that arrive during a pass wait for the next one. There is no
timer: a request that arrives alone is classified at once; of several, a pass waits for more only as long as each round
of the event loop brings some. The photos of a pass are shared out evenly between its requests (max-min fairness), so a
request with one photo never waits for all the photos of a larger one.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from components.contract import Images
from components.model.classifier import Classifier
from components.scoring.answers import Answer, to_answers
from components.scoring.predict import MAX_AT_ONCE, predict_views, require_finite
from serving.metrics import watch

MAX_PRODUCTS = 770_000_000  # weights x photos of a pass: 64 of the flagship, which take 20 ms; then others proceed
MAX_LOOKS = 8  # rounds of the event loop that a pass may wait for more requests


@dataclass(eq=False)
class Waiting:
    """A request for the predictions of n photos."""

    model: Classifier
    images: Images  # the views of all photos, one after another
    counts: NDArray[np.intp]  # (n,), views of each photo, at least 1
    all_show: bool  # see `predict`
    done: "asyncio.Future[list[Answer]]"
    answers: list[Answer] = field(default_factory=list)  # for the photos that have been in a pass

    @property
    def left(self) -> int:
        """Number of photos that have not been in a pass."""
        return len(self.counts) - len(self.answers)

    def views(self, photos: int) -> tuple[Images, NDArray[np.intp]]:
        """The images and the counts of the next photos."""
        start = len(self.answers)
        counts = self.counts[start : start + photos]
        first = self.counts[:start].sum()
        return self.images[first : first + counts.sum()], counts

    def add(self, answers: list[Answer]) -> None:
        """Add the answers for the next photos. The last ones complete the request."""
        self.answers += answers
        if not self.left and not self.done.done():
            self.done.set_result(self.answers)


class Batcher:
    """Classifies the photos of concurrent requests, one pass at a time."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.is_scheduled = False
        self.seen = self.looks = 0  # requests in the last round, and rounds since the last pass

    async def classify(
        self, model: Classifier, images: Images, counts: NDArray[np.intp] | None = None, all_show: bool = False
    ) -> list[Answer]:
        """Classify photos as `predict_views` does, in passes shared with other requests."""
        loop = asyncio.get_running_loop()
        counts = np.ones(len(images), np.intp) if counts is None else counts
        request = Waiting(model, images, counts, all_show, loop.create_future())
        self.waiting.append(request)
        self._schedule(loop)
        return await request.done

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.is_scheduled:
            self.is_scheduled = True
            loop.call_soon(self._run, loop)  # after all requests that have already been received

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_scheduled = False
        self._drop_done()  # some were cancelled while they waited
        if max(1, self.seen) < len(self.waiting) and self.looks < MAX_LOOKS:
            self.seen, self.looks = len(self.waiting), self.looks + 1
            self._schedule(loop)
            return
        self.seen = self.looks = 0
        if shares := list(share_out(self.waiting)):
            run_pass(shares)
        self._drop_done()
        if self.waiting:
            self._schedule(loop)

    def _drop_done(self) -> None:
        self.waiting = [request for request in self.waiting if not request.done.done()]


def share_out(waiting: Sequence[Waiting]) -> Iterator[tuple[Waiting, int]]:
    """Choose the photos of the next pass: those for one model, in even shares.

    Args:
        waiting: the longest waiting first.

    Yields:
        Each request of the pass, and how many of its photos are in it.
    """
    if not waiting:
        return
    model = waiting[0].model
    room = min(MAX_AT_ONCE, max(1, MAX_PRODUCTS // model.weights))
    requests = [request for request in waiting if request.model is model][:room]
    for place, request in enumerate(sorted(requests, key=attrgetter("left"))):
        share = min(request.left, room // (len(requests) - place))
        room -= share
        yield request, share


def run_pass(shares: Sequence[tuple[Waiting, int]]) -> None:
    """Classify photos of requests in one pass. If it fails, each request gets a pass of its own.

    Args:
        shares: requests for the same model, and how many photos to classify of each.
    """
    try:
        answers = _classify(shares)
    except Exception as error:
        if len(shares) == 1:
            shares[0][0].done.set_exception(error)
        else:
            for one in shares:
                run_pass([one])
        return
    start = 0
    for request, share in shares:
        request.add(answers[start : start + share])
        start += share


def _classify(shares: Sequence[tuple[Waiting, int]]) -> list[Answer]:
    images, counts = map(np.concatenate, zip(*(request.views(share) for request, share in shares), strict=True))
    all_show = all(request.all_show for request, _ in shares)
    predictions = require_finite(predict_views(shares[0][0].model, images, counts, all_show))
    watch.predicted(predictions, images, counts)
    return to_answers(predictions)


batcher = Batcher()
