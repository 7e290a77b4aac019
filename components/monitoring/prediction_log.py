"""The prediction log: one line per image, never the image itself.

    {"time": "2026-11-21T09:30:00.123+00:00", "model": "fashion-mlp:...", "label": 9, "confidence": 0.98, "sure": true,
     "known": true, "mean": 72.9, "ink": 0.51, "edge": 3.2, "hash": "5f0c1d2e3a4b5c6d"}

The last four fields come from `components.readers.images.statistics`.

Each process writes `PID.jsonl`, rotated to `PID.jsonl.1` and so on, and removes old files when it starts. Large numbers
of predictions are sampled, so that the files reach back far enough to compare days.
"""

import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from components.contract import Images, Predictions
from components.readers.images.statistics import hash_images, log_images

log = logging.getLogger(__name__)

LINES = 200  # maximum per write; more images are sampled
LINES_AT_ONCE = 10
FIELDS = ("time", "model", "label", "confidence", "sure", "known", "mean", "ink", "edge", "hash")
FILE_BYTES, FILES = 8 << 20, 8  # per process: at most 64 MB, about 350,000 lines
ALL_FILES = 32  # maximum in the folder after a process starts


def log_folder(home: Path) -> Path | None:
    """Return the log folder: `FASHION_PREDICTION_LOG`, or a folder in `home` by default; None if it is "off"."""
    chosen = os.environ.get("FASHION_PREDICTION_LOG") or str(home / "predictions")
    return None if chosen == "off" else Path(chosen)


class LoggedAnswer(NamedTuple):
    """One answer of the service: n images and their predictions."""

    time: float  # seconds since 1970
    predictions: Predictions
    images: Images  # uint8 (n, height, width[, 3]), or none of them if there are too many to log
    views: Images | None = None  # all views of all photos; None: each has one
    counts: NDArray[np.intp] | None = None  # (n,), views of each photo

    @property
    def size(self) -> int:
        """Number of images in memory."""
        return len(self.images if self.views is None else self.views)

    def take(self, rows: NDArray[np.intp]) -> tuple[Images, list[int]]:
        """Copy all views of some photos. Returns them, one photo after another, and their number of each."""
        if self.views is None or self.counts is None:
            return self.images[rows], [1] * len(rows)
        ends = self.counts.cumsum()
        chosen = [self.views[ends[row] - self.counts[row] : ends[row]] for row in rows]
        return np.concatenate(chosen), self.counts[rows].tolist()


class LoggedImage(NamedTuple):
    """One image of an answer."""

    time: float
    predictions: Predictions
    row: int  # of the predictions
    image: Images  # uint8 (height, width[, 3])


class _File(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        """Raise the error, which logging would only print."""
        raise


class PredictionLog:
    """The prediction log of one process."""

    def __init__(self, folder: Path) -> None:
        """Open the log.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.jsonl*"), key=_modified_at, reverse=True)[ALL_FILES - FILES :]:
            old.unlink(missing_ok=True)
        path = folder / f"{os.getpid()}.jsonl"
        self._file = _File(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(message)s"))
        self._kept: list[LoggedImage] = []
        self._seen, self._stride = 0, 1  # since the last write: images, and how many of them there are for each kept

    def add(self, answers: Sequence[LoggedAnswer]) -> None:
        """Keep an evenly spaced sample of the images, fewer than 400, until the next `take`."""
        for answer in answers:
            self._add(answer)

    def _add(self, answer: LoggedAnswer) -> None:
        for row in range(-self._seen % self._stride, len(answer.images), self._stride):
            # a copy, because the array is a view of the request's body
            self._kept.append(LoggedImage(answer.time, answer.predictions, row, answer.images[row].copy()))
        self._seen += len(answer.predictions.labels)
        while len(self._kept) >= 2 * LINES:
            self._kept, self._stride = self._kept[::2], 2 * self._stride

    def take(self) -> tuple[list[LoggedImage], int]:
        """At most 200 of the images added since the last time, evenly spaced, and the number of all others."""
        kept, images = self._kept, self._seen
        self._kept, self._seen, self._stride = [], 0, 1
        rows = [kept[place] for place in np.linspace(0, len(kept) - 1, min(len(kept), LINES)).astype(int)]
        return rows, images - len(rows)

    def write(self, rows: Sequence[LoggedImage]) -> int:
        """Write one line per image. If the disk is full, lines are lost.

        Returns:
            Number of lost lines.
        """
        try:
            for start in range(0, len(rows), LINES_AT_ONCE):
                self._file.handle(_record("\n".join(describe(rows[start : start + LINES_AT_ONCE]))))
                time.sleep(0.001)  # let the thread that answers requests run
        except OSError as error:
            log.error("%d predictions could not be logged: %s", len(rows) - start, error)
            return len(rows) - start
        return 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text})


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def describe(rows: Sequence[LoggedImage]) -> list[str]:
    """Return one JSON line per image."""
    images = np.stack([one.image for one in rows])
    labels = [int(one.predictions.labels[one.row]) for one in rows]
    columns = zip(
        (datetime.fromtimestamp(one.time, UTC).isoformat(timespec="milliseconds") for one in rows),
        (one.predictions.model for one in rows),
        labels,
        (
            round(float(one.predictions.probabilities[one.row, label]), 6)
            for one, label in zip(rows, labels, strict=True)
        ),
        (bool(one.predictions.sure[one.row]) for one in rows),
        (None if (known := one.predictions.known) is None else bool(known[one.row]) for one in rows),
        *(values.tolist() for values in log_images(images).values()),
        (f"{number:016x}" for number in hash_images(images).tolist()),
        strict=True,
    )
    return [orjson.dumps(dict(zip(FIELDS, line, strict=True))).decode() for line in columns]
