"""Prepare pictures as images, by the function that the contract names. Training and serving use the same code.

The output of a preparation never changes: a new one gets a new name, such as "letterbox-2", so that models keep seeing
what they were trained on. To add one, write a module and add it to `PREPARATIONS`.
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
    """How to prepare pictures as images."""

    views: Callable[[Image.Image, ImageSpec], Images]  # upright picture -> uint8 (n, height, width[, 3]), n >= 1
    edge: Callable[[ImageSpec], int]  # pixels per side that it needs; a larger picture may be reduced first
    passes: Callable[[NDArray[np.uint8]], bool]  # whether a picture with the image's size and mode is already prepared
    all_pass: Callable[[Images], bool]  # the same for all such pictures of a source together
    only_grey_squares: bool = False  # whether it supports square grey images only


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
    """Look up the preparation that a contract names.

    Raises:
        SettingsError: unknown preparation, or one that does not support the contract's images.
    """
    found, image = PREPARATIONS.get(contract.preparation), contract.image
    if found is None:
        mismatch = f"found {contract.preparation[:60]!r}, expected one of {', '.join(PREPARATIONS)}"
        raise SettingsError(f"the preparation of {contract.name}: {mismatch}")
    if found.only_grey_squares and image.shape != (image.height, image.height):
        raise SettingsError(f"{contract.preparation!r} makes square grey images, but {contract.name} has {image}")
    return found
