"""Draw the example pictures and tables: `python -m examples.draw`. The same files every time."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.sample import SILHOUETTES, Outline
from components.contract import Images
from components.readers.images.photos import read_photo

HERE = Path(__file__).resolve().parent
SIZE = 224  # pixels, both ways
GRID = 28  # the silhouettes' own
DRAWN = 4  # times SIZE; shrunk afterwards for smooth edges
SHOE_SOLE = ((2, 20), (26, 20), (26, 22.5), (3, 22.5))
# file -> colour of the cloth; the outlines that it fills; the holes in them; darker parts. Points as in `sample.py`.
GARMENTS: dict[str, tuple[tuple[int, int, int], tuple[Outline, ...], tuple[Outline, ...], tuple[Outline, ...]]] = {
    "t-shirt": ((58, 84, 140), SILHOUETTES["T-shirt/top"][0], (), ()),
    "trouser": ((44, 46, 54), SILHOUETTES["Trouser"][0], (), ()),
    "dress": ((150, 40, 62), SILHOUETTES["Dress"][0], (), ()),
    "sneaker": (
        (40, 110, 96),
        (((2, 20), (2.5, 16.5), (8, 15), (14, 11), (18, 10), (21, 12), (25, 10), (26, 20)), SHOE_SOLE),
        (),
        (SHOE_SOLE, ((9, 14.5), (13, 11.6), (14.5, 12.6), (10.5, 15.4))),
    ),
    "bag": (
        (120, 78, 44),
        (((3, 11), (25, 11), (26, 25), (2, 25)), ((8, 11), (10, 4), (18, 4), (20, 11))),
        (((9.5, 11), (11, 5.5), (17, 5.5), (18.5, 11)),),
        (((3, 15), (25, 15), (25, 16), (3, 16)), ((12.5, 14), (15.5, 14), (15.5, 18), (12.5, 18))),
    ),
    "ankle-boot": (
        (70, 50, 40),
        (((13, 3), (24, 3), (25, 14), (25, 23), (20, 23), (19, 21), (2, 21), (2.5, 17), (9, 14.5), (13, 11)),),
        (),
        (((2, 20), (25, 20), (25, 23), (20, 23), (19, 21), (2, 21)), ((16, 4), (17, 4), (17, 14), (16, 14))),
    ),
}
ROWS = 3  # photos that are also in pixels.csv, as 28 x 28 images


def draw_photo(name: str) -> Image.Image:
    """A garment on a bright background, RGB, SIZE x SIZE pixels; `name` is a key of `GARMENTS`."""
    colour, outlines, holes, dark = GARMENTS[name]
    covered, shaded = _mask((outlines, 255), (holes, 0)), _mask((dark, 255))
    folds = 10 * np.sin(np.arange(SIZE) / 9)[:, None, None]
    cloth = (np.array(colour, np.float32) + folds) * (1 - 0.4 * shaded)
    background = np.linspace(246, 236, SIZE, dtype=np.float32)[:, None, None]
    pixels = covered * cloth + (1 - covered) * background
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _mask(*groups: tuple[tuple[Outline, ...], int]) -> NDArray[np.float32]:
    """Filled outlines with smooth edges: float32 (SIZE, SIZE, 1), 0 to 1."""
    scale = SIZE * DRAWN / GRID
    mask = Image.new("L", (SIZE * DRAWN, SIZE * DRAWN))
    pen = ImageDraw.Draw(mask)
    for outlines, fill in groups:
        for outline in outlines:
            pen.polygon([(x * scale, y * scale) for x, y in outline], fill=fill)
    small = mask.resize((SIZE, SIZE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1))
    covered: NDArray[np.float32] = np.asarray(small, np.float32)[..., None] / np.float32(255)
    return covered


def write_pixels(path: Path, images: Images) -> None:
    """Write images as a table: an id, then one column per pixel."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", *(f"pixel{number}" for number in range(1, images[0].size + 1))])
        table.writerows([f"a{number}", *image.ravel()] for number, image in enumerate(images, 1))


def main() -> None:
    """Write photos/*.png, catalogue.csv and pixels.csv."""
    (HERE / "photos").mkdir(exist_ok=True)
    rows = [("sku", "image")]
    for number, name in enumerate(GARMENTS, 1):
        path = HERE / "photos" / f"{name}.png"
        draw_photo(name).quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
        rows.append((f"A-{number:03}", f"photos/{path.name}"))
    rows.append(("A-007", "photos/not-delivered.png"))  # a row for the rejects
    with (HERE / "catalogue.csv").open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)
    photos = [(HERE / "photos" / f"{name}.png").read_bytes() for name in list(GARMENTS)[:ROWS]]
    write_pixels(HERE / "pixels.csv", np.stack([read_photo(photo, CONTRACT) for photo in photos]))


if __name__ == "__main__":
    main()
