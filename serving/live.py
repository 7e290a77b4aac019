"""The model that this process serves, and hot swapping to a new live model.

A thread checks the live-model pointer four times a second. It loads a new live model in the background with all checks,
runs one prediction, and swaps the model in with a single assignment: a request uses either the old or the new model,
and its response names it. If loading fails, the current model stays; the log, /model and a metric report the error.

The thread also checks the files of the current model. If they disappear or change, the model keeps serving from memory,
but a restart would fail to load it, which is reported in the same three places.
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

INTERVAL = 0.25  # seconds between checks of the pointer and the files
RETRY = 5  # seconds until a failed load is retried even if nothing changed


@dataclass(frozen=True)
class Serving:
    """A loaded model."""

    model: Classifier
    live_since: str | None = None  # time of its promotion, ISO 8601; None: bundled with the Bento
    card_sha256: str = ""  # from the pointer
    files: FilesState = ()  # of the model, when they last passed the checks


class LiveModel:
    """The model that serves requests, and why a newer one does not."""

    def __init__(self) -> None:
        self.serving: Serving | None = None
        self.problem: FashionError | None = NoLiveModel("the service is starting")
        self.following = True
        self.load: Callable[[], Serving] = self._load_named
        self.seen: tuple[PointerState, FilesState] | None = None  # at the last attempt to load
        self.attempted_at = 0.0  # monotonic seconds
        self.served_classes: dict[str, tuple[str, ...]] = {}  # fingerprint -> classes, of every model served

    def get(self) -> Classifier:
        """Return the model.

        Raises:
            FashionError: no model is loaded, with the reason.
        """
        if self.serving is None:
            raise self.problem or NoLiveModel("no model is live")
        return self.serving.model

    def classes_with(self, fingerprint: str) -> tuple[str, ...] | None:
        """Look up classes by fingerprint, among earlier revisions and models served so far; None if unknown."""
        earlier = [one.before for one in self.serving.model.card.revisions] if self.serving else []
        return {fingerprint_of(one): one for one in earlier}.get(fingerprint) or self.served_classes.get(fingerprint)

    def pin(self, tag: str) -> None:
        """Serve the model with this exact tag and ignore the pointer."""
        self.following, self.load = False, lambda: self._load_pinned(tag)

    def watch(self) -> None:
        """Load the model and start the watching thread."""
        self.refresh()
        threading.Thread(target=self._watch, name="live-model", daemon=True).start()

    def refresh(self) -> None:
        """Load the current live model now."""
        self.seen, self.attempted_at = self._read_state(), time.monotonic()
        self._attempt(self.load)

    def _read_state(self) -> tuple[PointerState, FilesState]:
        return pointer_state(), files_state(self.serving.model.tag) if self.serving else ()

    def _watch(self) -> None:
        while True:
            time.sleep(INTERVAL)
            if self._read_state() != self.seen or (self.problem and time.monotonic() - self.attempted_at > RETRY):
                self.refresh()

    def _load_pinned(self, tag: str) -> Serving:
        files = files_state(tag)
        if not self.serving:
            return Serving(_smoke_test(load_model(tag)), files=files)
        if files != self.serving.files:
            _require_intact(lambda: check_stored(tag))
        return replace(self.serving, files=files)

    def _load_named(self) -> Serving:
        move, now = live_move(), self.serving
        files = files_state(move.tag)
        if not now or (now.model.tag, now.card_sha256) != (move.tag, move.card_sha256):
            return Serving(_smoke_test(load_live(move)), move.when, move.card_sha256, files)
        if files != now.files:
            _require_intact(lambda: check_live(move))
        return replace(now, live_since=move.when, files=files)

    def _attempt(self, load: Callable[[], Serving]) -> None:
        try:
            serving = load()
        except Exception as error:  # keep serving the current model whatever the error
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


def _require_intact(check: Callable[[], object]) -> None:
    """Check the files of the current model.

    Raises:
        ModelError: a restart could not load them.
    """
    try:
        check()
    except ModelError as error:
        remedy = "It serves from memory, but a restart could not load it. Restore its files or promote another model"
        raise ModelError(f"{error}. {remedy}") from error


def _smoke_test(model: Classifier) -> Classifier:
    """Run one prediction, which allocates memory, and check that its probabilities are finite."""
    if not np.isfinite(predict(model, np.zeros(1, model.contract.dtype)).probabilities).all():
        raise ModelError(f"{model.tag}: the probabilities of a blank image are not finite")
    return model
