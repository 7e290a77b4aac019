"""A picture file -> 28 x 28 grey images that the model knows: a bright garment on black.

Transparency, or a plain or smooth ground, separates the garment (ground.py). The garment goes through the steps of the
dataset's paper (arXiv:1708.07747, section 2): trim, longest edge to 28, sharpen, centre, grey, negate. A picture that
may be a negative already is drawn both ways (polarity.py). In any other photo the garment is found first (garment.py),
and drawn in several widths, as laid clothes are wider than hanging ones, and mirrored. The model's answers to the views
of one picture are averaged (inference/predict.py). A 28 x 28 picture on black passes as it is, but for colour; another
is not trimmed.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from components.catalogues.fashion_mnist import IMAGE_SHAPE
from components.catalogues.preparation.garment import draw_garment, find_garment
from components.catalogues.preparation.ground import PLAIN, RED_GREEN_BLUE, cut_by_alpha, cut_from_ground, find_ground
from components.catalogues.preparation.polarity import draw_both_ways
from components.contract import Images
from components.readers.images.decoding import FORMATS, decode_picture

SIDE = IMAGE_SHAPE[0]
SMALL_FILE = 4096  # bytes; 28 x 28 pixels in four colours are 3,136
# How a PNG begins and ends that holds 28 x 28 grey bytes in one chunk and nothing else (PNG, third edition, 5 and 11).
GREY = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
PLAIN_START = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s13sI", 13, b"IHDR", GREY, zlib.crc32(b"IHDR" + GREY))
PLAIN_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
CORNERS = (0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1)  # of a 28 x 28 picture, row-major
WORKING = 160  # pixels of the longest edge, to find a garment in
SMALLEST_PHOTO = 64  # pixels a side; a smaller picture is no photo
ENOUGH = 256  # pixels of the longer edge, to find the ground; a picture may have up to twice as many
SHARPEN = ImageFilter.UnsharpMask(radius=1, percent=50, threshold=0)
WIDTHS = (1.0, 0.8, 0.6)  # of a garment found in a photo, beside what it is; the first is what a person is shown


def read_photo(content: bytes, field: str = "file", formats: tuple[str, ...] = FORMATS) -> Images:
    """The first view of `read_views`, uint8 (1, 28, 28): what a person is shown, and what can be trained on."""
    return read_views(content, field, formats)[:1]


def read_views(content: bytes, field: str = "file", formats: tuple[str, ...] = FORMATS) -> Images:
    """Decode one picture.

    Args:
        content: a whole PNG, JPEG, WebP, GIF or BMP file; of a GIF's pictures the first is read.
        field: what to call it in an error.
        formats: those of the five that are taken.

    Returns:
        uint8 (n, 28, 28): six views of a garment that was found in a photo; two of one cut from its ground that may
        be a negative or not; one of any other picture. A picture without a garment is an image of one level.

    Raises:
        InputError: none of these, damaged, or an animated PNG or WebP.
        InputTooLarge: more than 25 million pixels.
    """
    plain = _read_plain(content) if "PNG" in formats and is_small(content) else None
    if plain is not None and has_dark_corners(plain[0]):
        return plain
    return _prepare(decode_picture(content, field, formats, WORKING))


def _read_plain(content: bytes) -> Images | None:
    """The pixels of a PNG as `PLAIN_START` and `PLAIN_END` have it, by Pillow's decoder without its reader of chunks,
    which takes twice as long; None of any other, and of a damaged one, for which the reader has the words."""
    start, end = len(PLAIN_START), len(content) - len(PLAIN_END)
    if not (content.startswith(PLAIN_START) and content.endswith(PLAIN_END)):
        return None
    if content[start : start + 8] != struct.pack(">I4s", end - start - 12, b"IDAT"):
        return None
    try:
        picture = Image.frombytes("L", (SIDE, SIDE), content[start + 8 : end - 4], "zip", "L", 0)
    except ValueError:
        return None
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(1, *IMAGE_SHAPE)


def is_small(content: bytes) -> bool:
    """Whether a file is a PNG of 28 x 28, in so few bytes that decoding it takes less than handing it to a thread."""
    size = struct.pack(">4sII", b"IHDR", SIDE, SIDE)
    return len(content) <= SMALL_FILE and content[12 : 12 + len(size)] == size


def write_png(image: Images) -> bytes:
    """One image, uint8 (28, 28), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def has_dark_corners(grey: NDArray[np.uint8]) -> bool:
    """Whether a picture, uint8 (28, 28), is bright on black already: at least two corners are black.

    So it is in each of the dataset's 70,000 images, whose garments touch the border and fill some of the corners.
    """
    return sum(grey.item(corner) <= PLAIN for corner in CORNERS) >= 2


def _prepare(picture: Image.Image) -> Images:
    small = picture.size == (SIDE, SIDE)
    colours, alpha = _to_colours(picture)
    cut = None if alpha is None else cut_by_alpha(colours, alpha)
    if cut is None:
        if alpha is not None:
            colours = _fill_transparent(colours, alpha)
        if small and has_dark_corners(grey := _to_grey(colours)):
            return grey[None]
        ground = find_ground(colours)
        cut = None if ground is None else cut_from_ground(colours, ground)
        if cut is None and small:
            return _to_grey(colours)[None]
        if ground is None:
            return _prepare_photo(picture, _to_grey(colours))
        if cut is None:
            return _draw_blank(float(np.median(ground.colours @ RED_GREEN_BLUE)))
    return np.concatenate([_draw_cut_out(levels, cut.box, trim=not small) for levels in draw_both_ways(cut)])


def _to_colours(picture: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Float32 (h, w, 3) and, where something is transparent, alpha (h, w), 0 to 255; a large picture is reduced."""
    transparent = "A" in picture.getbands()
    picture = picture.reduce(max(1, max(picture.size) // ENOUGH)).convert("RGBA" if transparent else "RGB")
    pixels = np.asarray(picture, np.float32)
    return pixels[..., :3], pixels[..., 3] if transparent else None


def _fill_transparent(colours: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Transparent pixels that are no mask, as of rounded corners, get the median colour of the visible ones."""
    visible = colours[alpha > 127]
    if not len(visible):
        return colours
    share = alpha[..., None] / 255
    return np.asarray(share * colours + (1 - share) * np.median(visible, axis=0), np.float32)


def _prepare_photo(picture: Image.Image, grey: NDArray[np.uint8]) -> Images:
    """The views of the garment that GrabCut finds; of a picture without one, the picture."""
    if min(picture.size) >= SMALLEST_PHOTO:
        photo = picture.convert("RGB")
        photo.thumbnail((WORKING, WORKING), Image.Resampling.BOX)
        content = np.asarray(photo)
        mask = find_garment(content)
        if mask is not None:
            return _draw_views(draw_garment(content, mask))
    pixels = np.asarray(_shrink(Image.fromarray(grey)))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return _centre(255 - pixels if np.median(border) > 127 else pixels)


def _draw_cut_out(levels: NDArray[np.float32], box: tuple[slice, slice], trim: bool) -> Images:
    """uint8 (1, 28, 28) of a garment on black, (rows, columns); a picture of 28 x 28 needs no trimming."""
    drawn = Image.fromarray((levels[box] if trim else levels).round().astype(np.uint8))
    return _centre(np.asarray(_shrink(drawn).filter(SHARPEN) if trim else drawn))


def _draw_blank(level: float) -> Images:
    """uint8 (1, 28, 28) of one level: nothing but ground."""
    return np.full((1, *IMAGE_SHAPE), round(255 - level if level > 127 else level), np.uint8)


def _draw_views(garment: NDArray[np.uint8]) -> Images:
    """uint8 (6, 28, 28) of a garment on black, (rows, columns): in each width, then the same mirrored."""
    picture = Image.fromarray(garment)
    views = np.concatenate([_centre(np.asarray(_shrink(picture, Image.Resampling.BOX, width))) for width in WIDTHS])
    return np.concatenate([views, views[:, :, ::-1]])


def _shrink(grey: Image.Image, how: Image.Resampling = Image.Resampling.LANCZOS, width: float = 1.0) -> Image.Image:
    """Its width is first multiplied by `width`; then its longest edge becomes 28."""
    edges = grey.width * width, grey.height
    across, down = (max(1, round(edge * SIDE / max(edges))) for edge in edges)
    return grey.resize((across, down), how)


def _centre(pixels: NDArray[np.uint8]) -> Images:
    top, left = (SIDE - pixels.shape[0]) // 2, (SIDE - pixels.shape[1]) // 2
    canvas = np.zeros((1, *IMAGE_SHAPE), np.uint8)
    canvas[0, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def _to_grey(colours: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 (h, w) as Pillow's conversion has it."""
    return np.asarray(Image.fromarray(colours.astype(np.uint8)).convert("L"))
