"""The bytes of a picture file -> one decoded picture, or an error that says what is wrong with it.

Whatever a decoder raises becomes an `InputError` here: callers need not know what Pillow raises for a damaged file.
"""

import io

import numpy as np
from PIL import Image

from components.errors import InputError
from components.readers.images.header import CUT_SHORT, PictureHeader
from components.readers.images.headers import read_header

LARGEST_EDGE = 2048  # pixels of what is returned; no preparation needs more than 256

# Mode of Pillow's -> what is returned, without and with transparency.
PLAIN_MODES = {
    **dict.fromkeys(("1", "L", "I;16", "LA"), ("L", "LA")),
    **dict.fromkeys(("P", "RGB", "RGBA", "CMYK"), ("RGB", "RGBA")),
}

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


def decode_picture(content: bytes, field: str, edge: int) -> Image.Image:
    """Decode one picture and turn it upright.

    Args:
        content: a whole PNG, JPEG, WebP, GIF or BMP file; of a GIF's pictures the first is read.
        field: what to call it in an error.
        edge: pixels of both sides that the caller needs; a larger JPEG may be decoded at a lower resolution. Of any
            other, an edge of more than 2,048 pixels is reduced by a whole factor.

    Returns:
        A picture of mode L, LA, RGB or RGBA, eight bits a channel, its pixels in memory. It has an alpha channel, not
        premultiplied, only if some pixel is not opaque: a transparent colour of a palette counts as one.

    Raises:
        InputError, InputTooLarge: as `read_header`; or the pixels are damaged.
    """
    header = read_header(content, field)
    try:
        return _decode(header, edge)
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        what = str(error) or type(error).__name__
        raise InputError(field, CUT_SHORT if "truncated" in what else f"a damaged picture: {what}") from error


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
        raise ValueError(f"{picture.width} x {picture.height} pixels, its header says {header.width} x {header.height}")
    picture.draft("RGB", (edge, edge))  # JPEG decodes at a lower resolution, many times faster
    picture.load()
    return picture


def _to_plain_mode(picture: Image.Image, depth: int) -> Image.Image:
    """As L, LA, RGB or RGBA.

    Args:
        picture: of any mode in `PLAIN_MODES`.
        depth: bits a sample in the file, which a transparent colour is given in.
    """
    if picture.mode == "P" and picture.palette is None:
        raise ValueError("it has colours by number and no palette")
    opaque, transparent = PLAIN_MODES[picture.mode]
    key = picture.info.pop("transparency", None)
    if picture.mode == "I;16":  # "L" would clip instead of scale
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
    """A transparent colour in eight bits, as Pillow scales the pixels, not the colour; None: no pixel can have it."""
    top = (1 << depth) - 1
    values = [
        value >> 8 if depth == 16 else value * 255 // top for value in (key if isinstance(key, tuple) else (key,))
    ]
    if max(values) > 255:
        return None
    return tuple(values) if isinstance(key, tuple) else values[0]
