"""Synthetic sample of Fashion-MNIST: ten garment silhouettes with noise.

For tests, and for a first run without a network. Everything made from it is marked `sample`.
"""

import numpy as np
from PIL import Image, ImageDraw

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Images, Labels

HEIGHT, WIDTH = CONTRACT.image.shape
SCALE = 4  # silhouettes are drawn at 112 x 112 and downscaled, for smooth edges

Point = tuple[float, float]
Outline = tuple[Point, ...]  # corners on the 28 x 28 grid, (x, y), y down

BODICE: Outline = ((10, 4), (12, 6), (16, 6), (18, 4), (21, 6), (20, 25), (8, 25), (7, 6))
LONG_SLEEVES: tuple[Outline, ...] = (
    ((8, 5), (4, 9), (3, 23), (6, 23), (8, 12)),
    ((20, 5), (24, 9), (25, 23), (22, 23), (20, 12)),
)

# Per class: bright outlines, then dark cuts.
SILHOUETTES: dict[str, tuple[tuple[Outline, ...], tuple[Outline, ...]]] = {
    "T-shirt/top": ((BODICE, ((8, 5), (3, 10), (6, 13), (9, 10)), ((20, 5), (25, 10), (22, 13), (19, 10))), ()),
    "Trouser": ((((9, 3), (19, 3), (20, 26), (15.5, 26), (14, 10), (12.5, 26), (8, 26)),), ()),
    "Pullover": ((BODICE, *LONG_SLEEVES), ()),
    "Dress": ((((11, 2), (17, 2), (16, 10), (21, 26), (7, 26), (12, 10)),), ()),
    "Coat": ((((9, 3), (19, 3), (21, 26), (7, 26)), *LONG_SLEEVES), (((13.6, 5), (14.4, 5), (14.4, 26), (13.6, 26)),)),
    "Sandal": (
        (
            ((2, 20), (26, 17), (26, 21), (2, 22)),
            ((5, 20), (12, 12), (14, 13), (8, 20)),
            ((16, 19), (23, 9), (25, 10), (20, 19)),
        ),
        (),
    ),
    "Shirt": (
        (BODICE, *LONG_SLEEVES),
        (((12, 4), (16, 4), (14, 11)), ((13.7, 11), (14.3, 11), (14.3, 25), (13.7, 25))),
    ),
    "Sneaker": (
        (((2, 21), (2, 17), (11, 16), (17, 11), (24, 11), (26, 21)),),
        (((12, 17), (17, 13), (18, 14), (13, 18)),),
    ),
    "Bag": (
        (((4, 11), (24, 11), (26, 25), (2, 25)), ((9, 11), (10, 4), (18, 4), (19, 11))),
        (((11, 10), (11.5, 6), (16.5, 6), (17, 10)),),
    ),
    "Ankle boot": ((((9, 3), (20, 3), (20, 16), (24, 24), (3, 24), (3, 19), (10, 15)),), ()),
}


def draw(rows: int, generator: np.random.Generator) -> tuple[Images, Labels]:
    """Draw `rows` images with balanced classes in random order.

    Returns:
        uint8 (rows, 28, 28) and uint8 (rows,).
    """
    labels = generator.permutation(np.arange(rows) % len(CLASSES)).astype(np.uint8)
    return np.stack([_draw_one(CLASSES[label], generator) for label in labels]), labels


def _draw_one(name: str, generator: np.random.Generator) -> Images:
    outlines, cuts = SILHOUETTES[name]
    scale, shift = generator.uniform(0.85, 1.05, 2), generator.uniform(-1.2, 1.2, 2)
    shade = generator.uniform(130, 235)
    picture = Image.new("L", (WIDTH * SCALE, HEIGHT * SCALE))
    pen = ImageDraw.Draw(picture)
    for group, fill in ((outlines, 255), (cuts, 60)):
        for outline in group:
            corners = (np.array(outline) - 14 + generator.normal(0, 0.35, (len(outline), 2))) * scale + 14 + shift
            pen.polygon([(float(x * SCALE), float(y * SCALE)) for x, y in corners], fill=fill)
    mask = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX), np.float32) / 255
    noise = generator.normal(0, 18, (HEIGHT, WIDTH))
    folds = np.sin(np.arange(HEIGHT) * generator.uniform(0.2, 2.5))[:, None]
    cloth = shade + noise + 25 * folds
    drawn: Images = np.clip(mask * cloth, 0, 255).astype(np.uint8)
    return drawn
