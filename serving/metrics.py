"""What is kept of the answers: a line an image in the prediction log, and metrics.

The metrics are what a person would alert on, beside the requests, outcomes and latencies that BentoML counts:

    fashion_images_total{name}          images by the class they were given
    fashion_not_sure_total              of these, those that the model is not sure of
    fashion_model_live{tag}             1 for the model that answers, 0 for one that did before
    fashion_model_changed_seconds       when that last changed, seconds since 1970
    fashion_model_failures_total        models and pointers that could not be loaded; another one goes on serving
    fashion_unlogged_total              images that are not in the prediction log, because too many waited
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import CLASSES, Images, Predictions
from components.monitoring.prediction_log import PredictionLog

log = logging.getLogger("bentoml.fashion")


class Watch:
    """The metrics and the prediction log of this process; nothing is kept until `start`."""

    def __init__(self) -> None:
        self.started = False
        self.log: PredictionLog | None = None

    def start(self, log_folder: Path | None) -> None:
        """Make the log, and the metrics, once BentoML has told prometheus_client where to add the workers' numbers up.

        Args:
            log_folder: of the prediction log; None: there is none.
        """
        from prometheus_client import Counter, Gauge

        images = Counter("fashion_images", "Images by the class they were given.", ["name"])
        self.images: list[Any] = [images.labels(name) for name in CLASSES]
        self.not_sure = Counter("fashion_not_sure", "Images that the model is not sure of.")
        self.live = Gauge("fashion_model_live", "1: this model answers.", ["tag"], multiprocess_mode="livemax")
        self.changed = Gauge(
            "fashion_model_changed_seconds", "When the model last changed.", multiprocess_mode="livemostrecent"
        )
        self.failures = Counter("fashion_model_failures", "Models and pointers that could not be loaded.")
        self.unlogged = Counter("fashion_unlogged", "Images that are not in the prediction log.")
        self.started = True
        if log_folder:
            try:
                self.log = PredictionLog(log_folder)
            except OSError as error:
                log.error("no prediction log: %s", error)

    def close(self) -> None:
        """Write what waits to be logged."""
        if self.log:
            self.log.close()

    def predicted(self, predictions: Predictions, images: Images) -> None:
        """Keep an answer about these images, uint8 (n, 28, 28)."""
        if self.log and not self.log.add(predictions, images):
            self.unlogged.inc(len(images))
        if self.started:
            counts = np.bincount(predictions.labels, minlength=len(CLASSES))
            for label in counts.nonzero()[0]:
                self.images[label].inc(int(counts[label]))
            self.not_sure.inc(int(len(predictions.sure) - predictions.sure.sum()))

    def swapped(self, tag: str, before: str | None) -> None:
        """Another model answers."""
        if self.started:
            if before:
                self.live.labels(before).set(0)
            self.live.labels(tag).set(1)
            self.changed.set_to_current_time()

    def swap_failed(self) -> None:
        """Count a model or pointer that could not be loaded."""
        if self.started:
            self.failures.inc()


watch = Watch()
