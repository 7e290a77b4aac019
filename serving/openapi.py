"""The OpenAPI document of the endpoints: what they take, what they answer, and every way they refuse."""

from typing import Any

from components.catalogues.fashion_mnist import CLASSES, PIXELS
from components.readers.images.pixel_json import MOST_IMAGES
from serving.bodies import LARGEST_JSON, LARGEST_TABLE, LARGEST_UPLOAD, PICTURES
from serving.forms import MOST_FILES

REFUSALS = {
    400: "Something in the request cannot be read; `field` says what.",
    401: "The service has a token, and the request none or a wrong one.",
    403: "The Host or Origin is not one that the service is known by, or it takes no corrections.",
    408: "The body did not arrive in time.",
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


def describe_api() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fashion",
            "version": "1",
            "description": "Product photos into ten categories. Every answer names the model that gave it.",
        },
        "paths": {
            "/predict": {"post": _predict()},
            "/classify": {"post": _classify()},
            "/score": {"post": _score()},
            "/corrections": {"post": _correct()},
            "/model": {"get": _model()},
            "/readyz": _health("Whether a model answers", {503: "No model is live, and why."}),
            "/livez": _health("Whether the process answers", {}),
            "/metrics": _health("Prometheus' text format", {}),
        },
        "components": {
            "schemas": {
                "Error": ERROR,
                "Prediction": PREDICTION,
                "Predictions": PREDICTIONS,
                "Warning": WARNING,
                "Correction": CORRECTION,
                "Corrected": CORRECTED,
                "Model": MODEL,
                "Image": IMAGE,
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name), "example": EXAMPLES[name]}}


def _responses(answer: dict[str, Any], *refusals: int) -> dict[str, Any]:
    return {"200": {"description": "The answer.", "content": answer}, **_refusals(*refusals)}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": REFUSALS[status], "content": _json("Error")}
        for status in sorted({*OF_EVERY_REQUEST, *statuses})
    }


SHARE = {"type": "number", "minimum": 0, "maximum": 1}
LABEL = {"type": "integer", "minimum": 0, "maximum": len(CLASSES) - 1}
NAME = {"type": "string", "enum": list(CLASSES)}
PIXEL = {"type": "integer", "minimum": 0, "maximum": 255}
TOP = {
    "name": "top",
    "in": "query",
    "description": "How many of the likeliest classes to name beside, likeliest first.",
    "schema": {"type": "integer", "minimum": 0, "maximum": len(CLASSES), "default": 0},
}
SEEN = {
    "name": "seen",
    "in": "query",
    "description": "Whether to give the 28 x 28 picture that the model saw.",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
REJECTS = {
    "name": "rejects",
    "in": "query",
    "description": "Answer with the rows that could not be read only: where, why, and as they stood.",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
DROP = {
    "name": "drop",
    "in": "query",
    "description": "A column to leave out, whatever is in it; `pixels` stands for all columns of pixels.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
ERROR = _object(
    {
        "error": _object(
            {
                "status": {"type": "integer", "examples": [400]},
                "field": {"type": "string", "examples": ["images[3][12]"]},
                "reason": {"type": "string", "examples": ["found 300, expected a whole number from 0 to 255"]},
            }
        )
    }
)
PREDICTION = _object(
    {
        "file": {"type": "string", "description": "The file's name, where files were sent."},
        "label": LABEL,
        "name": NAME,
        "confidence": {**SHARE, "description": "The probability of this class, calibrated."},
        "sure": {
            "type": "boolean",
            "description": "Whether the class is probable enough to act on without a look; never of a blank image.",
        },
        "probabilities": {"type": "array", "items": SHARE, "minItems": len(CLASSES), "maxItems": len(CLASSES)},
        "top": {"type": "array", "items": _object({"label": LABEL, "name": NAME, "probability": SHARE})},
        "seen": {"type": "string", "description": "A PNG as a data URL."},
    },
    optional=("file", "top", "seen"),
)
KINDS = {"type": "string", "enum": ["blank", "inverted", "scale", "dim"]}
WARNING = _object(
    {
        "kind": KINDS,
        "images": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "description": "Which predictions it is about, by position from 0.",
        },
        "reason": {"type": "string", "description": "What was found, and what to do about it."},
    }
)
PREDICTIONS = _object(
    {
        "model": {"type": "string", "description": "The exact tag.", "examples": ["fashion-mlp:ab3xv7a4kcuwmcgh"]},
        "predictions": {"type": "array", "items": _ref("Prediction")},
        "warnings": {
            "type": "array",
            "items": _ref("Warning"),
            "description": "What is unusual about the images; empty where nothing is.",
        },
    }
)
IMAGE = {
    "description": "28 rows of 28 pixels, or 784 in a row: 0 is background, 255 the brightest cloth.",
    "oneOf": [
        {"type": "array", "items": PIXEL, "minItems": PIXELS, "maxItems": PIXELS},
        {
            "type": "array",
            "items": {"type": "array", "items": PIXEL, "minItems": 28, "maxItems": 28},
            "minItems": 28,
            "maxItems": 28,
        },
    ],
}
MODEL = _object(
    {
        "model": {"type": "string"},
        "live_since": {"type": ["string", "null"], "format": "date-time"},
        "follows_pointer": {"type": "boolean"},
        "problem": {"type": ["string", "null"], "description": "Why a newer model or pointer is not served."},
        "preset": {"type": "string"},
        "source": {"type": "string"},
        "dataset_version": {"type": "string"},
        "test_accuracy": SHARE,
        "test_accuracy_interval": {"type": "array", "items": SHARE, "minItems": 2, "maxItems": 2},
        "coverage": SHARE,
        "sure_accuracy": SHARE,
        "created_at": {"type": "string", "format": "date-time"},
        "takes_corrections": {"type": "boolean", "description": "Whether POST /corrections keeps what it is sent."},
        "classes": {"type": "array", "items": NAME},
    }
)

CLASS = {"oneOf": [LABEL, NAME]}
CORRECTION = _object(
    {
        "label": {**CLASS, "description": "The right class."},
        "said": {**CLASS, "description": "The class that the model named."},
        "model": {"type": "string", "minLength": 1, "maxLength": 100, "description": "The tag that the answer named."},
        "seen": {"type": "string", "description": "The picture as /classify?seen=true gave it; or image."},
        "image": {**_ref("Image"), "description": "The image as /predict took it; or seen."},
    },
    optional=("seen", "image"),
)
CORRECTED = _object({"label": LABEL, "name": NAME})


def _draw_trousers() -> list[int]:
    """784 pixels."""
    top, legs = [0] * 9 + [210] * 10 + [0] * 9, [0] * 9 + [210] * 4 + [0] * 2 + [210] * 4 + [0] * 9
    return [pixel for row in [top] * 8 + [legs] * 20 for pixel in row]


TAG = "fashion-mlp:ab3xv7a4kcuwmcgh"
BOOT = {
    "label": 9,
    "name": "Ankle boot",
    "confidence": 0.982,
    "sure": True,
    "probabilities": [0, 0, 0, 0, 0, 0.006, 0, 0.012, 0, 0.982],
}
EXAMPLES: dict[str, Any] = {
    "Error": {
        "error": {"status": 400, "field": "images[3][12]", "reason": "found 300, expected a whole number from 0 to 255"}
    },
    "Predictions": {"model": TAG, "predictions": [BOOT], "warnings": []},
    "Correction": {"label": "Trouser", "said": "Dress", "model": TAG, "image": _draw_trousers()},
    "Corrected": {"label": 4, "name": "Coat"},
    "Model": {
        "model": TAG,
        "live_since": "2026-11-21T02:30:00+00:00",
        "follows_pointer": True,
        "problem": None,
        "preset": "flagship",
        "source": "archives",
        "dataset_version": "5bacf4d965889a6f-83c3a4db",
        "test_accuracy": 0.9295,
        "test_accuracy_interval": [0.9243, 0.9344],
        "coverage": 0.86,
        "sure_accuracy": 0.97,
        "created_at": "2026-11-21T02:29:40+00:00",
        "takes_corrections": False,
        "classes": list(CLASSES),
    },
}
WARNINGS_HEADER = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": 'About the first rows, as [{"kind": ..., "reason": ...}]; absent where nothing is unusual.',
}
SCORED = (
    "id,label,name,confidence,sure,model,reason\n"
    f"a1,9,Ankle boot,0.982000,yes,{TAG},\n"
    "a2,,,,,,pixel3: '300' is not a whole number from 0 to 255\n"
)


def _predict() -> dict[str, Any]:
    images = {"type": "array", "items": _ref("Image"), "minItems": 1, "maxItems": MOST_IMAGES}
    return {
        "operationId": "predict",
        "summary": "Classify images of 28 x 28 grey pixels",
        "description": (
            f"Up to {MOST_IMAGES:,} images, {LARGEST_JSON >> 20} MiB. As bytes: 784 an image, row by row. Images that "
            "cannot be right are refused with 400: most are inverted, or have no pixel above 1."
        ),
        "parameters": [TOP],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _object({"images": images}),
                    "examples": {"trousers": {"value": {"images": [_draw_trousers()]}}},
                },
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": _responses(_json("Predictions"), 401, 408, 413, 415, 429, 503),
    }


def _classify() -> dict[str, Any]:
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": MOST_FILES}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "classify",
        "summary": "Classify photos",
        "description": f"Up to {MOST_FILES} files, {LARGEST_UPLOAD >> 20} MiB, as a form's files or one as the body.",
        "parameters": [TOP, SEEN],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": _object({"files": files}),
                    "encoding": {"files": {"contentType": ", ".join(PICTURES)}},
                },
                **dict.fromkeys(PICTURES, binary),
            },
        },
        "responses": _responses(_json("Predictions"), 401, 408, 413, 415, 429, 503),
    }


def _score() -> dict[str, Any]:
    parquet = {"schema": {"type": "string", "format": "binary"}}
    table = {"text/csv": {"schema": {"type": "string"}}, "application/vnd.apache.parquet": parquet}
    kinds = {"file": {"contentType": ", ".join(table)}}
    form = {"multipart/form-data": {"schema": _object({"file": parquet["schema"]}), "encoding": kinds}}
    scored = {**table, "text/csv": {**table["text/csv"], "example": SCORED}}
    answers = _responses(scored, 401, 408, 413, 415, 429, 503)
    answers["200"]["headers"] = {"X-Model": {"schema": {"type": "string"}}, "X-Warnings": {"schema": WARNINGS_HEADER}}
    return {
        "operationId": "score",
        "summary": "Score a table",
        "description": (
            f"CSV or Parquet, up to {LARGEST_TABLE >> 20} MiB, as the body or as the only file of a form, with the "
            "columns [id,][label,]pixel1,...,pixel784; Parquet also with 784 bytes or numbers an image in the column "
            "pixels, or with picture files in the column image. "
            "Answered in kind, a row for each in its order: id, label, name, confidence, sure, model, reason. A row "
            "that cannot be read has nothing but its id, where that can be, and the reason. It comes while later "
            "rows are scored; one that is cut off is not whole. What is unusual about the first rows is in the header "
            "X-Warnings; rows that cannot be right (inverted, no pixel above 1) are refused with 400."
        ),
        "parameters": [REJECTS, DROP],
        "requestBody": {"required": True, "content": {**table, "application/x-parquet": parquet, **form}},
        "responses": answers,
    }


def _correct() -> dict[str, Any]:
    return {
        "operationId": "correct",
        "summary": "Say which class an image has",
        "description": "Kept for a person to import, where the service takes corrections; nothing is learned at once.",
        "requestBody": {"required": True, "content": _json("Correction")},
        "responses": _responses(_json("Corrected"), 401, 408, 413, 415, 429, 503, 507),
    }


def _model() -> dict[str, Any]:
    return {
        "operationId": "model",
        "summary": "Which model answers, and what is known of it",
        "responses": _responses(_json("Model"), 401, 503),
    }


def _health(summary: str, refusals: dict[int, str]) -> dict[str, Any]:
    refused = {str(status): {"description": reason} for status, reason in refusals.items()}
    responses = {"200": {"description": "Yes, or the text."}, **_refusals(), **refused}
    return {"get": {"summary": summary, "responses": responses}}
