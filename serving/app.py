"""The endpoints, as an application that BentoML mounts."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio.to_thread
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from components.contract import CLASSES, Images, Predictions
from components.errors import InputError
from components.formats.photos import read_photo, write_png
from components.formats.pixel_bytes import read_pixel_bytes
from components.formats.pixel_json import read_pixel_json
from components.inference.predict import predict
from components.inference.score import score_stream
from serving.bodies import LARGEST_JSON, expect_type, read_body, read_uploads, spool_body
from serving.errors import HANDLERS, RETRY_AFTER, Refusal, json_response
from serving.guard import BearerToken, InFlightCap, KnownHosts, SecurityHeaders
from serving.live import LiveModel
from serving.metrics import watch
from serving.openapi import describe_api

MOST_IN_FLIGHT = 64  # requests; the next one is told to come back
MOST_REJECTS = 100_000  # rows of a table
LARGE_JSON = 64 << 10  # bytes; more is read in a thread
MOST_IN_LINE = 16  # images classified on the event loop; more go to a thread, so that others are answered meanwhile

# The page at /: file -> its media type
PAGE = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
FOLDER = Path(__file__).parent.parent / "ui"
OF_BENTOML = ("/livez", "/readyz", "/healthz", "/metrics")  # it answers GET and HEAD

served = LiveModel()
tables = asyncio.Semaphore(4)  # that may arrive at the same time, each on disk
one_table = asyncio.Lock()  # scoring one takes a whole core
decoding = asyncio.Semaphore(2)  # requests whose pictures are decoded, up to 400 MB each


async def predict_pixels(request: Request) -> Response:
    """POST /predict"""
    found = expect_type(request, "application/json", "application/octet-stream")
    top = _wanted_top(request)
    body = await read_body(request, LARGEST_JSON)
    if found == "application/octet-stream":
        images = read_pixel_bytes(body)
    elif len(body) > LARGE_JSON:
        images = await anyio.to_thread.run_sync(read_pixel_json, body)
    else:
        images = read_pixel_json(body)
    return _answer(await _predict(images), top)


async def classify(request: Request) -> Response:
    """POST /classify; with `?seen=true` each answer has the 28 x 28 picture that the model saw."""
    top, wants_seen = _wanted_top(request), _wanted(request, "seen")
    uploads = await read_uploads(request)
    async with decoding:
        images = await anyio.to_thread.run_sync(_read_photos, uploads)
    seen = await anyio.to_thread.run_sync(_as_pictures, images) if wants_seen else None
    return _answer(await _predict(images), top, [name for name, _ in uploads], seen)


async def score(request: Request) -> Response:
    """POST /score; with `?rejects=true` the answer is the rows that could not be read, and why."""
    expect_type(request, "text/csv")
    wants_rejects = _wanted(request, "rejects")
    model = served.get()
    if tables.locked():
        raise Refusal(429, "request", "too many tables at the same time; come back", RETRY_AFTER)
    async with tables:
        with tempfile.TemporaryFile() as table:
            scored, rejects = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115, the answer reads them
            await spool_body(request, table)
            run = partial(score_stream, model, table, scored, rejects, name="body", most_rejects=MOST_REJECTS)
            async with one_table:
                count = await anyio.to_thread.run_sync(run)
    headers = {
        "X-Model": count.model,
        "X-Rows": str(count.rows),
        "X-Scored": str(count.scored),
        "X-Rejected": str(count.rejected),
    }
    return StreamingResponse(
        _chunks(rejects if wants_rejects else scored), headers=headers, media_type="text/csv; charset=utf-8"
    )


async def describe(request: Request) -> Response:
    """GET /model"""
    model = served.get()
    serving = served.serving
    return json_response(
        {
            "model": model.tag,
            "live_since": serving.live_since if serving else None,
            "follows_pointer": served.following,
            "problem": str(served.problem) if served.problem else None,
            "preset": model.card.preset,
            "source": model.card.source,
            "dataset_version": model.card.dataset_version,
            "test_accuracy": model.card.test.accuracy,
            "test_accuracy_interval": model.card.test.accuracy_interval,
            "coverage": model.card.test.coverage,
            "sure_accuracy": model.card.test.sure_accuracy,
            "created_at": model.card.created_at,
            "classes": CLASSES,
        }
    )


async def describe_endpoints(request: Request) -> Response:
    """GET /openapi.json"""
    return json_response(describe_api())


async def page(request: Request) -> Response:
    """GET / and the files that the page is made of."""
    name = request.url.path.rpartition("/")[2] or "index.html"
    return Response((FOLDER / name).read_bytes(), media_type=PAGE[name])


async def missing(request: Request) -> Response:
    """Every other path, and the wrong method on one of ours or BentoML's."""
    if request.url.path in OF_BENTOML:
        raise HTTPException(405, headers={"Allow": "GET, HEAD"})
    for route in ROUTES:
        if route.path == request.url.path:
            allowed = ", ".join(sorted(route.methods or ()))
            raise HTTPException(405, headers={"Allow": allowed})
    raise HTTPException(404)


async def _predict(images: Images) -> Predictions:
    model = served.get()
    if len(images) <= MOST_IN_LINE:
        predictions = predict(model, images)
    else:
        predictions = await anyio.to_thread.run_sync(predict, model, images)
    watch.predicted(predictions, images)
    return predictions


def _read_photos(uploads: list[tuple[str, bytes]]) -> Images:
    return np.concatenate([read_photo(content, name) for name, content in uploads])


def _wanted_top(request: Request) -> int:
    """How many of the likeliest classes to name: `?top=3`; 0 where nothing is asked."""
    asked = request.query_params.get("top", "0")
    if not asked.isascii() or not asked.isdigit() or len(asked) > 2 or int(asked) > len(CLASSES):
        raise InputError("top", f"found {asked[:20]!r}, expected a whole number up to {len(CLASSES)}")
    return int(asked)


def _wanted(request: Request, name: str) -> bool:
    """Whether the query says `name=true`; anything but that and false may be a mistake."""
    asked = request.query_params.get(name, "false")
    if asked not in {"true", "false"}:
        raise InputError(name, f"found {asked[:20]!r}, expected true or false")
    return asked == "true"


def _as_pictures(images: Images) -> list[str]:
    """A PNG each, as a data URL."""
    return [f"data:image/png;base64,{base64.b64encode(write_png(image)).decode()}" for image in images]


def _answer(
    predictions: Predictions, top: int, files: list[str] | None = None, seen: list[str] | None = None
) -> Response:
    answers: list[dict[str, Any]] = [
        {"label": label, "name": CLASSES[label], "confidence": row[label], "sure": sure, "probabilities": row}
        for label, row, sure in zip(
            predictions.labels.tolist(), predictions.probabilities, predictions.sure.tolist(), strict=True
        )
    ]
    if top:
        for answer, row in zip(answers, predictions.probabilities, strict=True):
            likeliest = np.argsort(-row, kind="stable")[:top].tolist()
            answer["top"] = [{"label": label, "name": CLASSES[label], "probability": row[label]} for label in likeliest]
    if seen is not None:
        for answer, picture in zip(answers, seen, strict=True):
            answer["seen"] = picture
    if files is not None:
        answers = [{"file": name, **answer} for name, answer in zip(files, answers, strict=True)]
    return json_response({"model": predictions.model, "predictions": answers})


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while chunk := await anyio.to_thread.run_sync(file.read, 1 << 20):
            yield chunk


ROUTES = [
    Route("/", page),
    *(Route(f"/{name}", page) for name in PAGE if name != "index.html"),
    Route("/model", describe),
    Route("/openapi.json", describe_endpoints),
    Route("/predict", predict_pixels, methods=["POST"]),
    Route("/classify", classify, methods=["POST"]),
    Route("/score", score, methods=["POST"]),
]
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

app = Starlette(
    routes=[*ROUTES, Route("/{path:path}", missing, methods=EVERY_METHOD)],
    middleware=[
        Middleware(SecurityHeaders),
        Middleware(KnownHosts),
        Middleware(BearerToken),
        Middleware(InFlightCap, most=MOST_IN_FLIGHT),
    ],
    exception_handlers=HANDLERS,
)
