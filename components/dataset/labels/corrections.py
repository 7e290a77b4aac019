"""One correction, as the web page records it: a small file of JSON, whose image is what the model saw.

    {"time": "2026-11-21T09:30:00+00:00", "model": "fashion-mlp:...", "said": "<class>", "label": "<class>",
     "pixels": "<its numbers, row by row, as base64>"}

The service writes them into a folder and does no more; `fashion label import` decides what becomes of them.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from components.contract import DataContract, ImageSpec
from components.errors import InputError, UnknownClass
from components.files import write_whole

MOST = 10_000  # files in the folder: 20 MB of the smallest images
BESIDE = 3048  # bytes of one that are not its image


@dataclass(frozen=True)
class Correction:
    """What a person says of an image that a model named otherwise."""

    pixels: bytes  # of one image, row by row
    label: int  # the right one
    said: int  # the model's
    model: str  # its tag


class InboxFull(Exception):
    """No further correction is taken until some were imported."""


def write_correction(folder: Path, correction: Correction, contract: DataContract) -> None:
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
        "said": contract.classes[correction.said],
        "label": contract.classes[correction.label],
        "pixels": base64.b64encode(correction.pixels).decode(),
    }
    write_whole(path, orjson.dumps(told) + b"\n")


def largest_of(image: ImageSpec) -> int:
    """How many bytes a correction may have."""
    return 4 * -(-image.size // 3) + BESIDE


def read_correction(content: bytes, contract: DataContract) -> Correction:
    """Read one back; it may have been written by anybody.

    Raises:
        InputError: with the field, and the reason.
    """
    if len(content) > (largest := largest_of(contract.image)):
        raise InputError("correction", f"more than {largest:,} bytes")
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InputError("correction", f"not JSON: {error}") from error
    if not isinstance(told, dict):
        raise InputError("correction", "expected an object")
    said, label = (read_class(told.get(name), name, contract) for name in ("said", "label"))
    return Correction(_read_pixels(told.get("pixels"), contract.image.size), label, said, str(told.get("model"))[:100])


def read_class(value: object, field: str, contract: DataContract) -> int:
    """A class by name or number.

    Raises:
        UnknownClass: neither.
    """
    label = contract.label_of_cell(value)
    if label is None:
        name = value.strip() if isinstance(value, str) else ""
        raise UnknownClass(field, f"found {str(value)[:40]!r}, expected {contract.choices}", name)
    return label


def _read_pixels(value: object, size: int) -> bytes:
    try:
        pixels = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise InputError("pixels", f"not base64: {error}") from error
    if len(pixels) != size:
        raise InputError("pixels", f"{len(pixels)} bytes, expected {size} as base64")
    return pixels
