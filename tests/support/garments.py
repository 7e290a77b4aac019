"""Synthetic photos of a garment on a carpet."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 160, 120
OUTLINE = [(30, 30), (90, 30), (105, 70), (88, 75), (88, 135), (32, 135), (32, 75), (15, 70)]


def carpet(seed: int = 0) -> NDArray[np.uint8]:
    """Brown stripes and noise."""
    random = np.random.default_rng(seed)
    stripes = 20 * (np.arange(HEIGHT)[:, None, None] // 10 % 2)
    noise = random.normal(0, 10, (HEIGHT, WIDTH, 1))
    return np.asarray((np.array([120, 90, 60]) + stripes + noise).clip(0, 255), np.uint8)


def shirt() -> NDArray[np.bool_]:
    picture = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).polygon(OUTLINE, fill=1)
    return np.asarray(picture)


def photo(color: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    pixels = carpet(seed)
    shade = np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 1))
    pixels[shirt()] = (np.array(color) + shade).clip(0, 255).astype(np.uint8)[shirt()]
    return pixels


def encode(color: tuple[int, int, int], form: str = "PNG") -> bytes:
    """A photo file in the size of a small phone photo."""
    content = io.BytesIO()
    Image.fromarray(photo(color)).resize((WIDTH * 3, HEIGHT * 3)).save(content, form)
    return content.getvalue()
