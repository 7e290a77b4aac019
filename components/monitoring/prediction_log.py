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

from components.contract import Images, Predictions
from components.readers.images.statistics import hash_images, log_images

log = logging.getLogger(__name__)

LINES = 200  # maximum per write; more images are sampled
LINES_AT_ONCE = 20
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
    images: Images  # uint8 (n, height, width[, 3])


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

    def write(self, answers: Sequence[LoggedAnswer]) -> int:
        """Write one line per image, for at most 200 evenly spaced images. If the disk is full, lines are lost.

        Returns:
            Number of images without a line.
        """
        ends = np.cumsum([len(answer.images) for answer in answers], dtype=int)
        images = int(ends[-1]) if len(ends) else 0
        if not images:
            return 0
        chosen = np.linspace(0, images - 1, min(images, LINES)).astype(int)
        places = np.searchsorted(ends, chosen, side="right")
        rows = [(answers[place], int(row - ends[place])) for place, row in zip(places, chosen, strict=True)]
        try:
            for start in range(0, len(rows), LINES_AT_ONCE):
                self._file.handle(_record("\n".join(describe(rows[start : start + LINES_AT_ONCE]))))
                time.sleep(0.001)  # let the thread that answers requests run
        except OSError as error:
            log.error("%d predictions could not be logged: %s", len(rows) - start, error)
            return images - start
        return images - len(rows)

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


def describe(rows: Sequence[tuple[LoggedAnswer, int]]) -> list[str]:
    """Return one JSON line per image, given as an answer and a negative index into it."""
    images = np.stack([answer.images[place] for answer, place in rows])
    labels = [int(answer.predictions.labels[place]) for answer, place in rows]
    columns = zip(
        (datetime.fromtimestamp(answer.time, UTC).isoformat(timespec="milliseconds") for answer, _ in rows),
        (answer.predictions.model for answer, _ in rows),
        labels,
        (
            round(float(answer.predictions.probabilities[place, label]), 6)
            for (answer, place), label in zip(rows, labels, strict=True)
        ),
        (bool(answer.predictions.sure[place]) for answer, place in rows),
        (None if (known := answer.predictions.known) is None else bool(known[place]) for answer, place in rows),
        *(values.tolist() for values in log_images(images).values()),
        (f"{number:016x}" for number in hash_images(images).tolist()),
        strict=True,
    )
    return [orjson.dumps(dict(zip(FIELDS, line, strict=True))).decode() for line in columns]
