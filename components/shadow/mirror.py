"""Mirrors a share of what a worker answers to a candidate in another process, and counts what becomes of every image.

The service calls `add` and `tick` 20 times a second, after the responses were sent and in a thread that answers no
requests. Both only count and copy. A thread of its own follows the shadow record, starts and ends the
candidate, talks to it, and writes the counts.
"""

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions
from components.monitoring.prediction_log import LoggedAnswer
from components.registry.shadowed import RecordState, Shadow, read_shadow, shadow_state
from components.shadow.batches import Batch, encode_batch, kind_of
from components.shadow.counts import BUSY, FAILED, NO_IMAGE, NOT_SAMPLED, OFF, STOPPED, is_over, pair_folder
from components.shadow.ledger import Ledger
from components.shadow.process import CandidateProcess

log = logging.getLogger("bentoml.fashion")

INTERVAL = 0.05  # seconds between steps of the thread
RUNS_PER_CHECK, RUNS_PER_SAVE = 5, 20  # of the record: four times a second; of the counts: once
MOST_WAITING, MOST_BYTES = 512, 8 << 20  # photos and bytes that wait for the candidate
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds until a candidate that ended is started again


@dataclass(frozen=True)
class Sample:
    """Photos of one answer that wait for the candidate."""

    ledger: Ledger
    time: float  # seconds since 1970
    predictions: Predictions
    rows: NDArray[np.intp]  # of the predictions
    images: Images  # a copy: all views of the first photo, then of the second, and so on
    views: list[int]  # images per photo

    def fits(self, other: "Sample") -> bool:
        """Whether both can be in one batch."""
        same_images = (self.images.dtype, self.images.shape[1:]) == (other.images.dtype, other.images.shape[1:])
        return self.ledger is other.ledger and same_images


@dataclass
class Running:
    """A shadow that this worker follows."""

    shadow: Shadow
    ledgers: dict[str, Ledger] = field(default_factory=dict)  # by champion
    samples: deque[Sample] = field(default_factory=deque)
    waiting = waiting_bytes = 0  # photos and bytes in `samples`
    process: CandidateProcess | None = None
    sent: list[Sample] = field(default_factory=list)  # the batch that the process has
    problem: str = ""  # why it cannot be loaded
    start_at: float = 0.0  # monotonic seconds; not before
    pause: float = FIRST_PAUSE
    is_over: bool = False  # it has as many images as were asked for, or its time has come


class Mirror:
    """The shadow of one worker; inactive until `start`."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._state: RecordState = None
        self._lock = threading.Lock()  # of ledgers and samples
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._random = np.random.default_rng()
        self._problem = ""

    def start(self) -> None:
        """Follow the shadow record from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the candidate and write the counts."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def add(self, answers: Sequence[LoggedAnswer]) -> None:
        """Count answers, and keep a copy of a random share of their images."""
        running = self._running
        if running is None or running.is_over:
            return
        with self._lock:
            for model, some in groupby(answers, attrgetter("predictions.model")):
                if model != running.shadow.tag:
                    self._add(running, running.ledgers.get(model) or self._open(running, model), list(some))

    def _add(self, running: Running, ledger: Ledger, answers: Sequence[LoggedAnswer]) -> None:
        """Count answers of one model. Most photos are not drawn, so the work for each of them is kept small."""
        ends = np.cumsum([len(one.predictions.labels) for one in answers])
        photos = int(ends[-1])
        ledger.see(photos)
        drawn = np.flatnonzero(self._random.random(photos) < running.shadow.share)
        ledger.skip(NOT_SAMPLED, photos - len(drawn))
        places = np.searchsorted(ends, drawn, side="right")
        for place in np.unique(places).tolist():
            answer = answers[place]
            first = int(ends[place]) - len(answer.predictions.labels)
            self._sample(running, ledger, answer, drawn[places == place] - first)

    def tick(self) -> None:
        """Write how many images were seen."""
        if running := self._running:
            with self._lock:  # so that no file is closed meanwhile
                for ledger in running.ledgers.values():
                    ledger.save_seen()

    def _open(self, running: Running, champion: str) -> Ledger:
        name, shadow = f"{os.getpid()}-{secrets.token_hex(4)}", running.shadow
        ledger = running.ledgers[champion] = Ledger(pair_folder(shadow, champion), name, champion, shadow.tag)
        return ledger

    def _sample(self, running: Running, ledger: Ledger, answer: LoggedAnswer, rows: NDArray[np.intp]) -> None:
        """Copy the images of some rows of an answer, as far as there is room."""
        if running.problem or not len(answer.images):
            ledger.skip(FAILED if running.problem else NO_IMAGE, len(rows))
            return
        size = answer.images.nbytes // len(answer.images)
        room = min(MOST_WAITING - running.waiting, (MOST_BYTES - running.waiting_bytes) // size)
        kept = rows[: max(0, room)]
        ledger.skip(BUSY, len(rows) - len(kept))
        if len(kept):
            images, views = answer.take(kept)
            running.samples.append(Sample(ledger, answer.time, answer.predictions, kept, images, views))
            running.waiting += len(kept)
            running.waiting_bytes += images.nbytes

    def _run(self) -> None:
        runs = 0
        while not self._closing.wait(INTERVAL if self._running else RUNS_PER_CHECK * INTERVAL):
            try:
                if self._running is None or runs % RUNS_PER_CHECK == 0:
                    self._follow()
                if self._running:
                    self._talk(self._running)
                    if runs % RUNS_PER_SAVE == 0:
                        self._save(self._running)
            except Exception as error:  # the next run tries again; a shadow never harms the service
                self._report(f"{type(error).__name__}: {error}")
            runs += 1
        if self._running:
            self._stop(self._running)

    def _report(self, problem: str) -> None:
        """Log a problem once."""
        if problem and problem != self._problem:
            log.error("shadow: %s", problem)
        self._problem = problem

    def _follow(self) -> None:
        """Start, change or end the shadow if its record has changed."""
        state = shadow_state()
        if state == self._state:
            return
        shadow = read_shadow()
        self._state = state
        now = self._running
        if now and shadow and now.shadow.id == shadow.id:
            now.shadow, now.is_over = shadow, False
            return
        if now:
            self._stop(now)
            log.info("shadow: %s has ended", now.shadow.tag)
        self._running = Running(shadow) if shadow else None
        if shadow:
            log.info("shadow: %s classifies %.3g %% of the images", shadow.tag, 100 * shadow.share)

    def _talk(self, running: Running) -> None:
        """Start the candidate, send it what waits, and count what it answers."""
        if running.is_over:
            self._end_process(running, OFF)
        elif running.process is None:
            if time.monotonic() >= running.start_at:
                running.process = CandidateProcess(running.shadow)
        else:
            try:
                for answer in running.process.exchange():
                    self._receive(running, answer)
                if running.process.is_idle and running.samples:
                    running.process.send(self._encode_next(running))
            except (EOFError, OSError) as error:
                self._restart(running, running.process, error)

    def _restart(self, running: Running, process: CandidateProcess, error: Exception) -> None:
        """Start the candidate again later, the later the sooner it has ended."""
        running.pause = FIRST_PAUSE if process.age > LONGEST_PAUSE else running.pause
        problem = running.problem or f"{running.shadow.tag}: {error}"
        self._report(problem)
        self._end_process(running, STOPPED, problem)
        running.start_at = time.monotonic() + running.pause
        running.pause = min(2 * running.pause, LONGEST_PAUSE)

    def _receive(self, running: Running, answer: dict[str, Any]) -> None:
        """Count one answer of the candidate."""
        with self._lock:
            if "problem" in answer:  # the first: whether it is loaded
                running.problem = answer["problem"]
                if running.problem:
                    self._drop(running, FAILED, running.problem)
                return
            ledger, running.sent = running.sent[0].ledger, []
            ledger.add(answer)
            for reason, photos in answer["skipped"].items():
                ledger.skip(reason, photos)
            ledger.error = answer["error"] or ledger.error

    def _encode_next(self, running: Running) -> bytes:
        """Take the next samples that can be in one batch."""
        with self._lock:
            samples = [self._take_next(running)]
            while running.samples and running.samples[0].fits(samples[0]):
                samples.append(self._take_next(running))
            running.sent = samples
        return encode_batch(_to_batch(samples, running.shadow), np.concatenate([one.images for one in samples]))

    def _take_next(self, running: Running) -> Sample:
        sample = running.samples.popleft()
        running.waiting -= len(sample.rows)
        running.waiting_bytes -= sample.images.nbytes
        return sample

    def _drop(self, running: Running, reason: str, error: str = "") -> None:
        """Count everything that waits as skipped. The caller holds the lock."""
        while running.samples:
            sample = self._take_next(running)
            sample.ledger.skip(reason, len(sample.rows))
            sample.ledger.error = error or sample.ledger.error

    def _end_process(self, running: Running, reason: str, error: str = "") -> None:
        """End the candidate; the batch that it has is lost."""
        process, running.process = running.process, None
        if process:
            process.end()
        with self._lock:
            sent, running.sent = running.sent, []
            for sample in sent:
                sample.ledger.skip(reason, len(sample.rows))
            for ledger in running.ledgers.values():
                ledger.error = error or ledger.error

    def _save(self, running: Running) -> None:
        """Write the counts, and end the shadow when it is over."""
        for ledger in list(running.ledgers.values()):
            with self._lock:
                counts = ledger.counts()
            ledger.save(counts)
        if not running.is_over and is_over(running.shadow):
            running.is_over = True
            with self._lock:
                self._drop(running, OFF)

    def _stop(self, running: Running) -> None:
        """End the shadow: what waits is skipped, and the counts are written."""
        self._running = None
        self._end_process(running, OFF)
        with self._lock:
            self._drop(running, OFF)
            for ledger in running.ledgers.values():
                ledger.close()


def _to_batch(samples: Sequence[Sample], shadow: Shadow) -> Batch:
    """Merge samples of one ledger."""
    ledger, labels = samples[0].ledger, [one.predictions.labels[one.rows] for one in samples]
    found = list(zip(samples, labels, strict=True))
    return Batch(
        champion=ledger.champion,
        classes=samples[0].predictions.classes,
        labels=np.concatenate(labels).tolist(),
        confidences=np.concatenate([one.predictions.probabilities[one.rows, some] for one, some in found]).tolist(),
        sure=np.concatenate([one.predictions.sure[one.rows] for one in samples]).tolist(),
        times=[one.time for one, some in found for _ in some],
        views=[count for one in samples for count in one.views],
        kind=kind_of(samples[0].images.dtype, samples[0].images.shape[1:]),
        flips=str(ledger.folder / f"{ledger.name}.jsonl"),
        keep_images=shadow.keep_images,
    )


mirror = Mirror()  # of this process
