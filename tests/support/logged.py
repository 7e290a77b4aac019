"""A prediction log as the service writes it."""

from pathlib import Path

import numpy as np

from components.contract import Images, Predictions
from components.model.classifier import Classifier
from components.monitoring.prediction_log import LINES, LoggedAnswer, PredictionLog
from components.scoring.predict import predict


def write_lines(folder: Path, seen: Images, model: Classifier, since: float, until: float) -> None:
    """A log as the service writes it."""
    log = PredictionLog(folder)
    said = predict(model, seen)
    answers = [
        LoggedAnswer(
            float(when),
            Predictions(model.tag, said.classes, said.labels[[row]], said.probabilities[[row]], said.sure[[row]]),
            seen[[row]],
        )
        for row, when in enumerate(np.linspace(since, until, len(seen) + 1)[1:])
    ]
    for start in range(0, len(answers), LINES):
        log.write(answers[start : start + LINES])
    log.close()
