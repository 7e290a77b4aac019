"""Decode a picture file. Every error that Pillow raises for a damaged file becomes an `InputError`."""

import io

import numpy as np
from PIL import Image

from components.errors import InputError
from components.readers.images.header import TRUNCATED, PictureHeader
from components.readers.images.headers import read_header

LARGEST_EDGE = 2048  # pixels of the decoded picture; no preparation needs more than 256

# Pillow mode -> output mode without and with transparency.
PLAIN_MODES = {
    **dict.fromkeys(("1", "L", "I;16", "LA"), ("L", "LA")),
    **dict.fromkeys(("P", "RGB", "RGBA", "CMYK"), ("RGB", "RGBA")),
}

# EXIF orientation -> transposition that undoes it (Exif 2.32, tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(content: bytes, field: str, edge: int) -> Image.Image:
    """Decode a picture and turn it upright.

    Args:
        content: a complete PNG, JPEG, WebP, GIF or BMP file; only the first frame of a GIF is decoded.
        field: name for errors.
        edge: minimum size that the caller needs, in pixels; a larger JPEG may be decoded at a lower resolution. Any
            picture with a side over 2,048 pixels is reduced by an integer factor.

    Returns:
        A loaded picture of mode L, LA, RGB or RGBA, eight bits per channel. It has an alpha channel, not premultiplied,
        only if a pixel is not opaque; a transparent palette colour counts as an alpha channel.

    Raises:
        InputError, InputTooLarge: as `read_header`; or damaged pixel data.
    """
    header = read_header(content, field)
    try:
        return _decode(header, edge)
    except Exception as error:  # Pillow raises nearly any exception for a damaged file
        what = str(error) or type(error).__name__
        raise InputError(field, TRUNCATED if "truncated" in what else f"a damaged picture: {what}") from error


def _decode(header: PictureHeader, edge: int) -> Image.Image:
    picture = _to_plain_mode(_load(header, edge), header.depth)
    factor = -(-max(picture.size) // LARGEST_EDGE)
    if factor > 1:
        picture = picture.reduce(factor)
    turn = UPRIGHT.get(header.orientation)
    return picture if turn is None else picture.transpose(turn)


def _load(header: PictureHeader, edge: int) -> Image.Image:
    picture = Image.open(io.BytesIO(header.content), formats=(header.form,))
    if picture.size != (header.width, header.height):
        expected = f"{header.width} x {header.height}"
        raise ValueError(f"found {picture.width} x {picture.height} pixels, expected {expected} from the header")
    picture.draft("RGB", (edge, edge))  # decodes a JPEG at a lower resolution, many times faster
    picture.load()
    return picture


def _to_plain_mode(picture: Image.Image, depth: int) -> Image.Image:
    """Convert to L, LA, RGB or RGBA.

    Args:
        picture: its mode is in `PLAIN_MODES`.
        depth: bits per sample of the file, also of its transparent colour.
    """
    if picture.mode == "P" and picture.palette is None:
        raise ValueError("it uses palette colours but has no palette")
    opaque, transparent = PLAIN_MODES[picture.mode]
    key = picture.info.pop("transparency", None)
    if picture.mode == "I;16":  # conversion to "L" would clip instead of scale
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if key is not None and picture.mode in {"L", "RGB"}:
        key = _scale_key(key, depth)
    if key is None and picture.mode not in {"LA", "RGBA"}:
        return picture if picture.mode == opaque else picture.convert(opaque)
    if key is not None:
        picture.info["transparency"] = key
    if picture.mode != transparent:
        picture = picture.convert(transparent)
    return picture.convert(opaque) if picture.getchannel("A").getextrema()[0] == 255 else picture


def _scale_key(key: int | tuple[int, ...], depth: int) -> int | tuple[int, ...] | None:
    """Scale a transparent colour to eight bits, because Pillow only scales the pixels; None: no pixel can match."""
    top = (1 << depth) - 1
    values = [
        value >> 8 if depth == 16 else value * 255 // top for value in (key if isinstance(key, tuple) else (key,))
    ]
    if max(values) > 255:
        return None
    return tuple(values) if isinstance(key, tuple) else values[0]
