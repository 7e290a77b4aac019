"""Prepare pictures as images, by the function that the contract names. Training and serving use the same code.

The output of a preparation never changes: a new version gets a new name, such as "fashion-mnist-2", so that models keep
seeing what they were trained on. Models of two versions can be compared. To add a preparation, write a module and add
it to `PREPARATIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.catalogues.preparation import fashion_mnist
from components.catalogues.preparation.embedding import edge_of, embed
from components.catalogues.preparation.garment import (
    FindGarment,
    find_garment,
    find_garment_sampled,
    garment,
    working_edge,
)
from components.catalogues.preparation.letterbox import letterbox
from components.contract import DataContract, Images
from components.errors import SettingsError


@dataclass(frozen=True)
class Preparation:
    """How to prepare pictures as images."""

    views: Callable[[Image.Image, DataContract], Images]  # upright picture -> images (n,), n >= 1
    edge: Callable[[DataContract], int]  # pixels per side that it needs; a larger picture may be reduced first
    passes: Callable[[NDArray[np.uint8]], bool]  # whether a picture with the image's size and mode is already prepared
    all_pass: Callable[[Images], bool]  # the same for all such pictures of a source together
    only_grey_squares: bool = False  # whether it supports square grey images only
    has_network: bool = False  # whether it takes a frozen network, `DataContract.embedding`


EMBEDDING = "embedding"


def _like_fashion_mnist(find: FindGarment) -> Preparation:
    return Preparation(
        lambda picture, contract: fashion_mnist.prepare(picture, contract.image, find),
        lambda contract: fashion_mnist.WORKING,
        fashion_mnist.has_dark_corners,
        fashion_mnist.have_dark_edges,
        only_grey_squares=True,
    )


PREPARATIONS = {
    "fashion-mnist": _like_fashion_mnist(find_garment),
    "fashion-mnist-2": _like_fashion_mnist(find_garment_sampled),
    "letterbox": Preparation(
        lambda picture, contract: letterbox(picture, contract.image),
        lambda contract: 2 * max(contract.image.height, contract.image.width),
        lambda pixels: True,
        lambda images: True,
    ),
    "garment": Preparation(
        lambda picture, contract: garment(picture, contract.image),
        lambda contract: working_edge(contract.image),
        lambda pixels: True,
        lambda images: True,
    ),
    EMBEDDING: Preparation(embed, edge_of, lambda pixels: False, lambda images: False, has_network=True),
}


def check_preparation(name: str) -> None:
    """Check the preparation that a new catalogue is given; "" is the default.

    Raises:
        SettingsError: no preparation has this name.
    """
    if name and name not in PREPARATIONS:
        expected = " or ".join(
            other for other, one in PREPARATIONS.items() if not (one.only_grey_squares or one.has_network)
        )
        raise SettingsError(f"FASHION_PREPARATION or --preparation: found {name[:60]!r}, expected {expected}")


def preparation_of(contract: DataContract) -> Preparation:
    """Look up the preparation that a contract names.

    Raises:
        SettingsError: unknown preparation, or one that does not support the contract's images.
    """
    found, image = PREPARATIONS.get(contract.preparation), contract.image
    if found is None:
        mismatch = f"found {contract.preparation[:60]!r}, expected one of {', '.join(PREPARATIONS)}"
        raise SettingsError(f"the preparation of {contract.name}: {mismatch}")
    if found.has_network != (contract.embedding is not None):
        remedy = "Leave out --preparation (FASHION_PREPARATION) or --network (FASHION_NETWORK)"
        leave_out = f"cannot be used with a network. {remedy}"
        needs = "needs a network: name one with --network" if found.has_network else leave_out
        raise SettingsError(f"the preparation {contract.preparation!r} of {contract.name} {needs}")
    if found.only_grey_squares and image.shape != (image.height, image.height):
        raise SettingsError(f"{contract.preparation!r} makes square grey images, but {contract.name} has {image}")
    return found
