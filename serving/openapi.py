"""The OpenAPI document of the endpoints: their messages' types as the live model's contract fills them in."""

from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from components.contract import DataContract, ImageSpec, fingerprint_of
from components.readers import formats
from components.readers.images.pixel_json import MAX_IMAGES
from serving import messages
from serving.bodies import LARGEST_JSON, LARGEST_TABLE, LARGEST_UPLOAD, PICTURES
from serving.forms import MAX_FILES

REFUSALS = {
    400: "Something in the request cannot be read; `field` says what.",
    401: "The service has a token, and the request none or a wrong one.",
    403: "The Host or Origin is not one that the service is known by, or it takes no corrections.",
    408: "The body did not arrive in time.",
    409: "The model that answers has other classes than the caller expects.",
    413: "Too many bytes, images, files or pixels.",
    414: "A longer address than is read.",
    415: "A content type or content coding that is not read here.",
    417: "An expectation other than 100-continue.",
    429: "Too many requests are being answered; come back.",
    431: "Larger headers, or more of them, than are read.",
    501: "A transfer coding other than chunked.",
    503: "No model is live, or the service stops; come back.",
    505: "Another version of HTTP.",
    507: "As many corrections wait as are kept.",
}
OF_EVERY_REQUEST = (400, 403, 414, 417, 431, 501, 505)  # whatever it asks for
OF_A_BODY = (401, 408, 413, 415, 429, 503)
OF_A_MODEL = (*OF_A_BODY, 409)
BINARY = {"type": "string", "format": "binary"}
FLAG = {"type": "string", "enum": ["true", "false"], "default": "false"}
TAG = "fashion-mlp:ab3xv7a4kcuwmcgh"
WARNINGS_HEADER = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": 'About the first rows, as [{"kind": ..., "reason": ...}]; absent where nothing is unusual.',
}


@lru_cache(maxsize=1)  # it takes a third of a second
def describe_api(contract: DataContract) -> dict[str, Any]:
    """The document, OpenAPI 3.1, of a service whose live model has this contract."""
    image, examples = contract.image, _examples(contract)
    number = len(contract.classes)
    size = f"{image.height} x {image.width} {'grey' if image.channels == 1 else 'RGB'} pixels"
    top = _query(
        "top",
        "How many of the likeliest classes to name beside, likeliest first.",
        {"type": "integer", "minimum": 0, "maximum": number, "default": 0},
    )

    expected = _query(
        "classes",
        "The fingerprint of the classes that the caller expects, as GET /model has it; or in the header X-Classes.",
        {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    )

    def content(name: str) -> dict[str, Any]:
        schema = {"$ref": f"#/components/schemas/{name}"}
        return {"application/json": {"schema": schema, "example": examples[name]}}

    def refusals(*statuses: int) -> dict[str, Any]:
        every = sorted({*OF_EVERY_REQUEST, *statuses})
        return {str(status): {"description": REFUSALS[status], "content": content("Error")} for status in every}

    def operation(
        name: str, summary: str, description: str, answer: dict[str, Any], statuses: tuple[int, ...], **more: Any
    ) -> dict[str, Any]:
        responses = {"200": {"description": "The answer.", "content": answer}, **refusals(*statuses)}
        return {"operationId": name, "summary": summary, "description": description, "responses": responses, **more}

    def health(summary: str, **refused: dict[str, str]) -> dict[str, Any]:
        responses = {"200": {"description": "Yes, or the text."}, **refusals(), **refused}
        return {"get": {"summary": summary, "responses": responses}}

    text, binary = {"schema": {"type": "string"}}, {"schema": BINARY}
    table = {kind: text if kind.startswith("text/") else binary for kind in formats.media_types()}
    answers = {kind: table[kind] for kind in (formats.CSV.media_types[0], formats.PARQUET.media_types[0])}
    score = operation(
        "score",
        "Score a table",
        f"CSV or Parquet, up to {LARGEST_TABLE >> 20} MiB, as the body or as the only file of a form, with the "
        f"columns [id,][label,]pixel1,...,pixel{image.size}; Parquet also with {image.size} bytes or numbers an image "
        "in the column pixels, or with picture files in the column image. "
        "Answered in kind, a row for each in its order: id, label, name, confidence, sure, model, reason. A row "
        "that cannot be read has nothing but its id, where that can be, and the reason. It comes while later "
        "rows are scored; one that is cut off is not whole. What is unusual about the first rows is in the header "
        "X-Warnings; rows that cannot be right (inverted, no pixel above 1) are refused with 400.",
        {**answers, "text/csv": {**text, "example": _scored(contract)}},
        OF_A_MODEL,
        parameters=[
            expected,
            _query("rejects", "Answer with the rows that could not be read only: where, why, as they stood.", FLAG),
            _query(
                "drop",
                "A column to leave out, whatever is in it; `pixels` stands for all columns of pixels.",
                {"type": "array", "items": {"type": "string"}},
            ),
        ],
        requestBody=_body({**table, **_form("file", BINARY, ", ".join(answers))}),
    )
    score["responses"]["200"]["headers"] = {
        "X-Model": {"schema": {"type": "string"}},
        "X-Warnings": {"schema": WARNINGS_HEADER},
    }
    files = {"type": "array", "items": BINARY, "minItems": 1, "maxItems": MAX_FILES}
    paths = {
        "/predict": {
            "post": operation(
                "predict",
                f"Classify images of {size}",
                f"Up to {MAX_IMAGES:,} images, {LARGEST_JSON >> 20} MiB. As bytes: {image.size} an image, row by row. "
                "Images that cannot be right are refused with 400: most are inverted, or have no pixel above 1.",
                content("Predictions"),
                OF_A_MODEL,
                parameters=[top, expected],
                requestBody=_body({**content("PixelRequest"), "application/octet-stream": {"schema": BINARY}}),
            )
        },
        "/classify": {
            "post": operation(
                "classify",
                "Classify photos",
                f"Up to {MAX_FILES} files, {LARGEST_UPLOAD >> 20} MiB, as a form's files or one as the body.",
                content("Predictions"),
                OF_A_MODEL,
                parameters=[top, expected, _query("seen", f"Whether to give the {size} that the model saw.", FLAG)],
                requestBody=_body(
                    {**_form("files", files, ", ".join(PICTURES)), **{kind: {"schema": BINARY} for kind in PICTURES}}
                ),
            )
        },
        "/score": {"post": score},
        "/corrections": {
            "post": operation(
                "correct",
                "Say which class an image has",
                "Kept for a person to import, where the service takes corrections; nothing is learned at once.",
                content("Corrected"),
                (*OF_A_BODY, 507),
                requestBody=_body(content("Correction")),
            )
        },
        "/model": {
            "get": operation("model", "Which model answers", "What is known of it.", content("Model"), (401, 503))
        },
        "/readyz": health("Whether a model answers", **{"503": {"description": "No model is live, and why."}}),
        "/livez": health("Whether the process answers"),
        "/metrics": health("Prometheus' text format"),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fashion",
            "version": "1",
            "description": f"Product photos into {number} categories. Every answer names the model that gave it.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(contract),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


class _Untitled(GenerateJsonSchema):
    """Schemas without the titles that repeat each field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schemas(contract: DataContract) -> dict[str, JsonSchemaValue]:
    """Of every message, with the numbers and names that the contract has."""
    kinds = ("Error", "Predictions", "Model", "PixelRequest", "Correction", "Corrected")
    _, found = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(getattr(messages, kind))) for kind in kinds],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    schemas: dict[str, JsonSchemaValue] = found["$defs"]
    number, image = len(contract.classes), contract.image
    schemas["Label"]["maximum"] = number - 1
    schemas["ClassName"]["enum"] = list(contract.classes)
    schemas["Probabilities"] |= {"minItems": number, "maxItems": number}
    schemas["PixelRequest"]["properties"]["images"]["maxItems"] = MAX_IMAGES
    schemas["Image"] = _image_schema(image)
    return schemas


def _image_schema(image: ImageSpec) -> JsonSchemaValue:
    """All numbers in a row, or rows of pixels."""

    def nested(*sizes: int) -> JsonSchemaValue:
        if not sizes:
            return {"type": "integer", "minimum": 0, "maximum": 255}
        return {"type": "array", "items": nested(*sizes[1:]), "minItems": sizes[0], "maxItems": sizes[0]}

    shape = " x ".join(map(str, image.shape))
    told = f"{shape} numbers in lists of lists, or {image.size} in a row: 0 is black, 255 the brightest."
    return {"description": told, "oneOf": [nested(image.size), nested(*image.shape)]}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": content}


def _form(field: str, schema: dict[str, Any], kinds: str) -> dict[str, Any]:
    whole = {"type": "object", "properties": {field: schema}, "required": [field], "additionalProperties": False}
    return {"multipart/form-data": {"schema": whole, "encoding": {field: {"contentType": kinds}}}}


def _draw_box(image: ImageSpec) -> list[int]:
    """A bright box on black, all its numbers in a row."""
    box = np.zeros(image.shape, np.uint8)
    box[image.height // 4 : -(image.height // 4), image.width // 4 : -(image.width // 4)] = 210
    flat: list[int] = box.ravel().tolist()
    return flat


def _examples(contract: DataContract) -> dict[str, Any]:
    """One of each message."""
    first, last = 0, len(contract.classes) - 1
    probabilities = [0.018] + [0] * (last - 1) + [0.982]
    prediction = {"label": last, "name": contract.classes[last], "confidence": 0.982, "sure": True}
    box = _draw_box(contract.image)
    return {
        "Error": {
            "error": {
                "status": 400,
                "field": "images[3][12]",
                "reason": "found 300, expected a whole number from 0 to 255",
            }
        },
        "PixelRequest": {"images": [box]},
        "Predictions": {
            "model": TAG,
            "predictions": [{**prediction, "probabilities": probabilities}],
            "warnings": [],
        },
        "Correction": {"label": contract.classes[first], "said": contract.classes[last], "model": TAG, "image": box},
        "Corrected": {"label": first, "name": contract.classes[first]},
        "Model": {
            "model": TAG,
            "live_since": "2026-11-21T02:30:00+00:00",
            "follows_pointer": True,
            "problem": None,
            "preset": "flagship",
            "source": contract.name,
            "dataset_version": "5bacf4d965889a6f",
            "test_accuracy": 0.9295,
            "test_accuracy_interval": [0.9243, 0.9344],
            "coverage": 0.86,
            "sure_accuracy": 0.97,
            "created_at": "2026-11-21T02:29:40+00:00",
            "takes_corrections": False,
            "classes": list(contract.classes),
            "classes_fingerprint": fingerprint_of(contract.classes),
            "image": list(contract.image.shape),
        },
    }


def _scored(contract: DataContract) -> str:
    last = len(contract.classes) - 1
    name = contract.classes[last].replace('"', '""')
    quoted = f'"{name}"' if any(mark in name for mark in ',"\r\n') else name
    return (
        "id,label,name,confidence,sure,model,reason\n"
        f"a1,{last},{quoted},0.982000,yes,{TAG},\n"
        "a2,,,,,,pixel3: '300' is not a whole number from 0 to 255\n"
    )
