"""Letterbox a picture: scale it to fit the image, and pad it with the colour of its border."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.contract import Images, ImageSpec


def letterbox(picture: Image.Image, image: ImageSpec) -> Images:
    """Fit a picture into an image without cropping.

    Args:
        picture: upright, mode L, LA, RGB or RGBA. Transparency becomes white.
        image: size and channels.

    Returns:
        uint8 (1, height, width[, 3]). A picture of the same size keeps its pixels.
    """
    if "A" in picture.getbands():
        whole = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    picture = picture.convert("L" if image.channels == 1 else "RGB")
    fitted = fit(picture, image)
    return place(fitted, image, np.median(_border(fitted), axis=0).round())


def fit(picture: Image.Image, image: ImageSpec) -> NDArray[np.uint8]:
    """Scale a picture to the largest size that fits the image, (rows, columns[, 3])."""
    share = min(image.width / picture.width, image.height / picture.height)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return np.asarray(picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS))


def place(pixels: NDArray[np.uint8], image: ImageSpec, ground: NDArray[np.floating] | int) -> Images:
    """Centre pixels, (rows, columns[, 3]), on a background level: uint8 (1, height, width[, 3])."""
    images = np.empty((1, *image.shape), np.uint8)
    images[:] = ground
    top, left = ((side - own) // 2 for side, own in zip((image.height, image.width), pixels.shape, strict=False))
    images[0, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return images


def _border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost pixels, (n[, 3])."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
