"""The endpoints, as an application that BentoML mounts."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from typing import IO, Any

import anyio.to_thread
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from components.contract import CLASSES, Images, Predictions
from components.errors import FashionError, NoLiveModel
from components.formats.photos import read_photo
from components.formats.pixel_json import read_pixel_json
from components.inference.predict import predict
from components.inference.score import score_stream
from components.model.classifier import Classifier
from components.registry.champion import load_model
from serving.bodies import LARGEST_JSON, expect_type, read_body, read_uploads, spool_body
from serving.errors import HANDLERS, RETRY_AFTER, Refusal, json_response
from serving.guard import InFlightCap, KnownHosts

log = logging.getLogger("bentoml.fashion")

MOST_IN_FLIGHT = 64  # requests; the next one is told to come back
MOST_REJECTS = 100_000  # rows of a table
LARGE_JSON = 64 << 10  # bytes; more is read in a thread
MOST_IN_LINE = 16  # images classified on the event loop; more go to a thread, so that others are answered meanwhile

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Fashion</title>
<meta name="viewport" content="width=device-width">
<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui;max-width:40rem;margin:auto;padding:1rem}</style>
<h1>Fashion</h1><p>Product photos into ten categories.</p><dl>
<dt><code>POST /predict</code><dd>JSON <code>{"images": [...]}</code>, each 28 rows of 28 or 784 whole numbers, 0 to 255
<dt><code>POST /classify</code><dd>one or more PNG or JPEG files, as a form or as the body
<dt><code>POST /score</code><dd>CSV <code>[id,][label,]pixel1,...,pixel784</code>
<dt><a href="model"><code>GET /model</code></a><dd>which model answers
<dt><a href="readyz"><code>/readyz</code></a>, <a href="livez"><code>/livez</code></a>,
<a href="metrics"><code>/metrics</code></a></dl></html>"""


class Served:
    """The model of this process, loaded once at its start, or the reason why there is none."""

    def __init__(self) -> None:
        self.model: Classifier | None = None
        self.problem: FashionError = NoLiveModel("the service is starting")

    def load(self, tag: str | None) -> None:
        """Load the model with this exact tag, or the live one."""
        try:
            self.model = load_model(tag)
            log.info("serving %s", self.model.tag)
        except FashionError as error:
            self.problem = error
            log.error("not ready: %s", error)

    def get(self) -> Classifier:
        """The model. Raises what kept it from loading."""
        if self.model is None:
            raise self.problem
        return self.model


served = Served()
tables = asyncio.Semaphore(4)  # that may arrive at the same time, each on disk
one_table = asyncio.Lock()  # scoring one takes a whole core
decoding = asyncio.Semaphore(2)  # requests whose pictures are decoded, up to 400 MB each


async def predict_pixels(request: Request) -> Response:
    """POST /predict"""
    expect_type(request, "application/json")
    body = await read_body(request, LARGEST_JSON)
    if len(body) > LARGE_JSON:
        images = await anyio.to_thread.run_sync(read_pixel_json, body)
    else:
        images = read_pixel_json(body)
    return _answer(await _predict(images))


async def classify(request: Request) -> Response:
    """POST /classify"""
    uploads = await read_uploads(request)
    async with decoding:
        images = await anyio.to_thread.run_sync(_read_photos, uploads)
    return _answer(await _predict(images), [name for name, _ in uploads])


async def score(request: Request) -> Response:
    """POST /score; with `?rejects=true` the answer is the rows that could not be read, and why."""
    expect_type(request, "text/csv")
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
    wanted = rejects if request.query_params.get("rejects") == "true" else scored
    return StreamingResponse(_chunks(wanted), headers=headers, media_type="text/csv; charset=utf-8")


async def describe(request: Request) -> Response:
    """GET /model"""
    model = served.get()
    return json_response(
        {
            "model": model.tag,
            "preset": model.card.preset,
            "source": model.card.source,
            "dataset_version": model.card.dataset_version,
            "test_accuracy": model.card.test.accuracy,
            "created_at": model.card.created_at,
            "classes": CLASSES,
        }
    )


async def index(request: Request) -> Response:
    """GET /"""
    return HTMLResponse(PAGE)


async def missing(request: Request) -> Response:
    """Every other path, and the wrong method on one of ours."""
    for route in ROUTES:
        if route.path == request.url.path:
            allowed = ", ".join(sorted(route.methods or ()))
            raise HTTPException(405, headers={"Allow": allowed})
    raise HTTPException(404)


async def _predict(images: Images) -> Predictions:
    model = served.get()
    if len(images) <= MOST_IN_LINE:
        return predict(model, images)
    return await anyio.to_thread.run_sync(predict, model, images)


def _read_photos(uploads: list[tuple[str, bytes]]) -> Images:
    return np.concatenate([read_photo(content, name) for name, content in uploads])


def _answer(predictions: Predictions, files: list[str] | None = None) -> Response:
    answers: list[dict[str, Any]] = [
        {"label": label, "name": CLASSES[label], "confidence": row[label], "sure": sure, "probabilities": row}
        for label, row, sure in zip(
            predictions.labels.tolist(), predictions.probabilities, predictions.sure.tolist(), strict=True
        )
    ]
    if files is not None:
        answers = [{"file": name, **answer} for name, answer in zip(files, answers, strict=True)]
    return json_response({"model": predictions.model, "predictions": answers})


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while chunk := await anyio.to_thread.run_sync(file.read, 1 << 20):
            yield chunk


ROUTES = [
    Route("/", index),
    Route("/model", describe),
    Route("/predict", predict_pixels, methods=["POST"]),
    Route("/classify", classify, methods=["POST"]),
    Route("/score", score, methods=["POST"]),
]
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

app = Starlette(
    routes=[*ROUTES, Route("/{path:path}", missing, methods=EVERY_METHOD)],
    middleware=[Middleware(KnownHosts), Middleware(InFlightCap, most=MOST_IN_FLIGHT)],
    exception_handlers=HANDLERS,
)
