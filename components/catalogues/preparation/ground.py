"""Segment a garment by transparency or on a plain or smooth background: its mask, and the opacity of each pixel.

The background colour is estimated from the corners and the border. It may have any level and vary smoothly, like studio
light. Pixels that differ from it by more than its noise are garment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]  # (h, w, 3), red, green, blue, 0 to 255
Levels = NDArray[np.float32]  # (h, w), 0 to 255
Box = tuple[slice, slice]

PLAIN = 12  # tolerance of a plain background in levels: 5 % of the range, as in the dataset's paper
SMOOTH = 2  # tolerance of a smooth background in levels; sheets and carpets vary more
MOSTLY = 0.6  # minimum share of the border that is background; the garment may touch the rest
LEAST, MOST = 3, 40  # bounds of the noise threshold, in levels
FITS = 6  # iterations of the smooth fit, each to the border pixels near the previous one
SPECK = 0.01  # minimum size of a piece relative to the largest; smaller pieces are dust
FEWEST = 9  # minimum pixels of a garment
OPENED = 56  # pixels per side; in smaller pictures, a garment may be one pixel wide
OPAQUE, INK = 0.5, 0.1  # minimum alpha relative to the maximum, to exclude shadows; the second for a single colour
FLAT = 6.0  # standard deviation of a garment without detail, in levels
MASKING = 0.02  # minimum share of transparent pixels for alpha to count as a mask
RED_GREEN_BLUE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as in Pillow


@dataclass(frozen=True)
class Ground:
    """The background."""

    colours: Colours  # constant or smoothly varying
    noise: float  # standard deviation at the border, in levels


@dataclass(frozen=True)
class CutOut:
    """A segmented garment; all arrays are (h, w)."""

    grey: Levels  # of the picture
    ground: Levels  # the background, visible where `opacity` is below 1
    mask: NDArray[np.bool_]  # true somewhere
    opacity: Levels  # 0 to 1: coverage of each pixel by the garment; 0 outside the mask
    depth: Levels  # distance to the garment's outline in pixels; 0 outside the mask

    box: Box  # the garment's bounding box, without its faintest outline
    side: int  # of the image to draw, in pixels

    @property
    def pixel(self) -> float:
        """Pixels of the picture per pixel of the image."""
        return float(max(edge.stop - edge.start for edge in self.box)) / self.side


def find_ground(colours: Colours) -> Ground | None:
    """Estimate the background from the corners and most of the border; None if they are not uniform or smooth."""
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
    """Segment the garment; None if nothing differs from the background."""
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
    """Segment the garment by `alpha`, 0 to 255; None if hardly anything, or everything, is transparent."""
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
    """The colours of the border pixels, (n, 3), and their rows of `_basis`, (n, 6)."""
    height, width = colours.shape[:2]
    at_border = np.zeros((height, width), bool)
    at_border[[0, -1]] = at_border[:, [0, -1]] = True
    return colours[at_border], _basis(height, width)[at_border.ravel()]


def _basis(height: int, width: int) -> NDArray[np.float64]:
    """The basis of a quadratic surface, (height * width, 6)."""
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    parts = (1, down, across, down**2, down * across, across**2)
    return np.stack([np.broadcast_to(part, (height, width)) for part in parts], axis=-1).reshape(-1, 6)


def _fit(border: Colours, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit a quadratic surface to most of the border: coefficients, (6, 3)."""
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
    """Estimate the noise from the median, which is robust to a garment at the border."""
    return float(np.median(abs(border - ground).max(axis=1))) / 0.67


def _whole_pieces(difference: Levels, threshold: float, noise: float) -> NDArray[np.bool_] | None:
    """The garment's mask, including parts with the background's colour, but not holes that show the background."""
    import cv2

    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    differs = (difference > threshold).astype(np.uint8)
    strong = differs & (difference > min(2 * threshold, PLAIN))
    if min(differs.shape) >= OPENED:
        strong = cv2.morphologyEx(strong, cv2.MORPH_OPEN, cross).astype(np.uint8)  # removes structures one pixel wide
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
    """The connected pieces that are `strong` somewhere, without dust."""
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
