"""Record what this worker served, for the probation of a new model: `components.monitoring.serving_record`.

The endpoints and the middleware do nothing for it beyond the notes that metrics and log need anyway. The watch's thread
counts those notes, and writes a record every ten seconds and when the worker ends.
"""

import logging
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.contract import Predictions
from components.monitoring.prediction_log import LoggedAnswer
from components.monitoring.serving_record import CONFIDENCE_BINS, LIMITS, SECONDS, ServingLog, ServingRecord
from serving.metrics import Answered, Watch, count_false

log = logging.getLogger("bentoml.fashion")

PREDICTING = frozenset({"/predict", "/classify", "/score"})  # the paths whose answers come from the model


@dataclass
class Tally:
    """What one model did since the last record."""

    requests: int = 0
    errors: int = 0
    seconds: Counter[int] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    not_sure: int = 0
    checked: int = 0
    unknown: int = 0
    confidence: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CONFIDENCE_BINS, np.int64))

    def add(self, found: Sequence[Predictions]) -> None:
        """Count predictions, with the same classes."""
        classes, labels = found[0].classes, np.concatenate([one.labels for one in found])
        counts = np.bincount(labels, minlength=len(classes)).tolist()
        self.classes.update({name: count for name, count in zip(classes, counts, strict=True) if count})
        chosen = np.nan_to_num(np.concatenate([one.probabilities for one in found])[np.arange(len(labels)), labels])
        bins = np.clip((chosen * CONFIDENCE_BINS).astype(int), 0, CONFIDENCE_BINS - 1)
        self.confidence += np.bincount(bins, minlength=CONFIDENCE_BINS)
        self.not_sure += count_false([one.sure for one in found])
        known = [one.known for one in found if one.known is not None]
        self.checked += sum(map(len, known))
        self.unknown += count_false(known)

    def to_record(self, model: str, since: float, until: float) -> ServingRecord:
        """Return the counts as a record."""
        return ServingRecord(
            model=model,
            since=round(since, 3),
            until=round(until, 3),
            requests=self.requests,
            errors=self.errors,
            seconds={str(bucket): count for bucket, count in sorted(self.seconds.items())},
            classes=dict(self.classes),
            not_sure=self.not_sure,
            checked=self.checked,
            unknown=self.unknown,
            confidence={str(place): int(self.confidence[place]) for place in np.flatnonzero(self.confidence)},
        )


class Recorder:
    """The records of this process."""

    def __init__(self, folder: Path, find_model: Callable[[], str | None]) -> None:
        """Open the folder of the records.

        Args:
            folder: of all workers.
            find_model: returns the exact tag of the model that serves; requests that ended since the last run count
                as its own, which is wrong for at most 0.05 s after a change.

        Raises:
            OSError: the folder cannot be written.
        """
        self._log, self._find_model = ServingLog(folder), find_model
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._since = time.time()

    def attach(self, watch: Watch) -> None:
        """Count what the watch sees. Call this before the first request."""
        watch.add_tap(self.predicted)
        watch.add_request_tap(self.answered)
        watch.add_job(self.write_when_due)
        watch.add_last_job(self.write)

    def predicted(self, answers: Sequence[LoggedAnswer]) -> None:
        """Count the predictions of answers."""
        predictions = [one.predictions for one in answers]
        for model, some in groupby(predictions, attrgetter("model")):
            self._tallies[model].add(list(some))

    def answered(self, requests: Sequence[Answered]) -> None:
        """Count completed requests."""
        model = self._find_model()
        if model is None:
            return
        for path, status, seconds in requests:
            if path in PREDICTING and status < 300:
                tally = self._tallies[model]
                tally.requests += 1
                tally.seconds[bisect_left(LIMITS, seconds)] += 1
            elif path in PREDICTING and status >= 500:
                self._tallies[model].errors += 1

    def write_when_due(self) -> None:
        """Write the records of the last ten seconds, if they are over."""
        if not 0 <= time.time() - self._since < SECONDS:  # over, or the clock was set back
            self.write()

    def write(self) -> None:
        """Write the records since the last time."""
        tallies, since, until = self._tallies, self._since, time.time()
        self._tallies, self._since = defaultdict(Tally), until
        self._log.append(tally.to_record(model, min(since, until), until) for model, tally in tallies.items())


def try_to_record(watch: Watch, folder: Path, find_model: Callable[[], str | None]) -> None:
    """Start recording; if the folder cannot be written, only log that."""
    try:
        Recorder(folder, find_model).attach(watch)
    except OSError as error:
        log.error("what is served is not recorded, so no new model is judged by it: %s", error)
