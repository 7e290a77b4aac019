"""Can these images be right? What is measured of an image, within which bounds, and what to say of one outside.

`inspect_images` answers in microseconds, of a single image too: for requests, and for files of few rows. Of the first
rows of a file Great Expectations judges the same measures within the same bounds (scoring/expectations.py). Neither
PyTorch nor pandas is imported here.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.catalogues.fashion_mnist import PIXELS
from components.contract import Images
from components.errors import InputError
from components.model.content import STRAY, has_content, is_clear, is_one_clear

Kind = Literal["blank", "inverted", "scale", "dim", "unusual"]  # "unusual": of many rows only, see `expectations`
BORDER = np.flatnonzero(np.pad(np.zeros((26, 26), bool), 1, constant_values=True))  # places of the outermost pixels
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
class InputBounds:
    """What images are like. After each bound: Fashion-MNIST's own extremes, of single images or of 100 of one class."""

    edge: float = 140.0  # mean of the outermost pixels; 0 to 107.5, inverted 147.5 to 255
    peak: float = 2.0  # the brightest pixel; 254 to 255, of pixels scaled to 0 to 1 1
    dim_peak: float = 64.0  # likewise; views of phone photos 105 to 255
    wrong: float = 0.5  # share of the rows that must be within the bounds
    unusual: float = 0.98  # likewise, and fewer are a warning
    copies: float = 0.05  # share of rows that an earlier row is like, pixel by pixel; 0
    mean_peak: tuple[float, float] = (160.0, 255.0)  # 254.8 to 255; of phone photos 189
    mean_mean: tuple[float, float] = (25.0, 115.0)  # 30.0 to 107.3
    mean_ink: tuple[float, float] = (0.22, 0.74)  # share of pixels that are not black; 0.28 to 0.67
    mean_deviation: tuple[float, float] = (50.0, 105.0)  # 58.8 to 96.3

    @property
    def border(self) -> float:
        """`edge`, as the sum of the outermost pixels."""
        return self.edge * len(BORDER)


BOUNDS = InputBounds()


@dataclass(frozen=True)
class Finding:
    """Something about images that is wrong or unusual."""

    kind: Kind
    told: str  # what was found, and what to do about it
    is_wrong: bool  # whether nothing sensible can come of it
    images: tuple[int, ...] = ()  # of which ones, by position; () where it is of all of them together

    def to_json(self) -> dict[str, Any]:
        """As an answer over HTTP has it."""
        return {"kind": self.kind, "images": list(self.images), "reason": self.told}


def measure(images: Images) -> dict[str, NDArray[Any]]:
    """What the bounds are about: uint8 (n, 28, 28) -> (n,) each of mean, deviation, ink, edge, peak, content.

    `content` is whether an image shows something, be it in pixels of 0 to 1.
    """
    flat = images.reshape(-1, PIXELS)
    ink, peak = np.count_nonzero(flat, axis=1), flat.max(axis=1, initial=0)
    return {
        "mean": flat.mean(axis=1),
        "deviation": flat.std(axis=1, dtype=np.float32),
        "ink": ink / PIXELS,
        "edge": _sum_border(images) / len(BORDER),
        "peak": peak,
        "content": has_content(images) | ((peak == 1) & (ink > STRAY)),
    }


def inspect_images(images: Images, bounds: InputBounds = BOUNDS) -> tuple[Finding, ...]:
    """What is wrong with images or unusual, as far as each shows it by itself.

    Wrong is what is so of more than half of the images and is never so of Fashion-MNIST's: background brighter than
    cloth, pixels of 0 to 1. Images that show nothing are never wrong, only not worth an answer.

    Args:
        images: uint8 (n, 28, 28), n may be 0.
        bounds: what is usual.

    Returns:
        Nothing if all is well; then every image has content.
    """
    if len(images) == 1 and is_one_clear(pixels := images.tobytes()) and _sum_border_of_one(pixels) <= bounds.border:
        return ()
    doubtful = np.flatnonzero(~is_clear(images) | (_sum_border(images) > bounds.border))
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
    if len(doubtful) == len(images) and peak.max() == 1 and np.count_nonzero(images) > STRAY:
        masks = {"scale": np.ones(len(images), bool)}  # many pixels of 0 to 1 become 0, and images blank
    return tuple(_describe(kind, doubtful[mask], len(images), bounds) for kind, mask in masks.items() if mask.any())


def refuse_wrong(findings: tuple[Finding, ...], field: str) -> None:
    """Raises InputError, naming `field`, where nothing sensible can come of the images."""
    if wrong := [one.told for one in findings if one.is_wrong]:
        raise InputError(field, "; ".join(wrong))


def _sum_border(images: Images) -> NDArray[np.uint32]:
    """Of the outermost pixels, uint32 (n,)."""
    sums: NDArray[np.uint32] = np.einsum("ij->i", images.reshape(-1, PIXELS)[:, BORDER], dtype=np.uint32)
    return sums


def _sum_border_of_one(pixels: bytes) -> int:
    """The same of 784 bytes, without NumPy."""
    return sum(pixels[:28]) + sum(pixels[-28:]) + sum(pixels[28:-28:28]) + sum(pixels[55:-28:28])


def _describe(kind: Kind, images: NDArray[np.intp], total: int, bounds: InputBounds) -> Finding:
    found = "the image" if total == 1 else f"{len(images):,} of {total:,} images"
    told = TOLD[kind].format(found=found, dim=bounds.dim_peak)
    return Finding(kind, told, kind in WRONG and len(images) > bounds.wrong * total, tuple(images.tolist()))
