"""Pictures of easily separable classes: a patch in the class's colour on white; all pictures differ."""

import colorsys
import io
from pathlib import Path

import numpy as np
from PIL import Image

from components.contract import Images

SIDE = 40  # pixels


def draw_photo(label: int, number: int, side: int = SIDE) -> Images:
    """One picture, uint8 (side, side, 3)."""
    generator = np.random.default_rng([label, number])
    color = 255 * np.array(colorsys.hsv_to_rgb(label / 12, 0.8, 0.8))
    photo = np.full((side, side, 3), 255.0)
    top, left = generator.integers(2, side // 3, 2)
    height, width = generator.integers(side // 3, side // 2, 2)
    patch = photo[top : top + height, left : left + width]
    patch[:] = color + generator.normal(0, 30, patch.shape)
    drawn: Images = np.clip(photo, 0, 255).astype(np.uint8)
    return drawn


def encode_photo(photo: Images, form: str = "PNG") -> bytes:
    """A picture file."""
    content = io.BytesIO()
    Image.fromarray(photo).save(content, form)
    return content.getvalue()


def write_photos(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Write `counts` pictures to one folder per class; the numbers start at `first`."""
    for label, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            (folder / f"{number:03}.png").write_bytes(encode_photo(draw_photo(label, number)))
    return root
