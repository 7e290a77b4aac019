"""Blank images."""

import io

import numpy as np
from PIL import Image

from components.contract import Images


def draw_blanks() -> dict[str, Images]:
    """Blank images by name, uint8 (n, 28, 28) each."""
    random = np.random.default_rng(0)
    black, grey, white = (np.full((1, 28, 28), level, np.uint8) for level in (0, 128, 255))
    stray = black.copy()
    stray[0, 5:7, 5:13] = 255  # 16 pixels
    return {
        "black": black,
        "grey": grey,
        "white": white,
        "nearly black": random.integers(0, 3, (20, 28, 28), np.uint8),
        "nearly grey": random.integers(126, 131, (20, 28, 28), np.uint8),
        "one pixel": np.eye(1, 784, 400, dtype=np.uint8).reshape(1, 28, 28) * 255,
        "stray pixels": stray,
        "a blank JPEG": as_jpeg(random.integers(196, 205, (28, 28), np.uint8))[None],
        "noise": random.integers(0, 256, (200, 28, 28), np.uint8),
        "soft noise": random.normal(128, 40, (200, 28, 28)).clip(0, 255).astype(np.uint8),
    }


def as_jpeg(image: Images) -> Images:
    """An image, uint8 (28, 28), after compression as a low-quality JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))
