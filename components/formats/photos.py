"""A picture file -> the 28 x 28 grey image that the model knows: a bright garment on black.

A 28 x 28 picture passes as it is, but for colour. Anything else goes through the plain steps of the dataset's paper
(arXiv:1708.07747, section 2): longest edge to 28, centre, grey, and negate where the background is bright.
"""

import io
import struct
import warnings

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from components.contract import IMAGE_SHAPE, Images
from components.errors import InputError, InputTooLarge

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 25_000_000  # a large phone photo; decoded and made grey, one this size with transparency takes 400 MB
SIDE = IMAGE_SHAPE[0]

# EXIF orientation -> what undoes it (Exif 2.32, tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_photo(content: bytes, field: str = "file") -> Images:
    """Decode one picture.

    Args:
        content: a whole PNG or JPEG file.
        field: what to call it in an error.

    Returns:
        uint8 (1, 28, 28).

    Raises:
        InputError: not a PNG or JPEG, or truncated.
        InputTooLarge: more than 25 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is below
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    size = f"{picture.width} x {picture.height} pixels"
                    raise InputTooLarge(field, f"{size}; at most {MOST_PIXELS:,} pixels are read")
                if picture.format == "PNG" and getattr(picture, "is_animated", False):
                    raise InputError(field, "an animated picture; expected a single one")
                return _prepare(picture)
    except Image.DecompressionBombError as error:
        raise InputTooLarge(field, f"at most {MOST_PIXELS:,} pixels are read") from error
    except UnidentifiedImageError as error:
        raise InputError(field, "not a PNG or JPEG picture") from error
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:  # what Pillow raises of damage
        raise InputError(field, f"a damaged picture: {error}") from error


def _prepare(picture: Image.Image) -> Images:
    picture.draft("L", (4 * SIDE, 4 * SIDE))  # JPEG decodes at a lower resolution, many times faster
    grey = _to_grey(_turn_upright(picture))
    if grey.size == (SIDE, SIDE):
        return np.asarray(grey)[None]
    longest = max(grey.size)
    width, height = (max(1, round(side * SIDE / longest)) for side in grey.size)
    pixels = np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS))
    background = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    if background > 127:
        pixels = 255 - pixels
    top, left = (SIDE - pixels.shape[0]) // 2, (SIDE - pixels.shape[1]) // 2
    canvas = np.zeros((1, *IMAGE_SHAPE), np.uint8)
    canvas[0, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def _turn_upright(picture: Image.Image) -> Image.Image:
    """As a phone's EXIF says; `ImageOps.exif_transpose` would fail on other, odd metadata."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation)
    return picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture


def _to_grey(picture: Image.Image) -> Image.Image:
    if picture.mode == "I;16":  # 16-bit grey: "L" would clip instead of scale
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("L")
    return picture.convert("L")
