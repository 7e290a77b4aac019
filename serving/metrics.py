"""What is kept of the answers: a line an image in the prediction log, and metrics.

The metrics are what a person would alert on, beside the requests, outcomes and latencies that BentoML counts:

    fashion_images_total{name}          images by the class they were given
    fashion_not_sure_total              of these, those that the model is not sure of
    fashion_input_warnings_total{kind}  images that an answer warns of; see `sanity.py`
    fashion_model_live{tag}             1 for the model that answers, 0 for one that did before
    fashion_model_changed_seconds       when that last changed, seconds since 1970
    fashion_model_failures_total        models and pointers that could not be loaded, now or at a restart
    fashion_unlogged_total              images without a line in the prediction log, which samples busy seconds
    fashion_memory_bytes                what the worker holds in memory; of several, the one that said so last

Whoever answers only puts the answer into a queue. A thread counts and writes once a second, and before /metrics tells.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.contract import Images, Predictions
from components.monitoring.prediction_log import LoggedAnswer, PredictionLog
from components.scoring.sanity import Finding

log = logging.getLogger("bentoml.fashion")

EVERY = 0.05  # seconds between two looks at what requests left: what has gathered by then holds nobody up for long
PREDICTIONS_EVERY = 20  # looks: once a second
MAX_WAITING = 8192  # images to be logged, 6 MB; of more, what was predicted is counted, and the image is not logged


class Watch:
    """The metrics and the prediction log of this process; nothing is kept until `start`."""

    def __init__(self) -> None:
        self.started = False
        self.log: PredictionLog | None = None
        self._queue: deque[LoggedAnswer] = deque()
        self._unwritten: list[LoggedAnswer] = []  # those that were counted
        self._waiting = 0  # images in both
        self._closing = threading.Event()
        self._working = threading.Lock()
        self._jobs: list[Callable[[], None]] = []
        self._findings: deque[Finding] = deque()

    def start(self, log_folder: Path | None) -> None:
        """Make the log, and the metrics, once BentoML has told prometheus_client where to add the workers' numbers up.

        Args:
            log_folder: of the prediction log; None: there is none.
        """
        import psutil
        from prometheus_client import Counter, Gauge

        self.images = Counter("fashion_images", "Images by the class they were given.", ["name"])
        self.not_sure = Counter("fashion_not_sure", "Images that the model is not sure of.")
        self.warnings = Counter("fashion_input_warnings", "Images that an answer warns of.", ["kind"])
        self.live = Gauge("fashion_model_live", "1: this model answers.", ["tag"], multiprocess_mode="livemax")
        self.changed = Gauge(
            "fashion_model_changed_seconds", "When the model last changed.", multiprocess_mode="livemostrecent"
        )
        self.failures = Counter("fashion_model_failures", "Models and pointers that could not be loaded.")
        self.unlogged = Counter("fashion_unlogged", "Images without a line in the prediction log.")
        self.memory = Gauge(
            "fashion_memory_bytes", "What the worker holds in memory.", multiprocess_mode="livemostrecent"
        )
        self.process = psutil.Process()
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
        """Keep an answer about these images, uint8 (n, height, width[, 3])."""
        if self.started:
            if self._waiting + len(images) > MAX_WAITING:
                images = images[:0]
            self._waiting += len(images)
            self._queue.append(LoggedAnswer(time.time(), predictions, images))

    def warned(self, findings: tuple[Finding, ...]) -> None:
        """Count the images that an answer warns of."""
        if self.started:
            self._findings.extend(findings)

    def at_each_look(self, job: Callable[[], None]) -> None:
        """Call it twenty times a second, and whenever this catches up."""
        self._jobs.append(job)

    def _run(self) -> None:
        looks = 0
        while not self._closing.wait(EVERY):
            looks += 1
            if looks % PREDICTIONS_EVERY == 0:
                self.catch_up()
                self._try(self._write)
                self._try(self._weigh)
            else:
                self._do(self._jobs)
        self.catch_up()
        self._try(self._write)

    def catch_up(self) -> None:
        """Count all that was answered until now."""
        self._do([*self._jobs, self._count])

    def _do(self, jobs: list[Callable[[], None]]) -> None:
        with self._working:
            for job in jobs:
                self._try(job)

    def _try(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:  # the next look tries again
            log.exception("%s failed", job)

    def _count(self) -> None:
        for finding in [self._findings.popleft() for _ in range(len(self._findings))]:
            self.warnings.labels(finding.kind).inc(len(finding.images))
        answers = [self._queue.popleft() for _ in range(len(self._queue))]
        if answers:
            for classes, said in itertools.groupby((one.predictions for one in answers), lambda one: one.classes):
                labels, sure = zip(*((one.labels, one.sure) for one in said), strict=True)
                counts = np.bincount(np.concatenate(labels), minlength=len(classes)).tolist()
                for name, count in zip(classes, counts, strict=True):
                    self.images.labels(name).inc(count)
                self.not_sure.inc(int(np.count_nonzero(~np.concatenate(sure))))
            self._unwritten += answers

    def _write(self) -> None:
        with self._working:
            answers, self._unwritten, self._waiting = self._unwritten, [], 0
        if self.log:
            kept = [answer for answer in answers if len(answer.images)]
            dropped = sum(len(answer.predictions.labels) for answer in answers if not len(answer.images))
            self.unlogged.inc(dropped + self.log.write(kept))

    def _weigh(self) -> None:
        self.memory.set(self.process.memory_info().rss)

    def swapped(self, tag: str, before: str | None, classes: tuple[str, ...]) -> None:
        """Another model answers; each of its classes is counted from the beginning."""
        if self.started:
            for name in classes:
                self.images.labels(name)
            if before:
                self.live.labels(before).set(0)
            self.live.labels(tag).set(1)
            self.changed.set_to_current_time()

    def swap_failed(self) -> None:
        """Count a model or pointer that could not be loaded."""
        if self.started:
            self.failures.inc()


watch = Watch()
