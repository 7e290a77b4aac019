"""The prediction log: one line per image, without the image, bounded in memory and on disk."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Predictions
from components.monitoring import prediction_log
from components.monitoring.prediction_log import LoggedAnswer, PredictionLog

Lines = list[dict[str, object]]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    log = PredictionLog(tmp_path)
    yield log
    log.close()


def make(rows: int, seed: int = 0) -> LoggedAnswer:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows, 28, 28), np.uint8) * random.integers(0, 2, (rows, 28, 28), np.uint8)
    probabilities = random.dirichlet(np.ones(10), rows).astype(np.float32)
    labels = probabilities.argmax(1).astype(np.uint8)
    sure, known = probabilities.max(1, initial=0) > 0.3, random.random(rows) < 0.9
    predictions = Predictions("fashion-mlp:abcdefgh", CONTRACT.classes, labels, probabilities, sure, known)
    return LoggedAnswer(1.7e9 + rows, predictions, images)


def write(log: PredictionLog, *answers: LoggedAnswer) -> int:
    """Add answers and write the log. Returns how many images have no line."""
    log.add(answers)
    rows, dropped = log.take()
    return dropped + log.write(rows)


def read(folder: Path) -> Lines:
    return [json.loads(line) for path in folder.glob("*.jsonl*") for line in path.read_text().splitlines()]


def test_every_image_gets_a_line(log: PredictionLog, tmp_path: Path) -> None:
    given = [make(rows, rows) for rows in (1, 3, 196)]
    assert write(log, *given) == 0
    lines = read(tmp_path)
    assert len(lines) == 200
    pairs = [(one, row) for one in given for row in range(len(one.images))]
    for line, (answer, row) in zip(lines, pairs, strict=True):
        assert_about(line, answer, row)


def assert_about(line: dict[str, object], answer: LoggedAnswer, row: int) -> None:
    predictions, image = answer.predictions, answer.images[row]
    assert line.keys() == {"time", "model", "label", "confidence", "sure", "known", "mean", "ink", "edge", "hash"}
    assert datetime.fromisoformat(str(line["time"])).timestamp() == pytest.approx(answer.time, abs=1e-3)
    assert (line["model"], line["label"]) == (predictions.model, predictions.labels[row])
    assert line["confidence"] == pytest.approx(predictions.probabilities[row].max(), abs=1e-6)
    assert line["sure"] == predictions.sure[row]
    assert predictions.known is not None
    assert line["known"] == predictions.known[row]
    assert line["mean"] == pytest.approx(image.mean(), abs=1e-3)
    assert line["ink"] == pytest.approx(np.count_nonzero(image) / 784, abs=1e-4)
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    assert line["edge"] == pytest.approx(border.mean(), abs=1e-3)
    assert line["hash"] == hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()


def test_a_model_that_does_not_tell_unknown_inputs_is_logged_as_such(log: PredictionLog, tmp_path: Path) -> None:
    answer = make(3)
    write(log, answer._replace(predictions=dataclasses.replace(answer.predictions, known=None)))
    assert [line["known"] for line in read(tmp_path)] == [None] * 3


def test_many_images_are_sampled(log: PredictionLog, tmp_path: Path) -> None:
    given = [make(rows, rows) for rows in (1, 700, 300)]
    assert write(log, *given) == 801
    lines = read(tmp_path)
    assert len(lines) == 200
    assert_about(lines[0], given[0], 0)
    assert_about(lines[-1], given[-1], 299)  # of every fourth, the last
    every = {hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest() for one in given for image in one.images}
    assert len({line["hash"] for line in lines} & every) == 200
    of_the_second = sum(line["time"] == lines[1]["time"] for line in lines)
    assert of_the_second == pytest.approx(140, abs=2)


def test_no_images_give_no_lines(log: PredictionLog, tmp_path: Path) -> None:
    assert write(log) == write(log, make(0)) == 0
    assert read(tmp_path) == []


def test_old_lines_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "FILE_BYTES", 2000)
    monkeypatch.setattr(prediction_log, "FILES", 3)
    log = PredictionLog(tmp_path)
    for seed in range(60):
        write(log, make(1, seed))
    log.close()
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert all(path.stat().st_size <= 2000 for path in files)
    last = hashlib.blake2b(make(1, 59).images.tobytes(), digest_size=8).hexdigest()
    assert last in {line["hash"] for line in read(tmp_path)}


def test_files_of_ended_processes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jsonl").write_text("{}\n")
    PredictionLog(tmp_path).close()
    assert len(list(tmp_path.iterdir())) <= prediction_log.ALL_FILES


def test_a_full_disk_only_loses_lines(
    log: PredictionLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(record: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log._file, "handle", fail)
    assert write(log, make(3)) == 3
    assert "3 predictions could not be logged: [Errno 28] No space left on device" in caplog.text
