"""POST /corrections: what a person says of an image that the model named otherwise, kept for somebody to import.

Off unless `FASHION_CORRECTIONS_DIR` names a folder. Whoever may ask the service may correct it: the door's rules are
the same for all endpoints, and as the body must be JSON, no page of a stranger's can send one unasked. Nothing is
learned from a correction here.
"""

import base64
import binascii
import json
import logging
import os
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response

from components.contract import DataContract
from components.dataset.labels.corrections import MOST, Correction, InboxFull, read_class, write_correction
from components.errors import InputError
from components.readers.images.photos import is_small, read_photo
from components.readers.images.pixel_json import read_pixel_json
from serving.bodies import expect_type, read_body
from serving.errors import RETRY_AFTER, Refusal, json_response
from serving.live import served

log = logging.getLogger("bentoml.fashion")

OVERHEAD, OF_A_NUMBER = 12 << 10, 5  # bytes of a correction: names and tags, and each number of its image
MAX_A_MINUTE = 60  # of each worker
FIELDS = ("label", "said", "model", "seen", "image")
PNG = "data:image/png;base64,"

lately: deque[float] = deque(maxlen=MAX_A_MINUTE)  # when the last ones were taken, seconds of the monotonic clock


def corrections_folder() -> Path | None:
    """Where they are kept; None: they are not taken."""
    chosen = os.environ.get("FASHION_CORRECTIONS_DIR", "off")
    return None if chosen in {"", "off"} else Path(chosen)


async def correct(request: Request) -> Response:
    """POST /corrections"""
    folder = corrections_folder()
    if folder is None:
        raise Refusal(403, "service", "it takes no corrections; FASHION_CORRECTIONS_DIR is not set")
    expect_type(request, "application/json")
    contract = served.get().contract
    correction = _read(await read_body(request, OVERHEAD + OF_A_NUMBER * contract.image.size), contract)
    now = time.monotonic()
    if len(lately) == MAX_A_MINUTE and now - lately[0] < 60:
        raise Refusal(
            429, "request", f"more than {MAX_A_MINUTE} corrections a minute; come back", {"Retry-After": "60"}
        )
    lately.append(now)
    try:
        await anyio.to_thread.run_sync(write_correction, folder, correction, contract)
    except InboxFull as error:
        raise Refusal(507, "service", f"{MOST:,} corrections wait to be imported; no more are taken") from error
    except OSError as error:
        log.error("a correction could not be kept: %s", error)
        raise Refusal(
            503, "service", "the correction could not be kept; the service's log has it", RETRY_AFTER
        ) from error
    return json_response({"label": correction.label, "name": contract.classes[correction.label]})


def _read(body: bytes, contract: DataContract) -> Correction:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("body", f"not JSON: {error}") from error
    if not isinstance(told, dict):
        raise InputError("body", "expected an object")
    if unknown := [name for name in told if name not in FIELDS]:
        raise InputError(unknown[0][:40], f"an unknown field; expected {', '.join(FIELDS)}")
    _refuse_repeated(body)
    label, said = (read_class(told.get(name), name, contract) for name in ("label", "said"))
    model = told.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= 100:
        raise InputError("model", "expected the tag that the answer named")
    return Correction(_read_pixels(told, contract), label, said, model)


def _refuse_repeated(body: bytes) -> None:
    """Of several fields of one name the parser takes the last."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        if repeated := [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]:
            raise InputError(repeated[0][:40], "found more than once, expected once")

    try:
        json.loads(body, object_pairs_hook=check)
    except RecursionError as error:
        raise InputError("body", "lists in too many lists") from error


def _read_pixels(told: dict[str, Any], contract: DataContract) -> bytes:
    """The bytes of an image, of the picture that an answer showed or of an image as for /predict."""
    if ("seen" in told) == ("image" in told):
        raise InputError(
            "seen", "expected either seen, as /classify?seen=true gives it, or image, as /predict takes it"
        )
    if "image" in told:
        return read_pixel_json(orjson.dumps({"images": [told["image"]]}), contract.image).tobytes()
    seen = told["seen"]
    if not isinstance(seen, str) or not seen.startswith(PNG):
        raise InputError("seen", f"expected a text that begins with {PNG}")
    try:
        content = base64.b64decode(seen.removeprefix(PNG), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("seen", f"not base64: {error}") from error
    if not is_small(content, contract.image):
        image = contract.image
        raise InputError("seen", f"expected a PNG of {image.height} x {image.width} pixels")
    return read_photo(content, contract, "seen").tobytes()
