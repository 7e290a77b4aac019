"""Labelled pictures -> images for training."""

from collections.abc import Sequence

import numpy as np

from components.catalogues.fashion_mnist import CONTRACT, IMAGE_SHAPE
from components.contract import Images
from components.errors import InputError, SourceError
from components.readers.images.decoding import decode_picture
from components.readers.images.photos import read_photo

FORMATS = ("PNG", "JPEG", "WEBP")
BRIGHT = 127.5  # mean of the outermost pixels; the official images have 0 to 104, their negatives 150 to 255


def read_pictures(contents: Sequence[tuple[str, bytes]]) -> Images:
    """Decode pictures of one source.

    A set of 28 x 28 grey pictures on dark ground is the dataset's own kind: its pixels are taken as they are. Whether
    the ground is dark is asked of the set and not of each picture. Any other picture is prepared as a photo is.

    Args:
        contents: where each picture is, for an error, and its file's bytes.

    Returns:
        uint8 (n, 28, 28).

    Raises:
        SourceError: names the first picture that cannot be read.
    """
    raw = [_read_raw(where, content) for where, content in contents]
    grey = np.array([image for image in raw if image is not None], np.uint8).reshape(-1, *IMAGE_SHAPE)
    edges = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    as_is = len(grey) > 0 and np.median(edges.mean(axis=1)) < BRIGHT
    images = [
        image if image is not None and as_is else _prepare(where, content)
        for image, (where, content) in zip(raw, contents, strict=True)
    ]
    return np.array(images, np.uint8).reshape(-1, *IMAGE_SHAPE)


def _read_raw(where: str, content: bytes) -> Images | None:
    """The pixels of a grey 28 x 28 picture; None for any other."""
    try:
        picture = decode_picture(content, where, FORMATS, IMAGE_SHAPE[0])
    except InputError as error:
        raise SourceError(f"{where}: {error.reason}") from error
    return np.asarray(picture) if (picture.mode, picture.size) == ("L", IMAGE_SHAPE[::-1]) else None


def _prepare(where: str, content: bytes) -> Images:
    try:
        image: Images = read_photo(content, CONTRACT, where, FORMATS)[0]
    except InputError as error:
        raise SourceError(f"{where}: {error.reason}") from error
    return image
