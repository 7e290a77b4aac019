"""Can these images be right? What is measured of an image, within which bounds, and what to say of one outside.

`inspect_images` answers in microseconds, of a single image too: for requests, and for files of few rows. Of the first
rows of a file Great Expectations judges the same measures within the same bounds (scoring/expectations.py). Neither
PyTorch nor pandas is imported here.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.catalogues.catalogue import InputBounds
from components.contract import Images
from components.errors import InputError
from components.readers.images.content import few_of, has_content, is_clear, is_one_clear
from components.readers.images.statistics import border_of, flatten, measure_images, sum_border

Kind = Literal["blank", "inverted", "scale", "dim", "unusual"]  # "unusual": of many rows only, see `expectations`
WRONG: tuple[Kind, ...] = ("scale", "inverted")  # where more than half of the images are so; the others are warnings
MULTIPLY = "pixels are 0 to 255: multiply those of 0 to 1 by 255"
INVERT = "the background must be black: send 255 minus each pixel"
TOLD: dict[Kind, str] = {
    "scale": f"no pixel above 1 in {{found}}; {MULTIPLY}",
    "inverted": f"a bright border in {{found}}; {INVERT}",
    "blank": "nothing but one colour or noise in {found}; the model is never sure of such an image",
    "dim": "no pixel above {dim:g} in {found}; pixels are 0 to 255: is this another scale?",
}


@dataclass(frozen=True)
class Finding:
    """Something about images that is wrong or unusual."""

    kind: Kind
    message: str  # what was found, and what to do about it
    is_wrong: bool  # whether nothing sensible can come of it
    images: tuple[int, ...] = ()  # of which ones, by position; () where it is of all of them together

    def to_json(self) -> dict[str, Any]:
        """As an answer over HTTP has it."""
        return {"kind": self.kind, "images": list(self.images), "reason": self.message}


def measure(images: Images) -> dict[str, NDArray[Any]]:
    """What the bounds are about: uint8 (n, height, width[, 3]) -> (n,) each of the names below.

    `content` is whether an image shows something, be it in pixels of 0 to 1.
    """
    measured = measure_images(images)
    in_shares = (measured["peak"] == 1) & (np.count_nonzero(flatten(images), axis=1) > few_of(images.shape[1:]))
    return {**measured, "content": has_content(images) | in_shares}


def inspect_images(images: Images, bounds: InputBounds) -> tuple[Finding, ...]:
    """What is wrong with images or unusual, as far as each shows it by itself.

    Wrong is what is so of more than half of the images and is never so of the catalogue's: an edge brighter than its
    bound, pixels of 0 to 1. Images that show nothing are never wrong, only not worth an answer.

    Args:
        images: uint8 (n, height, width[, 3]), n may be 0.
        bounds: what is usual.

    Returns:
        Nothing if all is well; then every image has content.
    """
    shape = images.shape[1:]
    most = bounds.edge * len(border_of(shape))
    if (
        len(images) == 1
        and is_one_clear(pixels := images.tobytes(), shape)
        and _sum_border_of_one(pixels, shape[1]) <= most
    ):
        return ()
    doubtful = np.flatnonzero(~is_clear(images) | (sum_border(images) > most))
    if not len(doubtful):
        return ()
    found = measure(images[doubtful])
    peak, content = found["peak"], found["content"]
    masks: dict[Kind, NDArray[np.bool_]] = {
        "scale": content & (peak < bounds.peak),
        "inverted": content & (found["edge"] > bounds.edge),
        "blank": ~content,
        "dim": content & (peak >= bounds.peak) & (peak < bounds.dim_peak),
    }
    if len(doubtful) == len(images) and peak.max() == 1 and np.count_nonzero(images) > few_of(shape):
        masks = {"scale": np.ones(len(images), bool)}  # many pixels of 0 to 1 become 0, and images blank
    return tuple(_describe(kind, doubtful[mask], len(images), bounds) for kind, mask in masks.items() if mask.any())


def refuse_wrong(findings: tuple[Finding, ...], field: str) -> None:
    """Raises InputError, naming `field`, where nothing sensible can come of the images."""
    if wrong := [one.message for one in findings if one.is_wrong]:
        raise InputError(field, "; ".join(wrong))


def _sum_border_of_one(pixels: bytes, row: int) -> int:
    """The same of one grey image's bytes, rows of so many, without NumPy."""
    return sum(pixels[:row]) + sum(pixels[-row:]) + sum(pixels[row:-row:row]) + sum(pixels[2 * row - 1 : -row : row])


def _describe(kind: Kind, images: NDArray[np.intp], total: int, bounds: InputBounds) -> Finding:
    found = "the image" if total == 1 else f"{len(images):,} of {total:,} images"
    message = TOLD[kind].format(found=found, dim=bounds.dim_peak)
    return Finding(kind, message, kind in WRONG and len(images) > bounds.wrong * total, tuple(images.tolist()))
