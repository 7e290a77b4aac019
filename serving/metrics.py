"""What is kept of the answers: a line an image in the prediction log, and metrics.

The metrics are what a person would alert on, beside the requests, outcomes and latencies that BentoML counts:

    fashion_images_total{name}          images by the class they were given
    fashion_not_sure_total              of these, those that the model is not sure of
    fashion_model_live{tag}             1 for the model that answers, 0 for one that did before
    fashion_model_changed_seconds       when that last changed, seconds since 1970
    fashion_model_failures_total        models and pointers that could not be loaded; another one goes on serving
    fashion_unlogged_total              images without a line in the prediction log, which samples busy seconds

Whoever answers only puts the answer into a queue. A thread counts and writes once a second, and before /metrics tells.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import CLASSES, Images, Predictions
from components.monitoring.prediction_log import Answer, PredictionLog

log = logging.getLogger("bentoml.fashion")

EVERY = 1.0  # seconds between two writes
MOST_WAITING = 8192  # images to be logged, 6 MB; of more, what was predicted is counted, and the image is not logged


class Watch:
    """The metrics and the prediction log of this process; nothing is kept until `start`."""

    def __init__(self) -> None:
        self.started = False
        self.log: PredictionLog | None = None
        self._queue: deque[Answer] = deque()
        self._waiting = 0  # images in the queue that may be logged
        self._closing = threading.Event()
        self._working = threading.Lock()
        self._jobs: list[Callable[[], None]] = [self._keep]

    def start(self, log_folder: Path | None) -> None:
        """Make the log, and the metrics, once BentoML has told prometheus_client where to add the workers' numbers up.

        Args:
            log_folder: of the prediction log; None: there is none.
        """
        from prometheus_client import Counter, Gauge

        images = Counter("fashion_images", "Images by the class they were given.", ["name"])
        self.images: list[Any] = [images.labels(name) for name in CLASSES]
        self.not_sure = Counter("fashion_not_sure", "Images that the model is not sure of.")
        self.live = Gauge("fashion_model_live", "1: this model answers.", ["tag"], multiprocess_mode="livemax")
        self.changed = Gauge(
            "fashion_model_changed_seconds", "When the model last changed.", multiprocess_mode="livemostrecent"
        )
        self.failures = Counter("fashion_model_failures", "Models and pointers that could not be loaded.")
        self.unlogged = Counter("fashion_unlogged", "Images without a line in the prediction log.")
        self.started = True
        if log_folder:
            try:
                self.log = PredictionLog(log_folder)
            except OSError as error:
                log.error("no prediction log: %s", error)
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Catch up for the last time."""
        if self.started:
            self._closing.set()
            self._thread.join(timeout=5)
            if self.log:
                self.log.close()

    def predicted(self, predictions: Predictions, images: Images) -> None:
        """Keep an answer about these images, uint8 (n, 28, 28)."""
        if self.started:
            if self._waiting + len(images) > MOST_WAITING:
                images = images[:0]
            self._waiting += len(images)
            self._queue.append(Answer(time.time(), predictions, images))

    def each_second(self, job: Callable[[], None]) -> None:
        """Call it whenever this catches up."""
        self._jobs.append(job)

    def _run(self) -> None:
        while not self._closing.wait(EVERY):
            self.catch_up()
        self.catch_up()

    def catch_up(self) -> None:
        """Count and write what waits."""
        with self._working:
            for job in self._jobs:
                try:
                    job()
                except Exception:  # the next second is tried again
                    log.exception("%s failed", job)

    def _keep(self) -> None:
        answers = [self._queue.popleft() for _ in range(len(self._queue))]
        self._waiting = 0
        if not answers:
            return
        labels = np.concatenate([answer.predictions.labels for answer in answers])
        for counter, count in zip(self.images, np.bincount(labels, minlength=len(CLASSES)).tolist(), strict=True):
            counter.inc(count)
        self.not_sure.inc(len(labels) - sum(int(answer.predictions.sure.sum()) for answer in answers))
        if self.log:
            waiting = [answer for answer in answers if len(answer.images)]
            unseen = len(labels) - sum(len(answer.images) for answer in waiting)
            self.unlogged.inc(unseen + self.log.write(waiting))

    def swapped(self, tag: str, before: str | None) -> None:
        """Another model answers."""
        if self.started:
            if before:
                self.live.labels(before).set(0)
            self.live.labels(tag).set(1)
            self.changed.set_to_current_time()

    def swap_failed(self) -> None:
        """Count a model or pointer that could not be loaded."""
        if self.started:
            self.failures.inc()


watch = Watch()
