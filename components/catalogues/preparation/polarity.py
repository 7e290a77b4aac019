"""Draw a cut-out garment bright on black, like Fashion-MNIST: negated, as it is, or both.

The dataset's images are negatives of photos: dark garments are bright. So photos must be negated, and pictures that are
already negatives must not. The rim of a garment indicates which it is, because it contains some of the background that
the garment was first cut from: bright if that background was white, dark if it was black. If the rim is inconclusive, a
bright background means a photo, and a pure black one, which no camera records, a negative. On any other background, the
picture is drawn both ways and the predictions are averaged.
"""

import numpy as np

from components.catalogues.preparation.garment import even_out
from components.catalogues.preparation.ground import FLAT, INK, CutOut, Levels

# In pixels of the image: distance of the rim and of the inside from the outline; radius in which they are compared.
RIM, WITHIN, AROUND = (0.7, 1.1), (1.6, 2.6), 2.5
CERTAIN = 20.0  # levels between rim and inside: 96 % of real garments have less, 3 in 4 of the dataset's have more
DOUBTFUL = 5.0  # levels between rim and inside that contradict the background enough to draw both ways
WHITE, BLACK = 200, 1  # levels: minimum of a studio background; the background of a negative is below the second
DIM = 64.0  # levels; a garment that is not brighter is normalized


def draw_both_ways(cut: CutOut) -> list[Levels]:
    """Draw the garment on black: both ways, the likelier first, or one way if the polarity is clear or irrelevant.

    Returns:
        One or two arrays (h, w), 0 to 255.
    """
    inner = cut.depth >= min(cut.pixel, float(cut.depth.max()))
    opacity = cut.opacity[inner]
    inside = (cut.grey[inner] - (1 - opacity) * cut.ground[inner]) / np.maximum(opacity, INK)
    if inside.std() < FLAT:
        return [_draw(cut, negated=bool(inside.mean() <= 127))]
    return [_draw(cut, negated) for negated in _choose(cut, float(np.median(inside)))]


def measure_rim(cut: CutOut) -> float:
    """How many levels darker the rim of the garment is than its inside; 0 if the garment is too thin."""
    import cv2

    pixel = cut.pixel
    rim, within = ((cut.depth > low * pixel) & (cut.depth <= high * pixel) for low, high in (RIM, WITHIN))
    window = (2 * max(1, round(AROUND * pixel)) + 1,) * 2
    sums, counts = (
        cv2.boxFilter(values.astype(np.float32), -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT)
        for values in (np.where(within, cut.grey, 0), within)
    )
    compared = rim & (counts > 0.5)
    if not compared.any():
        return 0.0
    darker = sums[compared] / counts[compared] - cut.grey[compared]
    return float(darker.mean())


def _choose(cut: CutOut, level: float) -> tuple[bool, ...]:
    """Whether to negate the garment: one value, or both with the likelier first."""
    rim, ground = measure_rim(cut), float(np.median(cut.ground))
    if abs(rim) > CERTAIN:
        return (rim < 0,)
    if ground >= WHITE and level < ground:
        return (True,) if rim < DOUBTFUL else (True, False)
    if ground < BLACK and level > ground:
        return (False,) if rim > -DOUBTFUL else (False, True)
    return (True, False) if ground > 127 else (False, True)


def _draw(cut: CutOut, negated: bool) -> Levels:
    levels, ground = (255 - cut.grey, 255 - cut.ground) if negated else (cut.grey, cut.ground)
    drawn = np.where(cut.mask, levels - (1 - cut.opacity) * ground, 0)
    if np.quantile(drawn[cut.mask], 0.99) < DIM:
        drawn = np.where(cut.mask, even_out(levels, cut.mask) * cut.opacity, 0)
    return np.asarray(drawn.clip(0, 255), np.float32)
