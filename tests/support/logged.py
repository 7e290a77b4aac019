"""Prediction logs."""

from pathlib import Path

import numpy as np

from components.contract import Images, Predictions
from components.model.classifier import Classifier
from components.monitoring.prediction_log import LINES, LoggedAnswer, PredictionLog
from components.scoring.predict import predict


def write_lines(folder: Path, seen: Images, model: Classifier, since: float, until: float) -> None:
    """Write a prediction log like the service does."""
    log = PredictionLog(folder)
    every = predict(model, seen)
    answers = [
        LoggedAnswer(
            float(when),
            Predictions(
                model.tag,
                every.classes,
                every.labels[[row]],
                every.probabilities[[row]],
                every.sure[[row]],
                None if every.known is None else every.known[[row]],
            ),
            seen[[row]],
        )
        for row, when in enumerate(np.linspace(since, until, len(seen) + 1)[1:])
    ]
    for start in range(0, len(answers), LINES):
        log.add(answers[start : start + LINES])
        log.write(log.take()[0])
    log.close()
