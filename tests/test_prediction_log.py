"""The prediction log: a line an image, none of the image, bounded in memory and on disk."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.contract import Images, Predictions
from components.monitoring import prediction_log
from components.monitoring.prediction_log import PredictionLog

Lines = list[dict[str, object]]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    log = PredictionLog(tmp_path)
    yield log
    log.close()


def make(rows: int, seed: int = 0) -> tuple[Predictions, Images]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows, 28, 28), np.uint8) * random.integers(0, 2, (rows, 28, 28), np.uint8)
    probabilities = random.dirichlet(np.ones(10), rows).astype(np.float32)
    labels = probabilities.argmax(1).astype(np.uint8)
    return Predictions("fashion-mlp:abcdefgh", labels, probabilities, probabilities.max(1) > 0.3), images


def read(folder: Path) -> Lines:
    return [json.loads(line) for path in folder.glob("*.jsonl*") for line in path.read_text().splitlines()]


def test_every_image_is_a_line(log: PredictionLog, tmp_path: Path) -> None:
    given = [make(rows, rows) for rows in (1, 3, 1100)]
    assert all(log.add(*one) for one in given)
    log.close()
    lines = read(tmp_path)
    assert len(lines) == 1104
    pairs = [(one, row) for one in given for row in range(len(one[1]))]
    for line, ((predictions, images), row) in zip(lines, pairs, strict=True):
        assert line.keys() == {"time", "model", "label", "confidence", "sure", "mean", "ink", "hash"}
        assert (line["model"], line["label"]) == (predictions.model, predictions.labels[row])
        assert line["confidence"] == pytest.approx(predictions.probabilities[row].max(), abs=1e-6)
        assert line["sure"] == predictions.sure[row]
        assert line["mean"] == pytest.approx(images[row].mean(), abs=1e-3)
        assert line["ink"] == pytest.approx(np.count_nonzero(images[row]) / 784, abs=1e-4)
        assert line["hash"] == hashlib.blake2b(images[row].tobytes(), digest_size=8).hexdigest()


def test_it_is_written_meanwhile(log: PredictionLog, tmp_path: Path) -> None:
    log.add(*make(2))
    deadline = time.monotonic() + 5
    while len(read(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_does_not_wait_and_does_not_grow(log: PredictionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 10)
    taken = [log.add(*make(4)) for _ in range(4)]
    assert taken == [True, True, False, False]


def test_old_lines_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "FILE_BYTES", 2000)
    monkeypatch.setattr(prediction_log, "LINES", 1)
    monkeypatch.setattr(prediction_log, "FILES", 3)
    log = PredictionLog(tmp_path)
    for seed in range(60):
        log.add(*make(1, seed))
    log.close()
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert all(path.stat().st_size <= 2000 for path in files)
    last = hashlib.blake2b(make(1, 59)[1].tobytes(), digest_size=8).hexdigest()
    assert last in {line["hash"] for line in read(tmp_path)}


def test_files_of_processes_that_are_gone_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jsonl").write_text("{}\n")
    PredictionLog(tmp_path).close()
    assert len(list(tmp_path.iterdir())) <= prediction_log.ALL_FILES


def test_a_full_disk_loses_lines_and_nothing_else(
    log: PredictionLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(record: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log._file, "handle", fail)
    log.add(*make(3))
    log.close()
    assert "3 predictions could not be logged: [Errno 28] No space left on device" in caplog.text
