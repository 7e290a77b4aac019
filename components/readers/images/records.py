"""Images of a catalogue with a frozen network as bytes: records of a small picture and a vector, concatenated."""

import numpy as np

from components.contract import DataContract, Images
from components.errors import InputError, InputTooLarge
from components.readers.images.pixel_json import MAX_IMAGES


def read_records(body: bytes, contract: DataContract) -> Images:
    """Read the images of a request.

    Returns:
        Records, (n,), n from 1 to 1,024.

    Raises:
        InputError: the body is not a multiple of a record's size, or a vector is not finite.
        InputTooLarge: more than 1,024 records.
    """
    size = contract.dtype.itemsize
    if not body or len(body) % size:
        raise InputError(
            "body",
            f"found {len(body):,} bytes, expected a multiple of a record's {size:,}. Send photos to /classify",
        )
    if len(body) > MAX_IMAGES * size:
        most = f"expected at most {MAX_IMAGES:,} per request"
        raise InputTooLarge("body", f"found {len(body) // size:,} records, {most}")
    found = np.frombuffer(body, contract.dtype)
    finite = np.isfinite(found["vector"]).all(axis=1)
    if not finite.all():
        raise InputError("body", f"record {finite.argmin()}: found a vector that is not finite")
    return found
