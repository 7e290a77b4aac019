"""The OpenAPI document, built from the message types and the live model's contract."""

from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from components.catalogues import OFFICIAL
from components.contract import DataContract, ImageSpec, fingerprint_of
from components.readers import formats
from components.readers.images.pixel_json import MAX_IMAGES
from serving import messages
from serving.bodies import LARGEST_JSON, LARGEST_TABLE, LARGEST_UPLOAD, PICTURES
from serving.forms import MAX_FILES
from serving.neighbours import MOST, MOST_FOUND
from serving.review_api import MESSAGES, review_examples, review_paths

REFUSALS = {
    400: "Invalid request. `field` names the part that is invalid.",
    401: "Missing or invalid bearer token.",
    403: "Unknown Host or Origin, or corrections or the review queue are disabled.",
    408: "The body was not received in time.",
    409: "The live model has different classes than the caller expects, or there is no index for the request.",
    410: "Another person has the image or decided about it, or it is no longer kept.",
    413: "Too many bytes, images, files, pixels or neighbours.",
    414: "The URL is too long.",
    415: "Unsupported content type or content encoding.",
    417: "Unsupported Expect header; only 100-continue is supported.",
    429: "The service is at capacity. Retry later.",
    431: "The headers are too large, or there are too many.",
    501: "Unsupported transfer encoding; only chunked is supported.",
    503: "No model is live, an index is being prepared, or the service is shutting down. Retry later.",
    505: "Unsupported HTTP version.",
    507: "The inbox for corrections is full.",
}
ANY_REQUEST = (400, 403, 414, 417, 431, 501, 505)
WITH_BODY = (401, 408, 413, 415, 429, 503)
WITH_MODEL = (*WITH_BODY, 409)
BINARY = {"type": "string", "format": "binary"}
FLAG = {"type": "string", "enum": ["true", "false"], "default": "false"}
TAG = "fashion-mlp:ab3xv7a4kcuwmcgh"
WARNINGS_HEADER = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": 'Warnings about the first rows, [{"kind": ..., "reason": ...}]. Omitted if there are none.',
}


@lru_cache(maxsize=1)  # building it takes 0.3 s
def describe_api(contract: DataContract) -> dict[str, Any]:
    """Build the OpenAPI 3.1 document for a live model with this contract."""
    image, examples = contract.image, _examples(contract)
    number = len(contract.classes)
    size = f"{image.height} x {image.width} {'grey' if image.channels == 1 else 'RGB'} pixels"
    top = _query(
        "top",
        "Number of most likely classes to include in `top`, most likely first.",
        {"type": "integer", "minimum": 0, "maximum": number, "default": 0},
    )

    expected = _query(
        "classes",
        "Expected `classes_fingerprint` from GET /model, alternatively in the X-Classes header. If the live model has "
        "different classes, the response is 409.",
        {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    )

    because = _query(
        "because",
        f"Number of nearest training images to include in `because`, at most {MOST_FOUND} in a response. 409 if they "
        "are not available, 503 while their index is being built.",
        {"type": "integer", "minimum": 0, "maximum": MOST, "default": 0},
    )

    def content(name: str) -> dict[str, Any]:
        schema = {"$ref": f"#/components/schemas/{name}"}
        return {"application/json": {"schema": schema, "example": examples[name]}}

    def refusals(*statuses: int) -> dict[str, Any]:
        every = sorted({*ANY_REQUEST, *statuses})
        return {str(status): {"description": REFUSALS[status], "content": content("Error")} for status in every}

    def operation(
        name: str, summary: str, description: str, success: dict[str, Any], statuses: tuple[int, ...], **more: Any
    ) -> dict[str, Any]:
        responses = {"200": {"description": "Success.", "content": success}, **refusals(*statuses)}
        return {"operationId": name, "summary": summary, "description": description, "responses": responses, **more}

    def health(summary: str, **refused: dict[str, str]) -> dict[str, Any]:
        responses = {"200": {"description": "Success."}, **refusals(), **refused}
        return {"get": {"summary": summary, "responses": responses}}

    text, binary = {"schema": {"type": "string"}}, {"schema": BINARY}
    table = {kind: text if kind.startswith("text/") else binary for kind in formats.media_types()}
    results = {kind: table[kind] for kind in (formats.CSV.media_types[0], formats.PARQUET.media_types[0])}
    score = operation(
        "score",
        "Classify the rows of a table",
        f"{_describe_tables(contract)} "
        "The response has the same format and one row per input row, in order: id, label, name, confidence, sure, "
        "known, familiarity, model, reason. `known` and `familiarity` are empty if the model does not detect unknown "
        "images. A row that cannot be read has only its id, if readable, and the reason. The response is streamed: if "
        "the connection closes before its end, it is incomplete. Warnings about the first rows are in the X-Warnings "
        "header. A table whose first rows are clearly wrong (inverted, or no pixel above 1) is refused with 400.",
        {**results, "text/csv": {**text, "example": _scored(contract)}},
        WITH_MODEL,
        parameters=[
            expected,
            _query("rejects", "Return only the rejected rows: position, reason and original content.", FLAG),
            _query(
                "drop",
                "A column to ignore. `pixels` stands for all pixel columns.",
                {"type": "array", "items": {"type": "string"}},
            ),
        ],
        requestBody=_body({**table, **_form("file", BINARY, ", ".join(results))}),
    )
    score["responses"]["200"]["headers"] = {
        "X-Model": {"schema": {"type": "string"}},
        "X-Warnings": {"schema": WARNINGS_HEADER},
    }
    files = {"type": "array", "items": BINARY, "minItems": 1, "maxItems": MAX_FILES}
    pictures = _body({**_form("files", files, ", ".join(PICTURES)), **{kind: {"schema": BINARY} for kind in PICTURES}})
    paths = {
        "/predict": {
            "post": operation(
                "predict",
                "Classify vectors" if contract.embedding else f"Classify images of {size}",
                _describe_pixels(contract),
                content("Predictions"),
                WITH_MODEL,
                parameters=[top, expected, because],
                requestBody=_body(
                    {
                        **({} if contract.embedding else content("PixelRequest")),
                        "application/octet-stream": {"schema": BINARY},
                    }
                ),
            )
        },
        "/classify": {
            "post": operation(
                "classify",
                "Classify photos",
                f"Send at most {MAX_FILES} image files and {LARGEST_UPLOAD >> 20} MiB as a form, or one file as the "
                "body.",
                content("Predictions"),
                WITH_MODEL,
                parameters=[
                    top,
                    expected,
                    _query("seen", f"Return the model's input image ({size}) as a PNG.", FLAG),
                    because,
                ],
                requestBody=pictures,
            )
        },
        "/similar": {
            "post": operation(
                "similar",
                "Find similar items of a catalogue",
                "Find the items most like each picture in the catalogue that `fashion similar build` indexed with the "
                "live model. Send pictures as for /classify.",
                content("Similar"),
                WITH_MODEL,
                parameters=[
                    _query("count", "Items for each picture.", {"type": "integer", "minimum": 1, "maximum": MOST}),
                    expected,
                ],
                requestBody=pictures,
            )
        },
        "/score": {"post": score},
        "/corrections": {
            "post": operation(
                "correct",
                "Correct a prediction",
                "Save the correct class of an image for later import, if corrections are enabled. `none of these` "
                "marks an image of none of the classes, which is kept for review. This does not change the live model.",
                content("Corrected"),
                (*WITH_BODY, 507),
                requestBody=_body(content("Correction")),
            )
        },
        **review_paths(operation, content, WITH_BODY),
        "/model": {
            "get": operation(
                "model", "Describe the live model", "Its tag, metrics and classes.", content("Model"), (401, 503)
            )
        },
        "/examples": {
            "get": operation(
                "examples",
                "Example images",
                "Images to try the live model with: of Fashion-MNIST's test split, or synthetic for a model of the "
                "synthetic sample. Empty for a catalogue of your own.",
                content("Examples"),
                (401, 503),
            )
        },
        "/readyz": health("Readiness probe", **{"503": {"description": "No model is live; the body has the reason."}}),
        "/livez": health("Liveness probe"),
        "/metrics": health("Metrics in the Prometheus text format"),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fashion",
            "version": "1",
            "description": f"Classify product photos into {number} categories. Every response names the model used.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(contract),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _describe_tables(contract: DataContract) -> str:
    size = contract.image.size
    sent = f"of at most {LARGEST_TABLE >> 20} MiB, as the body or as a form's only file, with"
    if contract.embedding:
        return f"Send Parquet {sent} an `image` column with encoded image files, and [id,][label,]."
    return (
        f"Send CSV or Parquet {sent} the columns [id,][label,]pixel1,...,pixel{size}. In Parquet, a `pixels` column "
        f"with {size} bytes or numbers per image, or an `image` column with encoded image files, also works."
    )


def _describe_pixels(contract: DataContract) -> str:
    size, sent = contract.image.size, f"Send at most {MAX_IMAGES:,} images and {LARGEST_JSON >> 20} MiB, as"
    if contract.embedding:
        return (
            f"{sent} raw bytes: for each, a small picture of {size} bytes in row-major order, then a vector of "
            f"{contract.embedding.size} float32, little-endian, by {contract.embedding}. For photos, use /classify."
        )
    return (
        f"{sent} JSON or as raw bytes: {size} bytes per image in row-major order. Images that are clearly wrong (most "
        "are inverted, or no pixel is above 1) are refused with 400."
    )


class _Untitled(GenerateJsonSchema):
    """Generates schemas without titles, which only repeat the field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schemas(contract: DataContract) -> dict[str, JsonSchemaValue]:
    """Schemas of all messages, with the class names and sizes of the contract."""
    kinds = (
        *("Error", "Predictions", "Similar", "Model", "Examples", "PixelRequest", "Correction", "Corrected"),
        *MESSAGES,
    )
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
    """Schema of an image, flat or nested."""

    def nested(*sizes: int) -> JsonSchemaValue:
        if not sizes:
            return {"type": "integer", "minimum": 0, "maximum": 255}
        return {"type": "array", "items": nested(*sizes[1:]), "minItems": sizes[0], "maxItems": sizes[0]}

    shape = " x ".join(map(str, image.shape))
    description = f"Pixel values as nested lists ({shape}) or a flat list of {image.size}, from 0 (black) to 255."
    return {"description": description, "oneOf": [nested(image.size), nested(*image.shape)]}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": content}


def _form(field: str, schema: dict[str, Any], kinds: str) -> dict[str, Any]:
    form = {"type": "object", "properties": {field: schema}, "required": [field], "additionalProperties": False}
    return {"multipart/form-data": {"schema": form, "encoding": {field: {"contentType": kinds}}}}


def _draw_box(image: ImageSpec) -> list[int]:
    """A flattened image of a bright box on black."""
    box = np.zeros(image.shape, np.uint8)
    box[image.height // 4 : -(image.height // 4), image.width // 4 : -(image.width // 4)] = 210
    flat: list[int] = box.ravel().tolist()
    return flat


def _examples(contract: DataContract) -> dict[str, Any]:
    """An example of each message."""
    first, last = 0, len(contract.classes) - 1
    probabilities = [0.018] + [0] * (last - 1) + [0.982]
    prediction = {
        "label": last,
        "name": contract.classes[last],
        "confidence": 0.982,
        "sure": True,
        "known": True,
        "familiarity": 0.64,
    }
    box = _draw_box(contract.image)
    near = {"id": "a1", "row": 0, "name": contract.classes[last], "distance": 1.25, "image": "data:image/png;base64,"}
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
        "Similar": {
            "model": TAG,
            "catalogue": {"source": "/data/catalogue.csv", "items": 60_000, "built_at": "2026-11-21T02:31:00+00:00"},
            "results": [{"file": "photo.jpg", "similar": [near]}],
        },
        "Correction": {
            "label": contract.classes[first],
            "said": contract.classes[last],
            "model": TAG,
            **({"seen": "data:image/png;base64,"} if contract.embedding else {"image": box}),
        },
        "Examples": {"examples": []},
        "Corrected": {"label": first, "name": contract.classes[first]},
        **review_examples(contract, TAG),
        "Model": {
            "model": TAG,
            "live_since": "2026-11-21T02:30:00+00:00",
            "follows_pointer": True,
            "problem": None,
            "preset": "flagship",
            "source": contract.name,
            "dataset_version": "5bacf4d965889a6f",
            "test_accuracy": 0.9369,
            "test_accuracy_interval": [0.932, 0.9415],
            "coverage": 0.86,
            "sure_accuracy": 0.97,
            "unknown_rate": 0.05,
            "test_unknown_rate": 0.049,
            "created_at": "2026-11-21T02:29:40+00:00",
            "takes_corrections": False,
            "gives_reasons": True,
            "takes_drawings": contract.preparation_family == OFFICIAL.contract.preparation_family,
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
        "id,label,name,confidence,sure,known,familiarity,model,reason\n"
        f"a1,{last},{quoted},0.982000,yes,yes,0.640000,{TAG},\n"
        "a2,,,,,,,,pixel3: '300' is not a whole number from 0 to 255\n"
    )
