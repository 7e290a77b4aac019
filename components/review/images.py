"""The files of the queue: each has one image of the traffic, as the model saw it, and what the model answered.

    REVIEW/waiting/uncertain-1764547200123-5f0c1d2e3a4b5c6d-0931-9ab31f02.json

A name has the kind of the image, the time of the answer in milliseconds, the hash of the image, and its uncertainty in
thousandths. A file is written whole and never changed, so workers and people share the folder without a lock: see
`queue`.
"""

import base64
import binascii
import hashlib
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field

from components.contract import DataContract, Images, NonNegative, Predictions, Share
from components.errors import ReviewError
from components.files import DAY, whole_file
from components.records import read_file, read_record

Kind = Literal["random", "uncertain"]
Source = Literal["live", "scored"]  # a request to the service, or a row of a scored input
KINDS: tuple[Kind, ...] = ("random", "uncertain")
NAME = re.compile(r"(random|uncertain)-([0-9]{13})-([0-9a-f]{16})-([01][0-9]{3})-[0-9a-f]{8}\.json")
MOST_LIKELY = 10  # classes kept with an image
UNKNOWN = 500  # least uncertainty of an unknown image; most of them are of no class, so they do not come first
Rate = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Suggestion:
    """A class that the model considers, and its probability."""

    name: str
    probability: Share


@dataclass(frozen=True)
class ReviewImage:
    """An image that may be labelled."""

    kind: Kind
    source: Source
    time: NonNegative  # of the answer, seconds since 1970
    model: str  # exact tag
    top: Annotated[tuple[Suggestion, ...], Field(min_length=1)]  # the most likely classes, most likely first
    sure: bool
    known: bool | None  # None: the model cannot tell
    uncertainty: Annotated[int, Field(ge=0, le=1000)]  # see `measure_uncertainty`
    rate: Rate  # of a random image: probability with which images were kept at that time; else 1
    rank: Share  # of a random image: drawn uniformly from 0 to `rate`; they are shown in this order
    network: str | None  # SHA-256 of the frozen network, if the contract has one
    pixels: str  # one image of the contract's dtype, base64

    @property
    def said(self) -> str:
        """The class that the model named."""
        return self.top[0].name

    def to_bytes(self) -> bytes:
        """The image's bytes. Raises ValueError if the pixels are not base64."""
        return base64.b64decode(self.pixels, validate=True)

    def to_image(self, contract: DataContract) -> Images | None:
        """The image, (1,), or None if its size or its network is not that of the contract."""
        expected = contract.embedding.sha256 if contract.embedding else None
        pixels = self.to_bytes()
        if self.network != expected or len(pixels) != contract.dtype.itemsize:
            return None
        return np.frombuffer(pixels, contract.dtype)


def make_review_image(
    kind: Kind,
    source: Source,
    when: float,
    predictions: Predictions,
    row: int,
    image: Images,
    drawn: tuple[float, float],
    network: str | None,
) -> ReviewImage:
    """Copy an image and its row of the predictions.

    Args:
        kind: why it is kept.
        source: where it comes from.
        when: time of the answer, seconds since 1970.
        predictions: of n images.
        row: the image's row.
        image: of the contract's dtype, without the leading axis.
        drawn: `rate` and `rank`.
        network: SHA-256 of the frozen network, if there is one.
    """
    probabilities = predictions.probabilities[row]
    likeliest = np.argsort(-probabilities, kind="stable")[:MOST_LIKELY].tolist()
    return ReviewImage(
        kind=kind,
        source=source,
        time=when,
        model=predictions.model,
        top=tuple(Suggestion(predictions.classes[label], _to_share(probabilities[label])) for label in likeliest),
        sure=bool(predictions.sure[row]),
        known=None if predictions.known is None else bool(predictions.known[row]),
        uncertainty=int(measure_uncertainty(predictions, np.array([row]))[0]),
        rate=drawn[0],
        rank=drawn[1],
        network=network,
        pixels=base64.b64encode(image.tobytes()).decode(),
    )


def measure_uncertainty(predictions: Predictions, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """1 minus the margin between the two most likely classes of some rows, in thousandths, (rows,), 0 to 1,000."""
    top = np.partition(predictions.probabilities[rows], -2, axis=1)[:, -2:]
    uncertainty: NDArray[np.intp] = np.rint(np.clip(1000 * (1 - (top[:, 1] - top[:, 0])), 0, 1000)).astype(np.intp)
    if predictions.known is not None:
        np.maximum(uncertainty, UNKNOWN, out=uncertainty, where=~predictions.known[rows])
    return uncertainty


def _to_share(value: np.float32) -> float:
    return min(1.0, max(0.0, round(float(value), 6)))


def write_review_image(folder: Path, image: ReviewImage) -> None:
    """Write an image under a name of its own.

    The file is not flushed to disk, which takes as long as thousands of predictions. One that a power cut damages is
    found by its hash when it is read.

    Raises:
        OSError: the folder is not writable.
    """
    pixels, own = _hash_of(image.to_bytes()), secrets.token_hex(4)
    name = f"{image.kind}-{int(image.time * 1000):013d}-{pixels}-{image.uncertainty:04d}-{own}.json"
    with whole_file(folder / name, flush=False) as path:
        path.write_bytes(orjson.dumps(asdict(image)))


def read_review_image(path: Path, name: str) -> ReviewImage:
    """Read the image called `name`, which may be in a file with a longer name.

    Raises:
        FileNotFoundError: another process has moved or removed it.
        ReviewError: the content is damaged, or is that of another name.
    """
    image = read_record(ReviewImage, read_file(path, ReviewError), path, ReviewError)
    try:
        found = _hash_of(image.to_bytes())
    except (binascii.Error, ValueError) as error:
        raise ReviewError(f"{path}: pixels: not base64: {error}. Remove this file") from error
    if (expected := hash_in(name)) != found:
        raise ReviewError(f"{path}: damaged: its pixels have the hash {found}, expected {expected}. Remove this file")
    return image


def _hash_of(pixels: bytes) -> str:
    return hashlib.sha256(pixels).hexdigest()[:16]


def kind_in(name: str) -> Kind:
    """The kind of the image in a file with this name."""
    return "random" if name.startswith("random") else "uncertain"


def time_in(name: str) -> float:
    """When the image in a file with this name was answered, seconds since 1970."""
    return int(name.split("-")[1]) / 1000


def hash_in(name: str) -> str:
    """The hash of the image in a file with this name, 16 hex digits: those that its correction has too."""
    return name.split("-")[2]


def uncertainty_in(name: str) -> int:
    """The uncertainty of the image in a file with this name, in thousandths."""
    return int(name.split("-")[3])


def list_names(folder: Path, kind: Kind | None = None) -> list[str]:
    """The names of the images in a folder, which need not exist, oldest first; of one kind, or of both."""
    with suppress(FileNotFoundError):
        every = os.listdir(folder)  # noqa: PTH208, much faster than objects
        names = [name for name in every if name.startswith(kind or KINDS) and NAME.fullmatch(name)]
        return sorted(names, key=lambda name: name.split("-")[1])  # 13 digits, so they sort as text
    return []


def remove_old(folder: Path, kind: Kind | None, most: int, days: float) -> list[str]:
    """Remove images that are too old, and those beyond a number: the oldest, or the least uncertain of the uncertain.

    Args:
        folder: need not exist.
        kind: of the images to count and to remove; None: both, whose oldest go.
        most: number of images that may stay.
        days: age that they may have.

    Returns:
        The names of those that stay, the next to be removed first.
    """
    names, oldest = list_names(folder, kind), time.time() - days * DAY
    stay = [name for name in names if time_in(name) >= oldest]
    if kind == "uncertain":
        stay.sort(key=uncertainty_in)  # stable: the oldest first among equals
    stay = stay[max(0, len(stay) - most) :]
    for name in set(names) - set(stay):
        (folder / name).unlink(missing_ok=True)
    return stay
