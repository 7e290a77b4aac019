"""Prepare a picture like Fashion-MNIST: grey, a bright garment on black.

A garment is segmented by transparency, or on a plain or smooth background (ground.py), and processed as in the
dataset's paper (arXiv:1708.07747, section 2): trim, scale the longest edge to the image's, sharpen, centre, grey,
negate. A picture that may already be a negative is drawn both ways (polarity.py). In any other photo, the garment is
segmented by GrabCut (garment.py), and drawn mirrored and in several widths, because laid clothes are wider than hanging
ones. The predictions for all views of a picture are averaged. A picture that has the image's size is never trimmed, and
is only converted to grey if it is already on black.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from components.catalogues.preparation.garment import FindGarment, draw_garment, find_garment_sampled
from components.catalogues.preparation.ground import (
    PLAIN,
    RED_GREEN_BLUE,
    CutOut,
    cut_by_alpha,
    cut_from_ground,
    find_ground,
)
from components.catalogues.preparation.polarity import draw_both_ways
from components.contract import Images, ImageSpec

WORKING = 160  # pixels of the longest edge for GrabCut
SMALLEST_PHOTO = 64  # minimum pixels per side of a photo
ENOUGH = 256  # pixels of the longer edge to find the background; a picture has at most twice as many after reduction
SHARPEN = ImageFilter.UnsharpMask(radius=1, percent=50, threshold=0)
BRIGHT = 127.5  # mean of the outermost pixels; the official images have 0 to 104, their negatives 150 to 255
WIDTHS = (1.0, 0.8, 0.6)  # scale factors of the width of a garment found by GrabCut; the first view is displayed


def has_dark_corners(grey: NDArray[np.uint8]) -> bool:
    """Whether a picture, uint8 (height, width), is already on black: at least two corners are black.

    This holds for all 70,000 images of the dataset, whose garments touch the border and fill some of the corners.
    """
    height, width = grey.shape
    corners = 0, width - 1, (height - 1) * width, height * width - 1
    return sum(grey.item(corner) <= PLAIN for corner in corners) >= 2


def have_dark_edges(images: Images) -> bool:
    """Whether most of the images, uint8 (n, height, width), have a dark background."""
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    return bool(np.median(edges.mean(axis=1)) < BRIGHT)


def prepare(picture: Image.Image, image: ImageSpec, find: FindGarment = find_garment_sampled) -> Images:
    """Draw the garment in a picture.

    Args:
        picture: upright, mode L, LA, RGB or RGBA.
        image: square and grey.
        find: segments the garment on a busy background.

    Returns:
        uint8 (n, height, width): six views of a garment found by GrabCut, two views if the polarity is unclear, else
        one. A picture without a garment becomes an image of one level.
    """
    side = image.height
    small = picture.size == (side, side)
    colours, alpha = _to_colours(picture)
    cut = None if alpha is None else cut_by_alpha(colours, alpha, side)
    if cut is None:
        if alpha is not None:
            colours = _fill_transparent(colours, alpha)
        if small and has_dark_corners(grey := _to_grey(colours)):
            return grey[None]
        ground = find_ground(colours)
        cut = None if ground is None else cut_from_ground(colours, ground, side)
        if cut is None and small:
            return _to_grey(colours)[None]
        if ground is None:
            return _prepare_photo(picture, _to_grey(colours), side, find)
        if cut is None:
            return _draw_blank(float(np.median(ground.colours @ RED_GREEN_BLUE)), side)
    return np.concatenate([_draw_cut_out(levels, cut, trim=not small) for levels in draw_both_ways(cut)])


def _to_colours(picture: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Colours, float32 (h, w, 3), and alpha, (h, w), 0 to 255, or None without alpha; large pictures are reduced."""
    transparent = "A" in picture.getbands()
    picture = picture.reduce(max(1, max(picture.size) // ENOUGH)).convert("RGBA" if transparent else "RGB")
    pixels = np.asarray(picture, np.float32)
    return pixels[..., :3], pixels[..., 3] if transparent else None


def _fill_transparent(colours: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill transparency that is not a mask, such as rounded corners, with the median visible colour."""
    visible = colours[alpha > 127]
    if not len(visible):
        return colours
    share = alpha[..., None] / 255
    return np.asarray(share * colours + (1 - share) * np.median(visible, axis=0), np.float32)


def _prepare_photo(picture: Image.Image, grey: NDArray[np.uint8], side: int, find: FindGarment) -> Images:
    """The views of the garment that GrabCut finds; if none, the whole picture."""
    if min(picture.size) >= SMALLEST_PHOTO:
        photo = picture.convert("RGB")
        photo.thumbnail((WORKING, WORKING), Image.Resampling.BOX)
        content = np.asarray(photo)
        mask = find(content)
        if mask is not None:
            return _draw_views(draw_garment(content, mask), side)
    pixels = np.asarray(_shrink(Image.fromarray(grey), side))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return _centre(255 - pixels if np.median(border) > 127 else pixels, side)


def _draw_cut_out(levels: NDArray[np.float32], cut: CutOut, trim: bool) -> Images:
    """Draw a garment on black, (rows, columns), as uint8 (1, side, side), trimmed unless it has the image's size."""
    drawn = Image.fromarray((levels[cut.box] if trim else levels).round().astype(np.uint8))
    return _centre(np.asarray(_shrink(drawn, cut.side).filter(SHARPEN) if trim else drawn), cut.side)


def _draw_blank(level: float, side: int) -> Images:
    """An image of the background only: uint8 (1, side, side) of one level."""
    return np.full((1, side, side), round(255 - level if level > 127 else level), np.uint8)


def _draw_views(garment: NDArray[np.uint8], side: int) -> Images:
    """Draw a garment on black, (rows, columns), in each width, then mirrored: uint8 (6, side, side)."""
    picture = Image.fromarray(garment)
    drawn = (_shrink(picture, side, Image.Resampling.BOX, width) for width in WIDTHS)
    views = np.concatenate([_centre(np.asarray(one), side) for one in drawn])
    return np.concatenate([views, views[:, :, ::-1]])


def _shrink(
    grey: Image.Image, side: int, how: Image.Resampling = Image.Resampling.LANCZOS, width: float = 1.0
) -> Image.Image:
    """Scale the width by `width`, then the longest edge to `side`."""
    edges = grey.width * width, grey.height
    across, down = (max(1, round(edge * side / max(edges))) for edge in edges)
    return grey.resize((across, down), how)


def _centre(pixels: NDArray[np.uint8], side: int) -> Images:
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    canvas = np.zeros((1, side, side), np.uint8)
    canvas[0, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def _to_grey(colours: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert to grey like Pillow, uint8 (h, w)."""
    return np.asarray(Image.fromarray(colours.astype(np.uint8)).convert("L"))
