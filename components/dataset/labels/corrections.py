"""Corrections from the web page: small JSON files that contain the image as the model saw it.

    {"time": "2026-11-21T09:30:00+00:00", "model": "fashion-mlp:...", "said": "<class>", "label": "<class>",
     "pixels": "<row-major bytes as base64>"}

With a frozen network, the image is a record of a picture and a vector, and "network" has the SHA-256 of the network.

The service only writes these files; `fashion label import` checks and imports them.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from components.contract import DataContract
from components.errors import InputError, UnknownClass
from components.files import write_whole

MOST = 10_000  # files in the folder: 20 MB of the smallest images
NONE_OF_THESE = "none of these"  # label of an image of none of the classes; a class of that name takes precedence
OVERHEAD = 3128  # maximum bytes of a correction besides its image


@dataclass(frozen=True)
class Correction:
    """A user's correction of a prediction."""

    pixels: bytes  # one image of the contract's dtype
    label: int | None  # the correct label; None: none of the classes
    said: int  # the predicted label
    model: str  # the model's tag


class InboxFull(Exception):
    """The inbox has the maximum number of corrections; import some first."""


def write_correction(folder: Path, correction: Correction, contract: DataContract) -> None:
    """Write a correction to the inbox. It replaces an earlier one for the same image.

    Raises:
        InboxFull: the inbox has 10,000 corrections.
        OSError: the folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"correction-{hashlib.sha256(correction.pixels).hexdigest()[:16]}.json"
    if not path.exists() and sum(1 for _ in folder.glob("correction-*.json")) >= MOST:
        raise InboxFull
    record = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": correction.model,
        "said": contract.classes[correction.said],
        "label": NONE_OF_THESE if correction.label is None else contract.classes[correction.label],
        "pixels": base64.b64encode(correction.pixels).decode(),
    }
    if contract.embedding:
        record["network"] = contract.embedding.sha256
    write_whole(path, orjson.dumps(record) + b"\n")


def largest_of(contract: DataContract) -> int:
    """The maximum size of a correction, in bytes."""
    return 4 * -(-contract.dtype.itemsize // 3) + OVERHEAD


def read_correction(content: bytes, contract: DataContract) -> Correction:
    """Parse an untrusted correction.

    Raises:
        InputError: names the invalid field and the reason.
    """
    if len(content) > (largest := largest_of(contract)):
        raise InputError("correction", f"larger than {largest:,} bytes")
    try:
        record = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InputError("correction", f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputError("correction", "expected a JSON object")
    said, label = read_class(record.get("said"), "said", contract), read_corrected(record.get("label"), contract)
    if record.get("network") != (expected := contract.embedding.sha256 if contract.embedding else None):
        found = str(record.get("network"))[:16]
        raise InputError("network", f"found {found}, expected {str(expected)[:16]}, the network of {contract.name}")
    pixels = _read_pixels(record.get("pixels"), contract.dtype.itemsize)
    return Correction(pixels, label, said, str(record.get("model"))[:100])


def read_corrected(value: object, contract: DataContract) -> int | None:
    """Read the label of a correction: a class by name or number, or None for `NONE_OF_THESE`.

    Raises:
        UnknownClass: it is neither.
    """
    if value == NONE_OF_THESE and contract.label_of_cell(value) is None:
        return None
    return read_class(value, "label", contract)


def read_class(value: object, field: str, contract: DataContract) -> int:
    """Parse a class name or number.

    Raises:
        UnknownClass: neither matches a class.
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
        raise InputError("pixels", f"found {len(pixels)} bytes, expected {size} as base64")
    return pixels
