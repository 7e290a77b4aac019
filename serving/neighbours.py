"""What is near an image: the training images of `?because=`, and the items of the catalogue of POST /similar.

An index is opened when it is first asked for, in a thread with the lowest priority. Until then, and while it is built,
such requests are refused with 503; all others notice nothing. After a change of the live model, the next request opens
the index of the new one.
"""

import asyncio
import base64
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from components.contract import Images
from components.errors import DatasetError, InputError, InputTooLarge, NeighboursError, explain
from components.model.classifier import Classifier
from components.readers.images.seen import write_seen
from components.registry.store import bundled_tag
from serving.errors import RETRY, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from components.neighbours.index import NeighbourIndex

log = logging.getLogger("bentoml.fashion")

MOST = 20  # neighbours of an image
MOST_FOUND = 320  # neighbours in a response: five for each of 64 photos
PATIENCE = 1.0  # seconds that a request waits for an index before it is refused
REOPEN = 5.0  # seconds until an index that could not be opened is tried again
LATER = {"Retry-After": "2"}  # seconds

searching = asyncio.Semaphore(1)  # one request at a time, because a search keeps a core busy


class OpenIndex:
    """An index of the live model, opened on first use and again when the model or the file changes."""

    def __init__(self, what: str, open_: Callable[[Classifier], "NeighbourIndex"], stamp: Callable[[], object]) -> None:
        """Describe an index without opening it.

        Args:
            what: names it in a refusal.
            open_: opens it; called in a thread.
            stamp: a value that changes when it must be opened again for the same model.
        """
        self.what, self.open, self.stamp = what, open_, stamp
        self.key: tuple[str, object] | None = None  # of the future
        self.future: Future[NeighbourIndex] | None = None
        self.began = 0.0  # monotonic seconds

    async def get(self, model: Classifier, field: str) -> "NeighbourIndex":
        """Return the index of this model.

        Raises:
            Refusal: 409, there is none, with the reason; 503, it is being built, or cannot be written or read.
        """
        key = (model.card.weights_sha256, self.stamp())
        if self.future is None or self._is_stale(self.future, key):
            self.key, self.began, self.future = key, time.monotonic(), _start(partial(self.open, model))
        future = self.future
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # else asyncio logs the exception
        await asyncio.wait({waiting}, timeout=PATIENCE)
        if not future.done() or self.key != key:
            raise Refusal(503, field, f"{self.what} of {model.tag} is being prepared; {RETRY}", LATER)
        return self._result(future, field)

    def _is_stale(self, future: "Future[NeighbourIndex]", key: tuple[str, object]) -> bool:
        """Whether to open the index now. An unfinished opening is always awaited, so that there is only one thread."""
        if not future.done():
            return False
        return self.key != key or (future.exception() is not None and time.monotonic() - self.began > REOPEN)

    def _result(self, future: "Future[NeighbourIndex]", field: str) -> "NeighbourIndex":
        try:
            return future.result()
        except (DatasetError, NeighboursError) as error:
            raise Refusal(409, field, str(error)) from error
        except OSError as error:
            raise Refusal(503, field, f"{self.what} cannot be prepared: {explain(error)}", LATER) from error


def _start(work: Callable[[], "NeighbourIndex"]) -> "Future[NeighbourIndex]":
    """Run `work` in a daemon thread, which no shutdown waits for."""
    future = Future["NeighbourIndex"]()

    def run() -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of this thread alone
        try:
            future.set_result(work())
        except BaseException as error:
            if not isinstance(error, (DatasetError, NeighboursError, OSError)):
                log.exception("cannot open an index of neighbours")
            future.set_exception(error)

    threading.Thread(target=run, name="neighbours", daemon=True).start()
    return future


def _open_training(model: Classifier) -> "NeighbourIndex":
    if bundled_tag() is not None:
        raise NeighboursError(
            "a built Bento has no training images; ask a service that runs where the model was trained"
        )
    from components.neighbours.training import open_training_index
    from components.settings import load_settings

    return open_training_index(model, load_settings())


def gives_reasons(model: Classifier) -> bool:
    """Whether `?because=` can be expected to work for this model."""
    if bundled_tag() is not None:
        return False
    from components.neighbours.training import can_open_training_index
    from components.settings import load_settings

    return can_open_training_index(model, load_settings())


def _open_catalogue(model: Classifier) -> "NeighbourIndex":
    if bundled_tag() is not None:
        raise NeighboursError("a built Bento has no catalogue; ask a service that runs where it was indexed")
    from components.neighbours.similar import open_catalogue
    from components.settings import load_settings

    return open_catalogue(model, load_settings())


def _catalogue_stamp() -> object:
    """Changes when the catalogue is indexed again."""
    if bundled_tag() is not None:
        return None
    from components.neighbours.similar import NAME
    from components.settings import load_settings

    try:
        found = (load_settings().neighbours_dir / NAME).with_suffix(".json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


training = OpenIndex("the index of the training images", _open_training, lambda: None)
catalogue = OpenIndex("the index of the catalogue", _open_catalogue, _catalogue_stamp)


def read_count(request: "Request", name: str, least: int, default: int) -> int:
    """Read a number of neighbours from the query: `?because=5`.

    Raises:
        InputError: not a whole number from `least` to `MOST`.
    """
    if not request.scope["query_string"]:
        return default
    value = request.query_params.get(name, str(default))
    if not value.isascii() or not value.isdigit() or len(value) > 2 or not least <= int(value) <= MOST:
        raise InputError(name, f"found {value[:20]!r}, expected a whole number from {least} to {MOST}")
    return int(value)


def require_few(images: int, count: int, name: str) -> None:
    """Require that a response with `count` neighbours of each image stays within `MOST_FOUND`.

    Raises:
        InputTooLarge: it does not.
    """
    if images * count > MOST_FOUND:
        raise InputTooLarge(name, f"{count} of each of {images:,} images, expected at most {MOST_FOUND} in a response")


async def find(index: "NeighbourIndex", model: Classifier, images: Images, count: int) -> list[list[dict[str, Any]]]:
    """Find the neighbours of each of n images, nearest first, as JSON."""
    async with searching:
        return await anyio.to_thread.run_sync(_find, index, model, images, count)


def _find(index: "NeighbourIndex", model: Classifier, images: Images, count: int) -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "id": one.id,
                "row": one.row,
                "name": one.name,
                "distance": round(one.distance, 6),
                "image": to_data_url(one.picture),
            }
            for one in found
        ]
        for found in index.find(model, images, count)
    ]


def to_data_url(image: Images) -> str:
    """One image as a PNG data URL."""
    return f"data:image/png;base64,{base64.b64encode(write_seen(image)).decode()}"
