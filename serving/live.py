"""The model that this process serves, and how it changes while requests go on.

A thread looks at the live-model pointer four times a second. The model it names is loaded beside the one that serves,
with every check of a load, predicts once, and takes the other's place by one assignment: a request has taken its model
before that or takes the new one after it, and names the one it took. What cannot be loaded changes nothing; the log,
/model and a metric tell of it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from components.contract import IMAGE_SHAPE
from components.errors import FashionError, ModelError, NoLiveModel
from components.inference.predict import predict
from components.model.classifier import Classifier
from components.registry.champion import PointerState, live_move, load_live, load_model, pointer_state
from serving.metrics import watch

log = logging.getLogger("bentoml.fashion")

EVERY = 0.25  # seconds between two looks at the pointer
RETRY = 5  # seconds until what could not be loaded is tried again, though nothing changed


@dataclass(frozen=True)
class Serving:
    """A model that answers."""

    model: Classifier
    live_since: str | None = None  # when it was promoted, ISO 8601; None: it is the Bento's own
    card_sha256: str = ""  # as the pointer has it


class LiveModel:
    """The model that answers, and what keeps a better one from doing so."""

    def __init__(self) -> None:
        self.serving: Serving | None = None
        self.problem: FashionError | None = NoLiveModel("the service is starting")
        self.following = False

    def get(self) -> Classifier:
        """The model.

        Raises:
            FashionError: there is none, and why.
        """
        if self.serving is None:
            raise self.problem or NoLiveModel("no model is live")
        return self.serving.model

    def keep(self, tag: str) -> None:
        """Serve the model with this exact tag for good."""
        self._attempt(lambda: Serving(_tried(load_model(tag))))

    def follow(self) -> None:
        """Serve the live model, and from now on whichever the pointer names."""
        self.following = True
        seen = pointer_state()
        self.refresh()
        threading.Thread(target=self._watch_pointer, args=(seen,), name="live-model", daemon=True).start()

    def refresh(self) -> None:
        """Serve what the pointer names now."""
        self._attempt(self._load_named)

    def _watch_pointer(self, seen: PointerState) -> None:
        tried = time.monotonic()
        while True:
            time.sleep(EVERY)
            state = pointer_state()
            if state != seen or (self.problem and time.monotonic() - tried > RETRY):
                seen, tried = state, time.monotonic()
                self.refresh()

    def _load_named(self) -> Serving:
        move = live_move()
        now = self.serving
        if now and (now.model.tag, now.card_sha256) == (move.tag, move.card_sha256):
            return replace(now, live_since=move.when)
        return Serving(_tried(load_live(move)), move.when, move.card_sha256)

    def _attempt(self, load: Callable[[], Serving]) -> None:
        try:
            serving = load()
        except Exception as error:  # whatever it is, the model that serves goes on
            problem = error if isinstance(error, FashionError) else ModelError(f"{type(error).__name__}: {error}")
            if str(problem) != str(self.problem):
                log.error("%s: %s", f"still serving {self.get().tag}" if self.serving else "not ready", problem)
            self.problem = problem
            watch.swap_failed()
        else:
            if self.serving is None or serving.model is not self.serving.model:
                log.info("serving %s", serving.model.tag)
                watch.swapped(serving.model.tag, self.serving.model.tag if self.serving else None)
            self.serving, self.problem = serving, None


def _tried(model: Classifier) -> Classifier:
    """The model, once it has predicted: its memory is there, and what it says are probabilities."""
    if not np.isfinite(predict(model, np.zeros((1, *IMAGE_SHAPE), np.uint8)).probabilities).all():
        raise ModelError(f"{model.tag}: the probabilities of a blank image are not finite")
    return model
