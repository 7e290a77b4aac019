"""The endpoints: a request -> a response."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from components.catalogues import catalogue_of
from components.contract import Images, Predictions, fingerprint_of
from components.errors import InputError
from components.model.classifier import Classifier
from components.readers.images.photos import is_small, read_views, write_png
from components.readers.images.pixel_bytes import read_pixel_bytes
from components.readers.images.pixel_json import read_pixel_json
from components.scoring.answers import to_answers
from components.scoring.predict import predict, predict_photos
from components.scoring.sanity import Finding, inspect_images, refuse_wrong
from serving.bodies import LARGE, LARGEST_JSON, expect_type, read_body, read_uploads
from serving.corrections import correct, corrections_folder
from serving.errors import Refusal, json_response
from serving.gateway import Endpoint
from serving.live import served
from serving.metrics import watch
from serving.openapi import describe_api
from serving.pictures import read_pictures
from serving.tables import score_table

IN_LINE = 16_000_000  # weights x images, about a millisecond; more goes to a thread, and others are answered

EXPECTED, FINGERPRINT = b"x-classes", re.compile("[0-9a-f]{16}")  # of the classes that a caller expects

# The page at /: file -> its media type
PAGE = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
FOLDER = Path(__file__).parent.parent / "ui"

parsing = asyncio.Semaphore(1)  # large bodies of JSON: each holds Python's lock, several would keep all others waiting


async def predict_pixels(request: Request) -> Response:
    """POST /predict"""
    found = expect_type(request, "application/json", "application/octet-stream")
    model = _expected_model(request)
    contract = model.contract
    top = _wanted_top(request, model)
    body = await read_body(request, LARGEST_JSON)
    if found == "application/octet-stream":
        images = read_pixel_bytes(body, contract.image)
    elif len(body) > LARGE:
        async with parsing:
            images = await anyio.to_thread.run_sync(read_pixel_json, body, contract.image)
    else:
        images = read_pixel_json(body, contract.image)
    findings = inspect_images(images, catalogue_of(contract).inputs)
    if findings:
        refuse_wrong(findings, "body" if found == "application/octet-stream" else "images")
        watch.warned(findings)
    return _answer(await _predict(model, images, all_show=not findings), findings, top)


async def classify(request: Request) -> Response:
    """POST /classify; with `?seen=true` each answer has the picture that the model saw."""
    model = _expected_model(request)
    top, wants_seen = _wanted_top(request, model), _wanted(request, "seen")
    uploads = await read_uploads(request)
    contract = model.contract
    if len(uploads) == 1 and is_small(uploads[0][1], contract.image):
        photos = [read_views(uploads[0][1], contract, uploads[0][0])]
    else:
        photos = await read_pictures(uploads, contract)
    seen = await anyio.to_thread.run_sync(_as_pictures, photos) if wants_seen else None
    shown = np.concatenate([views[:1] for views in photos])
    if findings := inspect_images(shown, catalogue_of(contract).inputs):
        watch.warned(findings)
    predictions = await _predict_photos(model, photos, shown)
    return _answer(predictions, findings, top, [name for name, _ in uploads], seen)


async def score(request: Request) -> Response:
    """POST /score; with `?rejects=true` the answer is the rows that could not be read, and why."""
    return await score_table(request, _expected_model(request), _wanted(request, "rejects"))


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
            "takes_corrections": corrections_folder() is not None,
            "classes": model.contract.classes,
            "classes_fingerprint": fingerprint_of(model.contract.classes),
            "image": model.contract.image.shape,
        }
    )


async def describe_endpoints(request: Request) -> Response:
    """GET /openapi.json"""
    return json_response(await anyio.to_thread.run_sync(describe_api, served.get().contract))


async def page(request: Request) -> Response:
    """GET / and the files that the page is made of."""
    name = request.url.path.rpartition("/")[2] or "index.html"
    return Response((FOLDER / name).read_bytes(), media_type=PAGE[name])


async def _predict(model: Classifier, images: Images, all_show: bool) -> Predictions:
    if len(images) * model.weights <= IN_LINE:
        predictions = predict(model, images, all_show)
    else:
        predictions = await anyio.to_thread.run_sync(predict, model, images, all_show)
    watch.predicted(predictions, images)
    return predictions


async def _predict_photos(model: Classifier, photos: list[Images], shown: Images) -> Predictions:
    if sum(map(len, photos)) * model.weights <= IN_LINE:
        predictions = predict_photos(model, photos)
    else:
        predictions = await anyio.to_thread.run_sync(predict_photos, model, photos)
    watch.predicted(predictions, shown)
    return predictions


def _expected_model(request: Request) -> Classifier:
    """The live model, where it has the classes that the caller expects: `?classes=` or the header X-Classes.

    Raises:
        InputError: what it names is no fingerprint.
        Refusal: it has others.
    """
    model = served.get()
    asked = next((value.decode("latin-1") for name, value in request.scope["headers"] if name == EXPECTED), None)
    if request.scope["query_string"]:
        asked = request.query_params.get("classes", asked)
    if asked is None or asked == (known := fingerprint_of(model.contract.classes)):
        return model
    if not FINGERPRINT.fullmatch(asked):
        raise InputError("classes", f"found {asked[:40]!r}, expected a fingerprint as GET /model has it: {known}")
    expected = served.classes_called(asked)
    found, wanted = ", ".join(model.contract.classes), ", ".join(expected or [f"those of the fingerprint {asked}"])
    error = Refusal(409, "classes", f"{model.tag} has the classes {found}; expected {wanted}")
    error.details = {"expected": expected, "found": model.contract.classes}
    raise error


def _wanted_top(request: Request, model: Classifier) -> int:
    """How many of the likeliest classes to name: `?top=3`; 0 where nothing is asked."""
    if not request.scope["query_string"]:
        return 0
    asked, most = request.query_params.get("top", "0"), len(model.contract.classes)
    if not asked.isascii() or not asked.isdigit() or len(asked) > len(str(most)) or int(asked) > most:
        raise InputError("top", f"found {asked[:20]!r}, expected a whole number up to {most}")
    return int(asked)


def _wanted(request: Request, name: str) -> bool:
    """Whether the query says `name=true`; anything but that and false may be a mistake."""
    asked = request.query_params.get(name, "false")
    if asked not in {"true", "false"}:
        raise InputError(name, f"found {asked[:20]!r}, expected true or false")
    return asked == "true"


def _as_pictures(photos: list[Images]) -> list[str]:
    """A PNG of the first view of each, as a data URL."""
    return [f"data:image/png;base64,{base64.b64encode(write_png(views[0])).decode()}" for views in photos]


def _answer(
    predictions: Predictions,
    findings: tuple[Finding, ...],
    top: int,
    files: list[str] | None = None,
    seen: list[str] | None = None,
) -> Response:
    answers: list[Any] = list(to_answers(predictions, top))
    if seen is not None:
        for answer, picture in zip(answers, seen, strict=True):
            answer["seen"] = picture
    if files is not None:
        answers = [{"file": name, **answer} for name, answer in zip(files, answers, strict=True)]
    warnings = [finding.to_json() for finding in findings]
    return json_response({"model": predictions.model, "predictions": answers, "warnings": warnings})


# path -> method and endpoint
ENDPOINTS: dict[str, tuple[str, Endpoint]] = {
    "/": ("GET", page),
    **{f"/{name}": ("GET", page) for name in PAGE if name != "index.html"},
    "/model": ("GET", describe),
    "/openapi.json": ("GET", describe_endpoints),
    "/predict": ("POST", predict_pixels),
    "/classify": ("POST", classify),
    "/score": ("POST", score),
    "/corrections": ("POST", correct),
}
