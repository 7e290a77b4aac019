"""The model that this process serves, and how it changes while requests go on.

A thread looks at the live-model pointer four times a second. The model it names is loaded beside the one that serves,
with every check of a load, predicts once, and takes the other's place by one assignment: a request has taken its model
before that or takes the new one after it, and names the one it took. What cannot be loaded changes nothing; the log,
/model and a metric report it.

The thread also looks at the files of the model that serves. Its weights are in memory, so it keeps serving when they go
or change; but a restart could not load them, and that is reported in the same three places.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from components.contract import fingerprint_of
from components.errors import FashionError, ModelError, NoLiveModel
from components.model.classifier import Classifier
from components.registry.champion import PointerState, check_live, live_move, load_live, load_model, pointer_state
from components.registry.store import FilesState, check_stored, files_state
from components.scoring.predict import predict
from serving.metrics import watch

log = logging.getLogger("bentoml.fashion")

EVERY = 0.25  # seconds between two looks at the pointer and the files
RETRY = 5  # seconds until what could not be loaded is tried again, though nothing changed


@dataclass(frozen=True)
class Serving:
    """A model that answers."""

    model: Classifier
    live_since: str | None = None  # when it was promoted, ISO 8601; None: it is the Bento's own
    card_sha256: str = ""  # as the pointer has it
    files: FilesState = ()  # of the model, when they were last found whole


class LiveModel:
    """The model that answers, and what keeps a better one from doing so."""

    def __init__(self) -> None:
        self.serving: Serving | None = None
        self.problem: FashionError | None = NoLiveModel("the service is starting")
        self.following = True
        self.load: Callable[[], Serving] = self._load_named
        self.seen: tuple[PointerState, FilesState] | None = None  # before it was loaded last
        self.tried = 0.0  # when that was, monotonic seconds
        self.served_classes: dict[str, tuple[str, ...]] = {}  # of every model that answered, by their fingerprint

    def get(self) -> Classifier:
        """The model.

        Raises:
            FashionError: there is none, and why.
        """
        if self.serving is None:
            raise self.problem or NoLiveModel("no model is live")
        return self.serving.model

    def classes_called(self, fingerprint: str) -> tuple[str, ...] | None:
        """The classes with this fingerprint, of a model before or of the data of the one that serves; None: unknown."""
        before = [one.before for one in self.serving.model.card.revisions] if self.serving else []
        return {fingerprint_of(one): one for one in before}.get(fingerprint) or self.served_classes.get(fingerprint)

    def keep(self, tag: str) -> None:
        """Serve the model with this exact tag, whatever the pointer names."""
        self.following, self.load = False, lambda: self._load_own(tag)

    def watch(self) -> None:
        """Serve, and from now on look at what is served."""
        self.refresh()
        threading.Thread(target=self._watch, name="live-model", daemon=True).start()

    def refresh(self) -> None:
        """Serve what is there now."""
        self.seen, self.tried = self._look(), time.monotonic()
        self._attempt(self.load)

    def _look(self) -> tuple[PointerState, FilesState]:
        return pointer_state(), files_state(self.serving.model.tag) if self.serving else ()

    def _watch(self) -> None:
        while True:
            time.sleep(EVERY)
            if self._look() != self.seen or (self.problem and time.monotonic() - self.tried > RETRY):
                self.refresh()

    def _load_own(self, tag: str) -> Serving:
        files = files_state(tag)
        if not self.serving:
            return Serving(_tried(load_model(tag)), files=files)
        if files != self.serving.files:
            _require_whole(lambda: check_stored(tag))
        return replace(self.serving, files=files)

    def _load_named(self) -> Serving:
        move, now = live_move(), self.serving
        files = files_state(move.tag)
        if not now or (now.model.tag, now.card_sha256) != (move.tag, move.card_sha256):
            return Serving(_tried(load_live(move)), move.when, move.card_sha256, files)
        if files != now.files:
            _require_whole(lambda: check_live(move))
        return replace(now, live_since=move.when, files=files)

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
                classes = serving.model.contract.classes
                self.served_classes[fingerprint_of(classes)] = classes
                before = self.serving.model.tag if self.serving else None
                watch.swapped(serving.model.tag, before, classes)
            self.serving, self.problem = serving, None


served = LiveModel()  # of this process


def _require_whole(check: Callable[[], object]) -> None:
    """Check the files of the model that serves.

    Raises:
        ModelError: a restart could not load them.
    """
    try:
        check()
    except ModelError as error:
        told = "It serves from memory, and a restart could not load it. Restore its files, or promote another model"
        raise ModelError(f"{error}. {told}") from error


def _tried(model: Classifier) -> Classifier:
    """The model, once it has predicted: its memory is there, and what it says are probabilities."""
    if not np.isfinite(predict(model, np.zeros((1, *model.contract.image.shape), np.uint8)).probabilities).all():
        raise ModelError(f"{model.tag}: the probabilities of a blank image are not finite")
    return model
