"""A picture -> the whole of it, fitted into the size of the image and padded with the colour of its border."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.contract import Images, ImageSpec


def letterbox(picture: Image.Image, image: ImageSpec) -> Images:
    """Fit a picture into an image, none of it cut off.

    Args:
        picture: upright, of mode L, LA, RGB or RGBA; what is transparent becomes white.
        image: the size, and whether it is grey or RGB.

    Returns:
        uint8 (1, height, width[, 3]). A picture of that very size keeps its pixels.
    """
    if "A" in picture.getbands():
        whole = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    picture = picture.convert("L" if image.channels == 1 else "RGB")
    fitted = fit(picture, image)
    return place(fitted, image, np.median(_border(fitted), axis=0).round())


def fit(picture: Image.Image, image: ImageSpec) -> NDArray[np.uint8]:
    """The pixels of a picture, (rows, columns[, 3]), enlarged or reduced to be as large as the image has room for."""
    share = min(image.width / picture.width, image.height / picture.height)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return np.asarray(picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS))


def place(pixels: NDArray[np.uint8], image: ImageSpec, ground: NDArray[np.floating] | int) -> Images:
    """uint8 (1, height, width[, 3]) with these pixels, (rows, columns[, 3]), in its middle and a level around them."""
    images = np.empty((1, *image.shape), np.uint8)
    images[:] = ground
    top, left = ((side - own) // 2 for side, own in zip((image.height, image.width), pixels.shape, strict=False))
    images[0, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return images


def _border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost pixels, (n[, 3])."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
