"""The input sanity check for requests and small files: measures of an image, their bounds, and the messages.

`inspect_images` takes microseconds and works on a single image. For the first rows of larger files, Great Expectations
checks the same measures and bounds (scoring/expectations.py). This module imports neither PyTorch nor pandas.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.catalogues.catalogue import InputBounds
from components.contract import Images, pictures_of
from components.errors import InputError
from components.readers.images.content import few_of, has_content, is_clear, is_one_clear
from components.readers.images.statistics import border_of, flatten, measure_images, sum_border

Kind = Literal["blank", "inverted", "scale", "dim", "unusual"]  # "unusual" only for many rows, see `expectations`
WRONG: tuple[Kind, ...] = ("scale", "inverted")  # errors if they affect more than half of the images, else warnings
MULTIPLY = "pixels are 0 to 255: multiply those of 0 to 1 by 255"
INVERT = "the background must be black: send 255 minus each pixel"
MESSAGES: dict[Kind, str] = {
    "scale": f"no pixel above 1 in {{found}}; {MULTIPLY}",
    "inverted": f"a bright border in {{found}}; {INVERT}",
    "blank": "nothing but one colour or noise in {found}; the model abstains on such images",
    "dim": "no pixel above {dim:g} in {found}; pixels are 0 to 255. Check the scale",
}


@dataclass(frozen=True)
class Finding:
    """Something wrong or unusual about images."""

    kind: Kind
    message: str  # what was found, and what to do about it
    is_wrong: bool  # whether predictions would be meaningless
    images: tuple[int, ...] = ()  # indices of the affected images; () if the finding is about all images together

    def to_json(self) -> dict[str, Any]:
        """The finding as in an HTTP response."""
        return {"kind": self.kind, "images": list(self.images), "reason": self.message}


def measure(images: Images) -> dict[str, NDArray[Any]]:
    """Measure images: uint8 (n, height, width[, 3]) -> (n,) for each measure that has bounds.

    `content` is whether an image is not blank, including images with pixels from 0 to 1.
    """
    measured = measure_images(images)
    in_shares = (measured["peak"] == 1) & (np.count_nonzero(flatten(images), axis=1) > few_of(images.shape[1:]))
    return {**measured, "content": has_content(images) | in_shares}


def inspect_images(images: Images, bounds: InputBounds) -> tuple[Finding, ...]:
    """Find what is wrong or unusual about images, judging each image by itself.

    Images are wrong if more than half of them have a border brighter than its bound or pixels from 0 to 1, which images
    of the catalogue never have. Blank images are a warning, not an error.

    Args:
        images: (n,), n may be 0.
        bounds: the usual range of each measure.

    Returns:
        The findings. If there are none, no image is blank.
    """
    images = pictures_of(images)
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
        masks = {"scale": np.ones(len(images), bool)}  # rounding pixels of 0 to 1 makes images blank
    return tuple(_describe(kind, doubtful[mask], len(images), bounds) for kind, mask in masks.items() if mask.any())


def refuse_wrong(findings: tuple[Finding, ...], field: str) -> None:
    """Raise an InputError for `field` if the images are wrong."""
    if wrong := [one.message for one in findings if one.is_wrong]:
        raise InputError(field, "; ".join(wrong))


def _sum_border_of_one(pixels: bytes, row: int) -> int:
    """Sum of the border pixels of one grey image, given its bytes and row length; faster than NumPy."""
    return sum(pixels[:row]) + sum(pixels[-row:]) + sum(pixels[row:-row:row]) + sum(pixels[2 * row - 1 : -row : row])


def _describe(kind: Kind, images: NDArray[np.intp], total: int, bounds: InputBounds) -> Finding:
    found = "the image" if total == 1 else f"{len(images):,} of {total:,} images"
    message = MESSAGES[kind].format(found=found, dim=bounds.dim_peak)
    return Finding(kind, message, kind in WRONG and len(images) > bounds.wrong * total, tuple(images.tolist()))
