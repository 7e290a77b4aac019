"""POST /corrections: save a person's label for a misclassified image, to be imported later.

Disabled unless `FASHION_CORRECTIONS_DIR` names a folder. Anyone with access to the service may send corrections: the
gateway applies the same rules to all endpoints, and because the body must be JSON, other websites cannot send one from
a visitor's browser. A correction does not change the model by itself.
"""

import base64
import binascii
import json
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response

from components.contract import DataContract
from components.dataset.labels.corrections import (
    MOST,
    NONE_OF_THESE,
    Correction,
    InboxFull,
    read_class,
    read_corrected,
    write_correction,
)
from components.errors import InputError
from components.readers.images.pixel_json import read_pixel_json
from components.readers.images.seen import read_seen
from components.readers.tables.columns import require_pixels
from serving.bodies import expect_type, read_body
from serving.errors import RETRY, RETRY_AFTER, Refusal, json_response
from serving.live import served

log = logging.getLogger("bentoml.fashion")

OVERHEAD, BYTES_PER_VALUE = 12 << 10, 5  # bytes of a correction: names and tags, and each pixel value
MAX_PER_MINUTE = 60  # per worker
FIELDS = ("label", "said", "model", "seen", "image")
PNG = "data:image/png;base64,"

recent: deque[float] = deque(maxlen=MAX_PER_MINUTE)  # times of the last corrections, monotonic seconds


def corrections_folder() -> Path | None:
    """Folder where corrections are saved, or None if they are disabled."""
    chosen = os.environ.get("FASHION_CORRECTIONS_DIR", "off")
    return None if chosen in {"", "off"} else Path(chosen)


async def correct(request: Request) -> Response:
    """POST /corrections"""
    folder = corrections_folder()
    if folder is None:
        raise Refusal(403, "service", "corrections are disabled; set FASHION_CORRECTIONS_DIR to enable them")
    expect_type(request, "application/json")
    contract = served.get().contract
    correction = _read(await read_body(request, OVERHEAD + BYTES_PER_VALUE * contract.dtype.itemsize), contract)
    now = time.monotonic()
    if len(recent) == MAX_PER_MINUTE and now - recent[0] < 60:
        reason = f"more than {MAX_PER_MINUTE} corrections per minute; {RETRY}"
        raise Refusal(429, "request", reason, {"Retry-After": "60"})
    recent.append(now)
    try:
        await anyio.to_thread.run_sync(write_correction, folder, correction, contract)
    except InboxFull as error:
        raise Refusal(507, "service", f"the inbox is full: {MOST:,} corrections wait to be imported") from error
    except OSError as error:
        log.error("cannot save a correction: %s", error)
        raise Refusal(503, "service", "cannot save the correction; see the service log", RETRY_AFTER) from error
    name = NONE_OF_THESE if correction.label is None else contract.classes[correction.label]
    return json_response({"label": correction.label, "name": name})


def _read(body: bytes, contract: DataContract) -> Correction:
    fields = read_fields(body, FIELDS)
    said = read_class(fields.get("said"), "said", contract)
    label = read_corrected(fields.get("label"), contract)
    model = fields.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= 100:
        raise InputError("model", "expected the model tag of the response")
    return Correction(_read_pixels(fields, contract), label, said, model)


def read_fields(body: bytes, names: Sequence[str]) -> dict[str, Any]:
    """Parse a JSON object that has only these fields, each at most once.

    Raises:
        InputError: it is something else; names the field.
    """
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("body", f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InputError("body", "expected a JSON object")
    if unknown := [name for name in fields if name not in names]:
        raise InputError(unknown[0][:40], f"unknown field, expected {', '.join(names)}")
    _refuse_repeated(body)
    return fields


def _refuse_repeated(body: bytes) -> None:
    """Refuse duplicate fields, of which the parser would silently keep the last."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        if repeated := [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]:
            raise InputError(repeated[0][:40], "found more than once, expected once")

    try:
        json.loads(body, object_pairs_hook=check)
    except RecursionError as error:
        raise InputError("body", "JSON is nested too deeply") from error


def _read_pixels(fields: dict[str, Any], contract: DataContract) -> bytes:
    """Return the image bytes, from the `seen` picture of a response or from an `image` as sent to /predict."""
    if ("seen" in fields) == ("image" in fields):
        raise InputError(
            "seen", "expected exactly one of seen (from /classify?seen=true) and image (as sent to /predict)"
        )
    if "image" in fields:
        require_pixels(contract, "image")
        return read_pixel_json(orjson.dumps({"images": [fields["image"]]}), contract.image).tobytes()
    seen = fields["seen"]
    if not isinstance(seen, str) or not seen.startswith(PNG):
        raise InputError("seen", f"expected a string that starts with {PNG}")
    try:
        content = base64.b64decode(seen.removeprefix(PNG), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("seen", f"not base64: {error}") from error
    return read_seen(content, contract, "seen").tobytes()
