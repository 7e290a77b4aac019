"""The review queue over HTTP: the page `/review` and the endpoints behind it.

    POST /review/next    {"reviewer"}                  the next image to label, leased to this person
    POST /review/label   {"reviewer", "id", "label"}   label it, and return the next one
    POST /review/skip    {"reviewer", "id"}            skip it, and return the next one
    POST /review/undo    {"reviewer", "id"}            take a decision back, and return its image
    GET  /review/status                                what waits, and the estimate of the live accuracy

A reviewer is a random name that the page makes for its tab. Disabled unless FASHION_REVIEW_DIR and
FASHION_CORRECTIONS_DIR name folders.
"""

import base64
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from components.contract import DataContract
from components.dataset.labels.corrections import MOST, InboxFull, read_corrected
from components.errors import InputError
from components.monitoring.prediction_log import LoggedAnswer
from components.readers.images.seen import write_seen
from components.review.bounds import read_review_bounds
from components.review.estimate import LiveAccuracy
from components.review.images import NAME
from components.review.keeping import Keeper
from components.review.queue import REVIEWER, ReviewQueue, Shown, TakenAway
from components.review.state import describe_queue
from serving.bodies import expect_type, read_body
from serving.corrections import corrections_folder, read_fields
from serving.errors import RETRY_AFTER, Refusal, json_response
from serving.live import served
from serving.metrics import Watch
from serving.settings import read_workers

log = logging.getLogger("bentoml.fashion")

LARGEST = 4096  # bytes of a request
SILENCE = 60.0  # seconds between two messages in the log about images that could not be kept
SHOWN_DAYS = 30  # days of the estimate in a response


def keep_for_review(watch: Watch) -> None:
    """Keep some images of the traffic, if FASHION_REVIEW_DIR is set."""
    bounds = read_review_bounds()
    if bounds is None:
        return
    keeper = Keeper(bounds, "live", _find_network, read_workers())
    failed_at = -SILENCE

    def tap(answers: Sequence[LoggedAnswer]) -> None:
        nonlocal failed_at
        try:
            for answer in answers:
                keeper.add(answer)
        except OSError as error:
            if time.monotonic() - failed_at >= SILENCE:
                failed_at = time.monotonic()
                log.error("cannot keep images for review: %s", error)

    watch.add_tap(tap)


def _find_network() -> str | None:
    embedding = served.get().contract.embedding
    return embedding.sha256 if embedding else None


async def next_image(request: Request) -> Response:
    """POST /review/next"""
    queue, fields = await _read(request, "reviewer")
    return await _respond(queue, lambda: queue.take(fields["reviewer"]))


async def label_image(request: Request) -> Response:
    """POST /review/label"""
    queue, fields = await _read(request, "reviewer", "id", "label")
    label = read_corrected(fields["label"], queue.contract)

    def act() -> Shown | None:
        queue.label(fields["id"], fields["reviewer"], label)
        return queue.take(fields["reviewer"])

    return await _respond(queue, act)


async def skip_image(request: Request) -> Response:
    """POST /review/skip"""
    queue, fields = await _read(request, "reviewer", "id")

    def act() -> Shown | None:
        queue.skip(fields["id"], fields["reviewer"])
        return queue.take(fields["reviewer"])

    return await _respond(queue, act)


async def undo_decision(request: Request) -> Response:
    """POST /review/undo"""
    queue, fields = await _read(request, "reviewer", "id")
    return await _respond(queue, lambda: queue.undo(fields["id"], fields["reviewer"]))


async def review_status(request: Request) -> Response:
    """GET /review/status"""
    queue = _open_queue()
    return json_response(await anyio.to_thread.run_sync(_describe, queue))


def _describe(queue: ReviewQueue) -> dict[str, Any]:
    state = describe_queue(queue.bounds)
    days = list(state.days.items())[-SHOWN_DAYS:]
    return {
        "classes": queue.contract.classes,
        "waiting": state.waiting,
        "labelled": state.labelled,
        "skipped": state.skipped,
        "live_accuracy": _to_json(state.live),
        "days": [{"day": day, **_to_json(found)} for day, found in days],
    }


def _to_json(found: LiveAccuracy) -> dict[str, Any]:
    return {
        "labelled": found.labelled,
        "skipped": found.skipped,
        "accuracy": found.accuracy,
        "interval": [found.low, found.high],
    }


def _open_queue() -> ReviewQueue:
    bounds, corrections = read_review_bounds(), corrections_folder()
    if bounds is None:
        raise Refusal(403, "service", "the review queue is disabled; set FASHION_REVIEW_DIR to a folder to enable it")
    if corrections is None:
        reason = "labels cannot be saved; set FASHION_CORRECTIONS_DIR to the folder that they are imported from"
        raise Refusal(403, "service", reason)
    return ReviewQueue(bounds, served.get().contract, corrections)


async def _read(request: Request, *names: str) -> tuple[ReviewQueue, dict[str, Any]]:
    """The queue, and the fields of the body."""
    queue = _open_queue()
    expect_type(request, "application/json")
    fields = read_fields(await read_body(request, LARGEST), names)
    _check(fields, names)
    return queue, fields


def _check(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    expected = {"reviewer": (REVIEWER, "8 to 40 letters and digits"), "id": (NAME, "the id of an image")}
    for name in names:
        if name not in fields:
            raise InputError(name, "missing")
        if name in expected:
            pattern, what = expected[name]
            value = fields[name]
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise InputError(name, f"found {str(value)[:40]!r}, expected {what}")


async def _respond(queue: ReviewQueue, act: Callable[[], Shown | None]) -> Response:
    """Do it in a thread, because it reads and writes files."""
    try:
        shown = await anyio.to_thread.run_sync(act)
    except TakenAway as error:
        raise Refusal(410, "id", str(error)) from error
    except InboxFull as error:
        raise Refusal(507, "service", f"the inbox is full: {MOST:,} corrections wait to be imported") from error
    except OSError as error:
        log.error("the review queue failed: %s", error)
        raise Refusal(503, "service", "cannot read or write the queue; see the service log", RETRY_AFTER) from error
    return json_response({"image": _show(shown, queue.contract) if shown else None})


def _show(shown: Shown, contract: DataContract) -> dict[str, Any]:
    image = shown.image
    likely = [(contract.label_of(one.name), one) for one in image.top]
    return {
        "id": shown.name,
        "seen": f"data:image/png;base64,{base64.b64encode(write_seen(shown.pixels[0])).decode()}",
        "model": image.model,
        "time": image.time,
        "sure": image.sure,
        "known": image.known,
        "top": [
            {"label": label, "name": contract.classes[label], "probability": one.probability}
            for label, one in likely
            if label is not None
        ],
    }
