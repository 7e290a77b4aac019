"""Decode labelled pictures into training images."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from components.catalogues.preparation import preparation_of
from components.contract import DataContract, Images, ImageSpec
from components.errors import InputError, SourceError
from components.readers.images.decoding import decode_picture
from components.readers.images.photos import read_photo


def read_pictures(contents: Sequence[tuple[str, bytes]], contract: DataContract) -> Images:
    """Decode the pictures of one source.

    Pictures with the image's size and mode keep their pixels if the contract's preparation recognizes them, all
    together, as already prepared. All others are prepared like photos.

    Args:
        contents: the position of each picture, for errors, and its file content.
        contract: the image spec and the preparation.

    Returns:
        uint8 (n, height, width[, 3]).

    Raises:
        SourceError: a picture cannot be read. Names the first one.
    """
    shape = contract.image.shape
    raw = [_read_raw(where, content, contract.image) for where, content in contents]
    own = np.array([image for image in raw if image is not None], np.uint8).reshape(-1, *shape)
    as_is = len(own) > 0 and preparation_of(contract).all_pass(own)
    images = [
        image if image is not None and as_is else _prepare(where, content, contract)
        for image, (where, content) in zip(raw, contents, strict=True)
    ]
    return np.array(images, np.uint8).reshape(-1, *shape)


def _read_raw(where: str, content: bytes, image: ImageSpec) -> Images | None:
    """The pixels of a picture with the image's size and mode; None for any other."""
    with _as_source_error():
        picture = decode_picture(content, where, max(image.height, image.width))
    own = "L" if image.channels == 1 else "RGB", (image.width, image.height)
    return np.asarray(picture) if (picture.mode, picture.size) == own else None


def _prepare(where: str, content: bytes, contract: DataContract) -> Images:
    with _as_source_error():
        image: Images = read_photo(content, contract, where)[0]
    return image


@contextlib.contextmanager
def _as_source_error() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise SourceError(str(error)) from error
