"""What was predicted lately: a line an image, never the image itself.

    {"time": "2026-11-21T09:30:00.123+00:00", "model": "fashion-mlp:...", "label": 9, "confidence": 0.98, "sure": true,
     "mean": 72.9, "ink": 0.51, "hash": "5f0c1d2e3a4b5c6d"}

    mean   of the pixels, 0 to 255
    ink    share of the pixels that are not background, 0 to 1
    hash   BLAKE2b of the 784 bytes, 16 hex digits: the same image again has the same

Whoever answers only puts what it has into a queue; a thread makes and writes the lines once a second. The files of a
process are `PID.jsonl` and, older, `PID.jsonl.1` and so on. A process starts by removing all but the newest.
"""

import hashlib
import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import numpy as np
import orjson

from components.contract import PIXELS, Images, Predictions

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two writes
MOST_WAITING = 50_000  # images, 39 MB; more are dropped and counted
LINES = 1024  # a write, about
FIELDS = ("time", "model", "label", "confidence", "sure", "mean", "ink", "hash")
FILE_BYTES, FILES = 8 << 20, 8  # of a process: at most 64 MB, about 350,000 lines
ALL_FILES = 32  # in the folder when a process starts

Answered = tuple[datetime, Predictions, Images]


class _File(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        """Raise what was raised, where logging would print it."""
        raise


class PredictionLog:
    """A log of one process's predictions."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.jsonl*"), key=_changed_at, reverse=True)[ALL_FILES - FILES :]:
            old.unlink(missing_ok=True)
        path = folder / f"{os.getpid()}.jsonl"
        self._file = _File(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(message)s"))
        self._queue: deque[Answered] = deque()
        self._waiting = 0  # images in the queue
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, predictions: Predictions, images: Images) -> bool:
        """Take the predictions of these images, uint8 (n, 28, 28), over, or say that too many wait; it does not."""
        if self._waiting + len(images) > MOST_WAITING:
            return False
        self._waiting += len(images)
        self._queue.append((datetime.now(UTC), predictions, images))
        return True

    def close(self) -> None:
        """Write what waits, and stop."""
        self._closing.set()
        self._thread.join(timeout=5)
        self._file.close()

    def _run(self) -> None:
        while not self._closing.wait(EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        """Write what is in the queue. A disk that is full loses lines, not answers."""
        while self._queue:
            taken, images = [], 0
            while self._queue and images < LINES:
                taken.append(self._queue.popleft())
                images += len(taken[-1][2])
            self._waiting -= images
            try:
                self._file.handle(logging.makeLogRecord({"msg": "\n".join(describe(taken))}))
            except OSError as error:
                log.error("%d predictions could not be logged: %s", images, error)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def describe(taken: list[Answered]) -> list[str]:
    """A line of JSON for each image; the images of many answers together, which takes a tenth of the time."""
    flat = np.concatenate([images for _, _, images in taken]).reshape(-1, PIXELS)
    columns = zip(
        (moment.isoformat(timespec="milliseconds") for moment, _, images in taken for _ in images),
        (predictions.model for _, predictions, images in taken for _ in images),
        np.concatenate([predictions.labels for _, predictions, _ in taken]).tolist(),
        np.concatenate([predictions.confidences for _, predictions, _ in taken]).astype(float).round(6).tolist(),
        np.concatenate([predictions.sure for _, predictions, _ in taken]).tolist(),
        flat.mean(axis=1).round(3).tolist(),
        (np.count_nonzero(flat, axis=1) / PIXELS).round(4).tolist(),
        (hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest() for image in flat),
        strict=True,
    )
    return [orjson.dumps(dict(zip(FIELDS, line, strict=True))).decode() for line in columns]
