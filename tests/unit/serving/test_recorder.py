"""Counting what a worker served."""

import time
from pathlib import Path

import numpy as np
import pytest

from components.contract import Predictions
from components.monitoring.prediction_log import LoggedAnswer
from components.monitoring.serving_record import LIMITS, SECONDS, read_serving
from serving.metrics import Answered, Watch
from serving.recorder import Recorder, try_to_record

MODEL, OTHER = "fashion-mlp:aaaaaaaa", "fashion-mlp:bbbbbbbb"
NAMES = ("bag", "coat")


def answer(model: str, labels: list[int], confidence: float, known: bool | None = True) -> LoggedAnswer:
    rows = len(labels)
    probabilities = np.full((rows, 2), 1 - confidence, np.float32)
    probabilities[np.arange(rows), labels] = confidence
    flags = None if known is None else np.full(rows, known)
    sure = np.full(rows, confidence > 0.8)
    found = Predictions(model, NAMES, np.array(labels, np.uint16), probabilities, sure, flags)
    return LoggedAnswer(time.time(), found, np.zeros((rows, 2, 2), np.uint8))


def test_requests_and_predictions_are_counted_for_the_model_that_served(tmp_path: Path) -> None:
    models = [MODEL]
    counting = Recorder(tmp_path, lambda: models[0])
    counting.answered([Answered("/predict", 200, 0.004), Answered("/classify", 200, 0.004), Answered("/score", 503, 1)])
    counting.answered([Answered("/predict", 422, 0.001), Answered("/model", 500, 0.001)])
    counting.predicted([answer(MODEL, [0, 0, 1], 0.97)])
    counting.predicted([answer(MODEL, [1], 0.6, known=False)])
    counting.predicted([answer(MODEL, [1], 0.97, known=None)])
    models[0] = OTHER
    counting.answered([Answered("/predict", 200, 100.0)])
    counting.write()
    first, second = read_serving(tmp_path, 0, time.time() + 1).records
    assert (first.model, first.requests, first.errors) == (MODEL, 2, 1)
    (bucket,) = first.seconds
    assert LIMITS[int(bucket) - 1] < 0.004 <= LIMITS[int(bucket)]
    assert (first.classes, first.not_sure, first.checked, first.unknown) == ({"bag": 2, "coat": 3}, 1, 4, 1)
    assert first.confidence == {"12": 1, "19": 4}
    assert (second.model, second.requests, second.seconds) == (OTHER, 1, {str(len(LIMITS)): 1})


def test_answers_of_two_models_that_come_together_are_counted_apart(tmp_path: Path) -> None:
    counting = Recorder(tmp_path, lambda: MODEL)
    for _ in range(7):
        counting.predicted([answer(MODEL, [0, 1], 0.9), answer(OTHER, [1], 0.9), answer(MODEL, [1], 0.9)])
    counting.write()
    found = {one.model: one.classes for one in read_serving(tmp_path, 0, time.time() + 1).records}
    assert found == {MODEL: {"bag": 7, "coat": 14}, OTHER: {"coat": 7}}


def test_probabilities_that_are_not_finite_count_as_no_confidence(tmp_path: Path) -> None:
    counting = Recorder(tmp_path, lambda: MODEL)
    counting.predicted([answer(MODEL, [0], float("nan"))])
    counting.write()
    assert read_serving(tmp_path, 0, time.time() + 1).records[0].confidence == {"0": 1}


def test_a_record_is_written_after_ten_seconds_and_at_the_end(tmp_path: Path) -> None:
    counting = Recorder(tmp_path, lambda: MODEL)
    counting.answered([Answered("/predict", 200, 0.004)])
    counting.write_when_due()
    assert not read_serving(tmp_path, 0, time.time() + 1).records
    counting._since -= SECONDS
    counting.write_when_due()
    assert len(read_serving(tmp_path, 0, time.time() + 1).records) == 1
    counting.write()
    assert len(read_serving(tmp_path, 0, time.time() + 1).records) == 1, "nothing was served since"


def test_a_service_without_a_model_records_nothing(tmp_path: Path) -> None:
    counting = Recorder(tmp_path, lambda: None)
    counting.answered([Answered("/predict", 503, 0.001)])
    counting.write()
    assert not list(tmp_path.iterdir())


def test_the_watch_passes_on_what_it_sees_and_writes_at_its_end(tmp_path: Path) -> None:
    watch = Watch()
    Recorder(tmp_path, lambda: MODEL).attach(watch)
    watch.answered([Answered("/predict", 200, 0.004)])
    watch.catch_up()
    for job in watch._last_jobs:
        job()
    assert read_serving(tmp_path, 0, time.time() + 1).records[0].requests == 1


def test_a_folder_that_cannot_be_written_does_not_stop_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    watch = Watch()
    try_to_record(watch, tmp_path / "file", lambda: MODEL)
    assert "is not recorded" in caplog.text
    watch.answered([Answered("/predict", 200, 0.004)])
    assert not watch._answered, "no one would take it"
