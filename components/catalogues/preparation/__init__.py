"""How a picture becomes an image: by the function that the contract names. Training and serving use the same.

A function never changes what it makes: another way of preparing is another name, as "letterbox-2", so that a model goes
on seeing what it was trained on. To add one takes a module, and a line in `PREPARATIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.catalogues.preparation import fashion_mnist
from components.catalogues.preparation.garment import garment, working_edge
from components.catalogues.preparation.letterbox import letterbox
from components.contract import DataContract, Images, ImageSpec
from components.errors import SettingsError


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an image."""

    views: Callable[[Image.Image, ImageSpec], Images]  # an upright picture -> uint8 (n, height, width[, 3]), n from 1
    edge: Callable[[ImageSpec], int]  # pixels of both sides that it needs of a picture: a larger one may be reduced
    passes: Callable[[NDArray[np.uint8]], bool]  # whether a picture of the image's size, mode and depth is one already
    all_pass: Callable[[Images], bool]  # likewise of all such pictures of one source
    only_grey_squares: bool = False  # whether it makes no other images


PREPARATIONS = {
    "fashion-mnist": Preparation(
        fashion_mnist.prepare,
        lambda image: fashion_mnist.WORKING,
        fashion_mnist.has_dark_corners,
        fashion_mnist.have_dark_edges,
        only_grey_squares=True,
    ),
    "letterbox": Preparation(
        letterbox,
        lambda image: 2 * max(image.height, image.width),
        lambda pixels: True,
        lambda images: True,
    ),
    "garment": Preparation(garment, working_edge, lambda pixels: True, lambda images: True),
}


def preparation_of(contract: DataContract) -> Preparation:
    """The preparation that a contract names.

    Raises:
        SettingsError: there is none of that name, or it makes no such images.
    """
    found, image = PREPARATIONS.get(contract.preparation), contract.image
    if found is None:
        mismatch = f"found {contract.preparation[:60]!r}, expected one of {', '.join(PREPARATIONS)}"
        raise SettingsError(f"the preparation of {contract.name}: {mismatch}")
    if found.only_grey_squares and image.shape != (image.height, image.height):
        raise SettingsError(f"{contract.preparation!r} makes square grey images, {contract.name} has {image}")
    return found
