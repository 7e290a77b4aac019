"""One correction, as the web page records it: a small file of JSON, whose image is what the model saw.

    {"time": "2026-11-21T09:30:00+00:00", "model": "fashion-mlp:...", "said": "Shirt", "label": "Coat",
     "pixels": "<784 bytes as base64>"}

The service writes them into a folder and does no more; `fashion label import` decides what becomes of them.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from components.catalogues.fashion_mnist import CLASSES, PIXELS, label_of
from components.errors import InputError
from components.files import write_whole

MOST = 10_000  # files in the folder: 20 MB
LARGEST = 4096  # bytes of one


@dataclass(frozen=True)
class Correction:
    """What a person says of an image that a model named otherwise."""

    pixels: bytes  # 784
    label: int  # the right one
    said: int  # the model's
    model: str  # its tag


class InboxFull(Exception):
    """No further correction is taken until some were imported."""


def write_correction(folder: Path, correction: Correction) -> None:
    """Keep a correction. A later one of the same image takes its place.

    Raises:
        InboxFull: there are 10,000 already.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"correction-{hashlib.sha256(correction.pixels).hexdigest()[:16]}.json"
    if not path.exists() and sum(1 for _ in folder.glob("correction-*.json")) >= MOST:
        raise InboxFull
    told = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": correction.model,
        "said": CLASSES[correction.said],
        "label": CLASSES[correction.label],
        "pixels": base64.b64encode(correction.pixels).decode(),
    }
    write_whole(path, orjson.dumps(told) + b"\n")


def read_correction(content: bytes) -> Correction:
    """Read one back; it may have been written by anybody.

    Raises:
        InputError: with the field, and the reason.
    """
    if len(content) > LARGEST:
        raise InputError("correction", f"more than {LARGEST:,} bytes")
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InputError("correction", f"not JSON: {error}") from error
    if not isinstance(told, dict):
        raise InputError("correction", "expected an object")
    said, label = (read_class(told.get(name), name) for name in ("said", "label"))
    return Correction(_read_pixels(told.get("pixels")), label, said, str(told.get("model"))[:100])


def read_class(value: object, field: str) -> int:
    """A class by name or number.

    Raises:
        InputError: neither.
    """
    label = label_of(str(value).strip()) if type(value) in (str, int) else None
    if label is None:
        raise InputError(field, f"found {str(value)[:40]!r}, expected 0 to 9 or one of {', '.join(CLASSES)}")
    return label


def _read_pixels(value: object) -> bytes:
    try:
        pixels = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise InputError("pixels", f"not base64: {error}") from error
    if len(pixels) != PIXELS:
        raise InputError("pixels", f"{len(pixels)} bytes, expected {PIXELS} as base64")
    return pixels
