"""A picture file -> the 28 x 28 grey image that the model knows: a bright garment on black.

A 28 x 28 picture passes as it is, but for colour. Anything else goes through the plain steps of the dataset's paper
(arXiv:1708.07747, section 2): longest edge to 28, centre, grey, and negate where the background is bright.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from components.contract import IMAGE_SHAPE, Images
from components.errors import InputError, InputTooLarge

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 50_000_000  # a phone's largest photo; a decoded picture this size is 150 MB
SIDE = IMAGE_SHAPE[0]


def read_photo(content: bytes, field: str = "file") -> Images:
    """Decode one picture.

    Args:
        content: a whole PNG or JPEG file.
        field: what to call it in an error.

    Returns:
        uint8 (1, 28, 28).

    Raises:
        InputError: not a PNG or JPEG, or truncated.
        InputTooLarge: more than 50 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is below
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    size = f"{picture.width} x {picture.height} pixels"
                    raise InputTooLarge(field, f"{size}; at most {MOST_PIXELS:,} pixels are read")
                return _prepare(picture)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(field, "not a PNG or JPEG picture") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(field, f"a damaged picture: {error}") from error


def _prepare(picture: Image.Image) -> Images:
    picture.draft("L", (4 * SIDE, 4 * SIDE))  # JPEG decodes at a lower resolution, many times faster
    grey = _to_grey(ImageOps.exif_transpose(picture))
    if grey.size == (SIDE, SIDE):
        return np.asarray(grey)[None]
    small = ImageOps.contain(grey, (SIDE, SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(small)
    background = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    if background > 127:
        pixels = 255 - pixels
    top, left = (SIDE - pixels.shape[0]) // 2, (SIDE - pixels.shape[1]) // 2
    canvas = np.zeros((1, *IMAGE_SHAPE), np.uint8)
    canvas[0, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def _to_grey(picture: Image.Image) -> Image.Image:
    if picture.mode == "I;16":  # 16-bit grey: "L" would clip instead of scale
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("L")
    return picture.convert("L")
