"""What a model saw of a photo, as a PNG that a client shows and sends back with a correction.

With a frozen network, the vector travels in a private chunk of the PNG, which viewers ignore.
"""

import io

import numpy as np
from PIL import Image, PngImagePlugin

from components.contract import DataContract, Images
from components.errors import InputError
from components.readers.images.photos import is_small, plain_png, read_photo

CHUNK = b"veCt"  # float32, little-endian; ancillary, private and safe to copy (PNG, third edition, section 5.4)


def write_seen(image: Images) -> bytes:
    """Encode one image as PNG."""
    file, extra = io.BytesIO(), PngImagePlugin.PngInfo()
    if image.dtype.names:
        extra.add(CHUNK, image["vector"].astype("<f4").tobytes())
        image = image["picture"]
    Image.fromarray(image).save(file, "PNG", pnginfo=extra)
    return file.getvalue()


def read_seen(content: bytes, contract: DataContract, field: str) -> Images:
    """Decode what `write_seen` wrote: images (1,).

    Raises:
        InputError: another picture.
    """
    image = contract.image
    expected = InputError(field, f"expected a PNG of {image.height} x {image.width} pixels, as /classify returns it")
    if contract.embedding is None:
        if not is_small(content, contract):
            raise expected
        return read_photo(content, contract, field)
    if len(content) > contract.dtype.itemsize + 4096 or content[12:24] != plain_png(image).start[12:24]:
        raise expected
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            pixels = np.asarray(picture)
            (chunk,) = (chunk[1] for chunk in getattr(picture, "private_chunks", ()) if chunk[0] == CHUNK)
        vector = np.frombuffer(chunk, "<f4")
    except Exception as error:  # a damaged file raises any of Pillow's errors
        raise expected from error
    size = (contract.embedding.size,)
    if pixels.shape != image.shape or pixels.dtype != np.uint8 or vector.shape != size or not np.isfinite(vector).all():
        raise expected
    found = np.empty(1, contract.dtype)
    found["picture"], found["vector"] = pixels, vector
    return found
