"""The endpoints: each turns a request into a response."""

import asyncio
import re
from typing import Any

import anyio.to_thread
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from components.catalogues import OFFICIAL, catalogue_of
from components.catalogues.examples import read_examples
from components.contract import DataContract, Images, fingerprint_of
from components.errors import InputError
from components.model.classifier import Classifier
from components.readers.images.photos import is_small, read_views
from components.readers.images.pixel_bytes import read_pixel_bytes
from components.readers.images.pixel_json import read_pixel_json
from components.readers.images.records import read_records
from components.readers.tables.columns import require_pixels
from components.scoring.answers import Answer, add_top
from components.scoring.sanity import Finding, inspect_images, refuse_wrong
from serving.batching import batcher
from serving.bodies import LARGE, LARGEST_JSON, expect_type, read_body, read_uploads
from serving.corrections import correct, corrections_folder
from serving.errors import Refusal, json_response
from serving.gateway import Endpoint
from serving.live import served
from serving.metrics import watch
from serving.neighbours import catalogue, find, gives_reasons, read_count, require_few, to_data_url, training
from serving.openapi import describe_api
from serving.pages import PATHS, page
from serving.pictures import Uploads, read_pictures
from serving.review import label_image, next_image, review_status, skip_image, undo_decision
from serving.tables import score_table

CLASSES_HEADER, FINGERPRINT = b"x-classes", re.compile("[0-9a-f]{16}")  # fingerprint of the expected classes

parsing = asyncio.Semaphore(1)  # large JSON bodies one at a time, because parsing holds the GIL


async def predict_pixels(request: Request) -> Response:
    """POST /predict: classify images given as pixels."""
    found = expect_type(request, "application/json", "application/octet-stream")
    model = _expected_model(request)
    contract = model.contract
    if found == "application/json":
        require_pixels(contract, "images")
    top, because = _read_top(request, model), read_count(request, "because", 0, 0)
    index = await training.get(model, "because") if because else None
    body = await read_body(request, LARGEST_JSON)
    if contract.embedding and found == "application/octet-stream":
        images = read_records(body, contract)
    elif found == "application/octet-stream":
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
    require_few(len(images), because, "because")
    answers = await batcher.classify(model, images, all_show=not findings)
    reasons = await find(index, model, images, because) if index else None
    return _to_response(model, answers, findings, top, because=reasons)


async def classify(request: Request) -> Response:
    """POST /classify: classify pictures; `?seen=true` adds the model's input image, `?because=5` its neighbours."""
    model = _expected_model(request)
    top, wants_seen, because = (
        _read_top(request, model),
        _read_flag(request, "seen"),
        read_count(request, "because", 0, 0),
    )
    index = await training.get(model, "because") if because else None
    uploads = await read_uploads(request)
    require_few(len(uploads), because, "because")
    photos = await _read_photos(uploads, model.contract)
    seen = await anyio.to_thread.run_sync(_to_data_urls, photos) if wants_seen else None
    shown = np.concatenate([views[:1] for views in photos])
    if findings := inspect_images(shown, catalogue_of(model.contract).inputs):
        watch.warned(findings)
    answers = await batcher.classify(model, np.concatenate(photos), np.array([len(views) for views in photos]))
    reasons = await find(index, model, shown, because) if index else None
    return _to_response(model, answers, findings, top, [name for name, _ in uploads], seen, reasons)


async def find_similar(request: Request) -> Response:
    """POST /similar: find the items of the indexed catalogue that are most like each picture."""
    model = _expected_model(request)
    count = read_count(request, "count", 1, 5)
    index = await catalogue.get(model, "catalogue")
    uploads = await read_uploads(request)
    require_few(len(uploads), count, "count")
    photos = await _read_photos(uploads, model.contract)
    found = await find(index, model, np.concatenate([views[:1] for views in photos]), count)
    results = [{"file": name, "similar": items} for (name, _), items in zip(uploads, found, strict=True)]
    indexed = {"source": index.record.source, "items": index.record.rows, "built_at": index.record.built_at}
    return json_response({"model": model.tag, "catalogue": indexed, "results": results})


async def _read_photos(uploads: Uploads, contract: DataContract) -> list[Images]:
    """The views of each picture."""
    if len(uploads) == 1 and is_small(uploads[0][1], contract):
        return [read_views(uploads[0][1], contract, uploads[0][0])]
    return await read_pictures(uploads, contract)


async def score(request: Request) -> Response:
    """POST /score: classify the rows of a table; with `?rejects=true`, return only the rejected rows with reasons."""
    return await score_table(request, _expected_model(request), _read_flag(request, "rejects"))


async def describe(request: Request) -> Response:
    """GET /model: describe the live model."""
    model = served.get()
    serving, known = served.serving, model.card.known
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
            "unknown_rate": known.refused if known else None,
            "test_unknown_rate": known.test_refused if known else None,
            "created_at": model.card.created_at,
            "takes_corrections": corrections_folder() is not None,
            "gives_reasons": await anyio.to_thread.run_sync(gives_reasons, model),
            "takes_drawings": model.contract.preparation_family == OFFICIAL.contract.preparation_family,
            "classes": model.contract.classes,
            "classes_fingerprint": fingerprint_of(model.contract.classes),
            "image": model.contract.image.shape,
        }
    )


async def describe_endpoints(request: Request) -> Response:
    """GET /openapi.json"""
    return json_response(await anyio.to_thread.run_sync(describe_api, served.get().contract))


async def list_examples(request: Request) -> Response:
    """GET /examples: images to try the live model with."""
    model = served.get()
    found = read_examples(model.contract.name, model.card.source)
    return json_response({"examples": [{"name": name, "image": to_data_url(image)} for name, image in found]})


def _expected_model(request: Request) -> Classifier:
    """Return the live model after checking the classes that the caller expects: `?classes=` or the X-Classes header.

    Raises:
        InputError: the value is not a fingerprint.
        Refusal: 409, the model has other classes.
    """
    model = served.get()
    headers = request.scope["headers"]
    requested = next((value.decode("latin-1") for name, value in headers if name == CLASSES_HEADER), None)
    if request.scope["query_string"]:
        requested = request.query_params.get("classes", requested)
    if requested is None or requested == (known := fingerprint_of(model.contract.classes)):
        return model
    if not FINGERPRINT.fullmatch(requested):
        reason = f"found {requested[:40]!r}, expected a classes_fingerprint from GET /model, such as {known}"
        raise InputError("classes", reason)
    expected = served.classes_with(requested)
    found = ", ".join(model.contract.classes)
    wanted = ", ".join(expected or [f"those of the fingerprint {requested}"])
    error = Refusal(409, "classes", f"{model.tag} has the classes {found}; expected {wanted}")
    error.details = {"expected": expected, "found": model.contract.classes}
    raise error


def _read_top(request: Request, model: Classifier) -> int:
    """Number of most likely classes to list (`?top=3`); 0 by default."""
    if not request.scope["query_string"]:
        return 0
    value, most = request.query_params.get("top", "0"), len(model.contract.classes)
    if not value.isascii() or not value.isdigit() or len(value) > len(str(most)) or int(value) > most:
        raise InputError("top", f"found {value[:20]!r}, expected a whole number from 0 to {most}")
    return int(value)


def _read_flag(request: Request, name: str) -> bool:
    """Whether the query has `name=true`. Raises InputError for any value but true and false."""
    if not request.scope["query_string"]:
        return False
    value = request.query_params.get(name, "false")
    if value not in {"true", "false"}:
        raise InputError(name, f"found {value[:20]!r}, expected true or false")
    return value == "true"


def _to_data_urls(photos: list[Images]) -> list[str]:
    """A PNG data URL of each photo's first view."""
    return [to_data_url(views[0]) for views in photos]


def _to_response(
    model: Classifier,
    answers: list[Answer],
    findings: tuple[Finding, ...],
    top: int,
    files: list[str] | None = None,
    seen: list[str] | None = None,
    because: list[list[dict[str, Any]]] | None = None,
) -> Response:
    add_top(answers, model.contract.classes, top)
    results: list[Any] = list(answers)
    if seen is not None:
        for result, picture in zip(results, seen, strict=True):
            result["seen"] = picture
    if because is not None:
        for result, neighbours in zip(results, because, strict=True):
            result["because"] = neighbours
    if files is not None:
        results = [{"file": name, **result} for name, result in zip(files, results, strict=True)]
    warnings = [finding.to_json() for finding in findings]
    return json_response({"model": model.tag, "predictions": results, "warnings": warnings})


# path -> method and endpoint
ENDPOINTS: dict[str, tuple[str, Endpoint]] = {
    **dict.fromkeys(PATHS, ("GET", page)),
    "/model": ("GET", describe),
    "/examples": ("GET", list_examples),
    "/openapi.json": ("GET", describe_endpoints),
    "/predict": ("POST", predict_pixels),
    "/classify": ("POST", classify),
    "/score": ("POST", score),
    "/similar": ("POST", find_similar),
    "/corrections": ("POST", correct),
    "/review/next": ("POST", next_image),
    "/review/label": ("POST", label_image),
    "/review/skip": ("POST", skip_image),
    "/review/undo": ("POST", undo_decision),
    "/review/status": ("GET", review_status),
}
