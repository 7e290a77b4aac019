"""The bytes of a picture file -> one decoded picture, or an error that says what is wrong with it.

Whatever a decoder raises of a damaged file becomes an `InputError` here: no caller needs to know what Pillow raises.
"""

import io
import struct
import warnings

from PIL import ExifTags, Image, UnidentifiedImageError

from components.errors import InputError, InputTooLarge

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 25_000_000  # a large phone photo; decoded and made grey, one this size with transparency takes 400 MB

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


def decode_picture(content: bytes, field: str, formats: tuple[str, ...], edge: int) -> Image.Image:
    """Decode one picture and turn it upright.

    Args:
        content: a whole PNG, JPEG, WebP, GIF or BMP file; of a GIF's pictures the first is read.
        field: what to call it in an error.
        formats: those of the five that are taken.
        edge: pixels of both sides that the caller needs; a larger JPEG may be decoded at a lower resolution.

    Returns:
        A picture of any of Pillow's modes, its pixels in memory.

    Raises:
        InputError: none of these, damaged, or an animated PNG or WebP.
        InputTooLarge: more than 25 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is below
            return _decode(content, field, formats, edge)
    except Image.DecompressionBombError as error:
        raise InputTooLarge(field, f"at most {MOST_PIXELS:,} pixels are read") from error
    except UnidentifiedImageError as error:
        raise InputError(field, f"not a {', '.join(formats[:-1])} or {formats[-1]} picture") from error
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:  # what Pillow raises of damage
        raise InputError(field, f"a damaged picture: {error}") from error


def _decode(content: bytes, field: str, formats: tuple[str, ...], edge: int) -> Image.Image:
    picture = Image.open(io.BytesIO(content), formats=formats)
    if picture.width * picture.height > MOST_PIXELS:
        size = f"{picture.width} x {picture.height} pixels"
        raise InputTooLarge(field, f"{size}; at most {MOST_PIXELS:,} pixels are read")
    if picture.format != "GIF" and getattr(picture, "is_animated", False):
        raise InputError(field, "an animated picture; expected a single one")
    picture.draft("RGB", (edge, edge))  # JPEG decodes at a lower resolution, many times faster
    picture.load()
    return _turn_upright(picture)


def _turn_upright(picture: Image.Image) -> Image.Image:
    """As a phone's EXIF says; `ImageOps.exif_transpose` would fail on other, odd metadata."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation)
    return picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture
