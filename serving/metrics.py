"""Metrics, and the prediction log with one line per image.

BentoML counts requests, status codes and latencies. These metrics add what is worth alerting on:

    fashion_images_total{name}          images by predicted class
    fashion_not_sure_total              images below the confidence threshold
    fashion_unknown_total               images unlike everything that the model was trained on
    fashion_input_warnings_total{kind}  images with an input warning; see `sanity.py`
    fashion_model_live{tag}             1 for the current model, 0 for earlier ones
    fashion_model_changed_seconds       time of the last change, seconds since 1970
    fashion_model_failures_total        models and pointers that could not be loaded, or not at a restart
    fashion_unlogged_total              images missing from the prediction log, which samples busy seconds
    fashion_memory_bytes                resident memory of the worker; of several, the most recent value

Requests only queue their predictions. A thread counts them 20 times a second and before each scrape, and writes the log
once a second.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions
from components.monitoring.prediction_log import LoggedAnswer, PredictionLog
from components.scoring.sanity import Finding

log = logging.getLogger("bentoml.fashion")

INTERVAL = 0.05  # seconds between runs of the jobs; short enough that no run delays requests for long
RUNS_PER_WRITE = 20  # of the log: once a second
MAX_WAITING = 8192  # images queued, 6 MB; predictions above it are counted but not logged


class Answered(NamedTuple):
    """A completed request."""

    path: str
    status: int
    seconds: float


class Watch:
    """The metrics and the prediction log of this process; inactive until `start`."""

    def __init__(self) -> None:
        self.started = False
        self.log: PredictionLog | None = None
        self._queue: deque[LoggedAnswer] = deque()
        self._queued = self._counted = 0  # images, since the start
        self._closing = threading.Event()
        self._working = threading.Lock()
        self._jobs: list[Callable[[], None]] = []
        self._last_jobs: list[Callable[[], None]] = []
        self._taps: list[Callable[[Sequence[LoggedAnswer]], None]] = []
        self._request_taps: list[Callable[[list[Answered]], None]] = []
        self._answered: deque[Answered] = deque()
        self._findings: deque[Finding] = deque()

    def start(self, log_folder: Path | None) -> None:
        """Create the metrics and the log. Call this after BentoML has configured prometheus_client's multiprocess mode.

        Args:
            log_folder: folder of the prediction log; None disables the log.
        """
        import psutil
        from prometheus_client import Counter, Gauge

        self.images = Counter("fashion_images", "Images by predicted class.", ["name"])
        self.not_sure = Counter("fashion_not_sure", "Images below the confidence threshold.")
        self.unknown = Counter("fashion_unknown", "Images unlike everything that the model was trained on.")
        self.warnings = Counter("fashion_input_warnings", "Images with an input warning.", ["kind"])
        self.live = Gauge("fashion_model_live", "1 for the current model.", ["tag"], multiprocess_mode="livemax")
        self.changed = Gauge(
            "fashion_model_changed_seconds", "Time of the last model change.", multiprocess_mode="livemostrecent"
        )
        self.failures = Counter("fashion_model_failures", "Models and pointers that could not be loaded.")
        self.unlogged = Counter("fashion_unlogged", "Images missing from the prediction log.")
        self.memory = Gauge(
            "fashion_memory_bytes", "Resident memory of the worker.", multiprocess_mode="livemostrecent"
        )
        self.process = psutil.Process()
        self.started = True
        if log_folder:
            try:
                self.log = PredictionLog(log_folder)
            except OSError as error:
                log.error("the prediction log is disabled: %s", error)
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Count and write everything that is queued, and stop the thread."""
        if self.started:
            self._closing.set()
            self._thread.join(timeout=5)
            if self.log:
                self.log.close()

    def predicted(self, predictions: Predictions, views: Images, counts: NDArray[np.intp]) -> None:
        """Queue predictions of n photos.

        Args:
            predictions: of the photos.
            views: all views of the first photo, then of the second, and so on.
            counts: (n,), views of each photo, at least 1.
        """
        if not self.started:
            return
        answer = LoggedAnswer(time.time(), predictions, views)
        if self._queued - self._counted + len(views) > MAX_WAITING:
            answer = LoggedAnswer(answer.time, predictions, views[:0])
        elif len(views) > len(counts):
            answer = LoggedAnswer(answer.time, predictions, views[counts.cumsum() - counts], views, counts)
        self._queued += answer.size
        self._queue.append(answer)

    def warned(self, findings: tuple[Finding, ...]) -> None:
        """Count the images with an input warning."""
        if self.started:
            self._findings.extend(findings)

    def add_job(self, job: Callable[[], None]) -> None:
        """Run a job 20 times a second and in each `catch_up`."""
        self._jobs.append(job)

    def add_last_job(self, job: Callable[[], None]) -> None:
        """Run a job when the watch closes, after everything is counted."""
        self._last_jobs.append(job)

    def answered(self, requests: Iterable[tuple[str, int, float]]) -> None:
        """Queue completed requests, as in `Answered`, for the taps."""
        if self._request_taps:
            self._answered.extend(map(Answered._make, requests))

    def add_request_tap(self, tap: Callable[[list[Answered]], None]) -> None:
        """Call a function in the thread, with completed requests, 20 times a second. It must not block."""
        self._request_taps.append(tap)

    def add_tap(self, tap: Callable[[Sequence[LoggedAnswer]], None]) -> None:
        """Call a function in the thread, with answers, some milliseconds after they were sent. It must not block."""
        self._taps.append(tap)

    def _run(self) -> None:
        runs = 0
        while not self._closing.wait(INTERVAL):
            runs += 1
            self.catch_up()
            if runs % RUNS_PER_WRITE == 0:
                self._try(self._write)
                self._try(self._measure_memory)
        self.catch_up()
        for job in [self._write, *self._last_jobs]:
            self._try(job)

    def catch_up(self) -> None:
        """Count everything that is queued."""
        with self._working:
            for job in [*self._jobs, self._count, self._pass_on_requests]:
                self._try(job)

    def _try(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:  # the next run tries again
            log.exception("%s failed", job)

    def _count(self) -> None:
        for finding in [self._findings.popleft() for _ in range(len(self._findings))]:
            self.warnings.labels(finding.kind).inc(len(finding.images))
        answers = [self._queue.popleft() for _ in range(len(self._queue))]
        for classes, group in itertools.groupby((one.predictions for one in answers), lambda one: one.classes):
            some = list(group)
            counts = np.bincount(np.concatenate([one.labels for one in some]), minlength=len(classes)).tolist()
            for name, count in zip(classes, counts, strict=True):
                if count:
                    self.images.labels(name).inc(count)
            self.not_sure.inc(count_false([one.sure for one in some]))
            self.unknown.inc(count_false([one.known for one in some if one.known is not None]))
        self._counted += sum(answer.size for answer in answers)
        for tap in [*([self.log.add] if self.log else []), *self._taps] if answers else ():
            self._try(partial(tap, answers))

    def _pass_on_requests(self) -> None:
        if requests := [self._answered.popleft() for _ in range(len(self._answered))]:
            for tap in self._request_taps:
                self._try(partial(tap, requests))

    def _write(self) -> None:
        if self.log:
            with self._working:
                rows, unlogged = self.log.take()
            self.unlogged.inc(unlogged + self.log.write(rows))

    def _measure_memory(self) -> None:
        self.memory.set(self.process.memory_info().rss)

    def swapped(self, tag: str, before: str | None, classes: tuple[str, ...]) -> None:
        """Record a model change; creates the counters of all its classes."""
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


def count_false(masks: list[NDArray[np.bool_]]) -> int:
    """How many values of the masks are False."""
    return int(np.count_nonzero(~np.concatenate(masks))) if masks else 0


watch = Watch()
