"""What a worker sends to its candidate, and what it gets back: a line of JSON, in one direction followed by images."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from components.contract import Images


@dataclass(frozen=True)
class Batch:
    """Images that a champion answered, with its answers for the n photos."""

    champion: str  # exact tag
    classes: tuple[str, ...]  # of the champion, by label
    labels: list[int]  # (n,)
    confidences: list[float]  # (n,)
    sure: list[bool]  # (n,)
    times: list[float]  # (n,), seconds since 1970
    views: list[int]  # (n,), images per photo
    kind: str  # dtype of an image, see `kind_of`
    flips: str  # path of the file of flips
    keep_images: int  # pictures per pair of labels


def kind_of(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> str:
    """A description of one image, equal if and only if two kinds of images are."""
    return f"{dtype.descr if dtype.names else dtype.str} {shape}"


def encode_batch(batch: Batch, images: Images) -> bytes:
    """The line and the images.

    Args:
        batch: the answers.
        images: all views of the first photo, then of the second, and so on.
    """
    content = images.tobytes()
    return orjson.dumps({"batch": batch, "bytes": len(content)}) + b"\n" + content


def read_batch(stream: BinaryIO) -> tuple[Batch, bytearray] | None:
    """Read a batch and the bytes of its images; None at the end of the stream."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = orjson.loads(line)
    content = bytearray(header["bytes"])
    if stream.readinto(content) != len(content):  # type: ignore[attr-defined]  # of a buffered stream: all or the end
        return None
    fields = header["batch"]
    return Batch(**{**fields, "classes": tuple(fields["classes"])}), content


def to_images(content: bytearray, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The images, (n,), from their bytes."""
    return np.frombuffer(content, dtype)
