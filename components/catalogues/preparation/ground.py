"""A garment on a plain or smooth ground, or cut out by transparency: where it is, and how much each pixel shows of it.

The ground is read from the corners and the border, in colour. It may be of any level, and may change smoothly, as light
in a studio does. What differs from it by more than its own noise is the garment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]  # (h, w, 3), red, green, blue, 0 to 255
Levels = NDArray[np.float32]  # (h, w), 0 to 255
Box = tuple[slice, slice]

PLAIN = 12  # levels, 5 % of all, as in the dataset's paper: what is closer to the ground is ground
SMOOTH = 2  # levels; as much, where the ground is not the same everywhere: a sheet or a carpet differs by more
MOSTLY = 0.6  # share of the border that is ground; the garment may touch the rest
LEAST, MOST = 3, 40  # levels; the bounds of what the ground's own noise makes of the threshold
FITS = 6  # of the smooth ground, each to the border pixels that were near the last
SPECK = 0.01  # share of the largest piece; a smaller piece is dust
FEWEST = 9  # pixels; fewer are no garment
OPENED = 56  # pixels a side; in a smaller picture a garment may be a pixel wide
OPAQUE, INK = 0.5, 0.1  # of the most opaque pixel's alpha; less is a shadow, but not where all has one colour
FLAT = 6.0  # levels; the standard deviation of a garment without detail
MASKING = 0.02  # share of transparent pixels that makes alpha a mask
RED_GREEN_BLUE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as Pillow's


@dataclass(frozen=True)
class Ground:
    """What is behind the garment."""

    colours: Colours  # the same everywhere, or changing smoothly
    noise: float  # levels; the standard deviation at the border


@dataclass(frozen=True)
class CutOut:
    """A garment apart from its ground; all arrays (h, w)."""

    grey: Levels  # of the picture
    ground: Levels  # what shines through where `opacity` is below 1
    mask: NDArray[np.bool_]  # true somewhere
    opacity: Levels  # 0 to 1: how much of a pixel is garment; 0 outside the mask
    depth: Levels  # pixels to the garment's outline; 0 outside the mask

    box: Box  # the garment's rows and columns, without the faintest of its outline
    side: int  # of the image that is drawn of it, pixels

    @property
    def pixel(self) -> float:
        """How many pixels of the picture make one of the image."""
        return float(max(edge.stop - edge.start for edge in self.box)) / self.side


def find_ground(colours: Colours) -> Ground | None:
    """The ground that the corners and most of the border show, or None where they show none."""
    border, places = _border(colours)
    corners = colours[[0, 0, -1, -1], [0, -1, 0, -1]]
    fitted = np.broadcast_to(np.median(corners, axis=0), border.shape)
    if np.ptp(corners, axis=0).max() <= PLAIN and _shows(border, fitted, PLAIN):
        return Ground(np.broadcast_to(fitted[0], colours.shape), _noise(border, fitted))
    weights = _fit(border, places)
    fitted = (places @ weights).astype(np.float32)
    if not _shows(border, fitted, SMOOTH):
        return None
    everywhere = _basis(*colours.shape[:2]) @ weights
    return Ground(everywhere.reshape(colours.shape).clip(0, 255).astype(np.float32), _noise(border, fitted))


def cut_from_ground(colours: Colours, ground: Ground, side: int) -> CutOut | None:
    """The garment, or None where nothing differs from the ground."""
    import cv2

    difference = abs(colours - ground.colours).max(axis=2)
    threshold = float(np.clip(2 + 3 * ground.noise, LEAST, MOST))
    mask = _whole_pieces(difference, threshold, ground.noise)
    if mask is None:
        return None
    depth = _depth(mask)
    box = _box(mask & (difference > min(PLAIN, np.median(difference[mask]) / 2)))
    pixel = max(edge.stop - edge.start for edge in box) / side
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(pixel)) + 1,) * 2)
    strongest = cv2.dilate(np.where(mask, difference, 0).astype(np.float32), disk)
    opacity = np.maximum(difference / np.maximum(strongest, 1), depth / pixel).clip(0, 1) * mask
    grey, behind = colours @ RED_GREEN_BLUE, ground.colours @ RED_GREEN_BLUE
    return CutOut(grey, behind, mask, opacity.astype(np.float32), depth, box, side)


def cut_by_alpha(colours: Colours, alpha: Levels, side: int) -> CutOut | None:
    """The garment that `alpha`, 0 to 255, leaves visible, or None where it hides next to nothing or everything."""
    top = float(alpha.max())
    mask = alpha >= max(OPAQUE * top, 1)
    if (~mask).mean() < MASKING or mask.sum() < FEWEST:
        return None
    grey = colours @ RED_GREEN_BLUE
    if grey[mask].std() < FLAT:
        mask = alpha >= max(INK * top, 1)
    mask = _large_pieces(mask.astype(np.uint8), mask)
    opacity = np.where(mask, alpha / (255 if top > 127 else top), 0).astype(np.float32)
    white = np.full(mask.shape, 255, np.float32)
    return CutOut(opacity * grey + (1 - opacity) * white, white, mask, opacity, _depth(mask), _box(mask), side)


def _border(colours: Colours) -> tuple[Colours, NDArray[np.float64]]:
    """The colours of the pixels at the border, (n, 3), and their places as `_basis` has them."""
    height, width = colours.shape[:2]
    at_border = np.zeros((height, width), bool)
    at_border[[0, -1]] = at_border[:, [0, -1]] = True
    return colours[at_border], _basis(height, width)[at_border.ravel()]


def _basis(height: int, width: int) -> NDArray[np.float64]:
    """(height * width, 6): what a surface of the second degree is made of."""
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    parts = (1, down, across, down**2, down * across, across**2)
    return np.stack([np.broadcast_to(part, (height, width)) for part in parts], axis=-1).reshape(-1, 6)


def _fit(border: Colours, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 3): the smooth surface through most of the border."""
    kept = np.ones(len(border), bool)
    for number in range(FITS):
        weights = np.linalg.lstsq(places[kept], border[kept], rcond=None)[0]
        distance = abs(places @ weights - border).max(axis=1)
        kept = distance <= (np.quantile(distance, MOSTLY) if number < FITS // 2 else SMOOTH)
        if not kept.any():
            break
    return np.asarray(weights)


def _shows(border: Colours, ground: Colours, levels: float) -> bool:
    return bool((abs(border - ground).max(axis=1) <= levels).mean() >= MOSTLY)


def _noise(border: Colours, ground: Colours) -> float:
    """From the median, which a garment at the border does not move much."""
    return float(np.median(abs(border - ground).max(axis=1))) / 0.67


def _whole_pieces(difference: Levels, threshold: float, noise: float) -> NDArray[np.bool_] | None:
    """Where the garment is, what has the ground's colour within it included; holes that show the ground are not."""
    import cv2

    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    differs = (difference > threshold).astype(np.uint8)
    strong = differs & (difference > min(2 * threshold, PLAIN))
    if min(differs.shape) >= OPENED:
        strong = cv2.morphologyEx(strong, cv2.MORPH_OPEN, cross).astype(np.uint8)  # not what is a pixel wide
    pieces = _large_pieces(differs, strong.astype(bool)).astype(np.uint8)
    if pieces.sum() < FEWEST:
        return None
    outlines, _ = cv2.findContours(pieces, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(pieces, outlines, -1, 1, cv2.FILLED).astype(bool)
    alike = cv2.morphologyEx((whole & (difference <= threshold)).astype(np.uint8), cv2.MORPH_OPEN, cross)
    number, holes = cv2.connectedComponents(alike.astype(np.uint8), connectivity=4)
    for hole in range(1, number):
        inside = holes == hole
        if np.median(difference[inside]) <= max(noise, 0.5):
            whole[inside] = False
    return np.asarray(whole, bool)


def _large_pieces(mask: NDArray[np.uint8], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected pieces that are `strong` somewhere, without those that are dust beside the largest."""
    import cv2

    number, pieces, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = np.zeros(number, bool)
    kept[np.unique(pieces[strong])] = True
    kept[0] = False
    areas = facts[:, cv2.CC_STAT_AREA] * kept
    return np.asarray((kept & (areas >= SPECK * areas.max()))[pieces], bool)


def _depth(mask: NDArray[np.bool_]) -> Levels:
    import cv2

    framed = np.pad(mask.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32)


def _box(mask: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
