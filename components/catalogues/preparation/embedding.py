"""Prepare a photo for a catalogue with a frozen network: a small picture for people, and a vector for the models."""

import numpy as np
from PIL import Image

from components.catalogues.preparation.letterbox import letterbox
from components.contract import DataContract, Images
from components.errors import InputError, SettingsError
from components.networks.embedder import embedder_of


def embed(picture: Image.Image, contract: DataContract) -> Images:
    """Letterbox a picture for display, and compute the vector of its centre square.

    Args:
        picture: upright, mode L, LA, RGB or RGBA.
        contract: of the image and the network.

    Returns:
        One record of `contract.dtype`.

    Raises:
        SettingsError: the contract has no network.
        ModelError: the network is missing or changed.
        InputError: the network's vector of this picture is not finite.
    """
    if contract.embedding is None:
        raise SettingsError(f"{contract.name}: the preparation 'embedding' needs a network")
    found = np.empty(1, contract.dtype)
    shrinks = max(1, max(picture.size) // (2 * max(contract.image.height, contract.image.width)))
    found["picture"] = letterbox(picture.reduce(shrinks), contract.image)
    found["vector"] = embedder_of(contract.embedding)(picture)
    if not np.isfinite(found["vector"]).all():
        raise InputError("picture", f"the network {contract.embedding} returns values that are not finite")
    return found


def edge_of(contract: DataContract) -> int:
    """Pixels per side that the network and the small picture need."""
    side = contract.embedding.side if contract.embedding else 0
    return max(side, 2 * max(contract.image.height, contract.image.width))
