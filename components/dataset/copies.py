"""Images that show the same picture though their bytes differ: shifted by a pixel, compressed again, darker, brighter.

Two images are held against each other by the correlation of their pixels, which brightness and contrast do not change,
in two ways: as they are, and what is left when a blurred copy is taken away, which is texture and edges. A shift by a
pixel is undone by comparing the middle of one, all but its outermost pixels, with each of the nine such windows of the
other. Images with a side of more than 32 pixels are made smaller before, so that many are held in little memory. How
the two thresholds were measured is in docs/data.md.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

Features = NDArray[np.float32]  # (n, numbers of a window), each row of mean 0 and length 1
ROWS = 512  # compared at a time with up to `OTHERS`, or with all others: 20 MB for 10,000
OTHERS = 8_192  # 16 MB of correlations, however many images there are
LARGEST_SIDE = 32  # pixels that are compared, a side
SHIFTS = tuple((down, right) for down in range(3) for right in range(3))
MIDDLE = ((1, 1),)
SIGMA = 1.0  # pixels, of the blur


def _plain(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images


def _edges(images: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float32] = gaussian_filter(images, SIGMA, axes=(1, 2))
    return images - blurred


@dataclass(frozen=True)
class CopyKind:
    """One way to compare, and the correlation from which on two images are copies."""

    prepare: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    threshold: float


WAYS = (CopyKind(_plain, 0.990), CopyKind(_edges, 0.943))


@dataclass(frozen=True)
class Alike:
    """Two images that are copies of each other."""

    row: int  # of those that were looked at
    other: int  # of those they were held against
    likeness: float  # correlation, up to 1


@dataclass(frozen=True)
class Likeness:
    """The correlations of a block of images with a block of the same or later ones."""

    row: int  # of the first image
    other: int  # of the first one that it is compared with
    values: NDArray[np.float32]  # (rows, others); -1 for an image and itself, and for a pair that has had its turn


def find_copies(images: Images, others: Images, shifted: bool = True) -> list[Alike]:
    """The copies of `others` among `images`: for each image the most alike one, by the first way that finds any.

    Args:
        images: uint8 (n, height, width[, 3]).
        others: uint8 (m, height, width[, 3]).
        shifted: also those that are shifted by a pixel up, down, left or right, at nine times the work.
    """
    found = dict[int, Alike]()
    for way in WAYS:
        held = _describe_all(others, way)
        for start in range(0, len(images), ROWS):
            best, place = _most_alike(images[start : start + ROWS], held, way, SHIFTS if shifted else MIDDLE)
            for row in np.flatnonzero(best >= way.threshold).tolist():
                found.setdefault(start + row, Alike(start + row, int(place[row]), round(float(best[row]), 4)))
    return [found[row] for row in sorted(found)]


def compare_within(images: Images) -> tuple[list[Alike], NDArray[np.float32]]:
    """Copies of each other within a set, each pair once, not shifted; and how alike the most alike other image is.

    Args:
        images: uint8 (n, height, width[, 3]).

    Returns:
        The pairs, in order, and the highest correlation of each image with any other as they are, float32 (n,).
    """
    found = dict[tuple[int, int], Alike]()
    nearest = np.full(len(images), -1, np.float32)
    for way in WAYS:
        for block in likeness_within(images, way):
            for row, other in np.argwhere(block.values >= way.threshold).tolist():
                pair = block.row + row, block.other + other
                found.setdefault(pair, Alike(*pair, round(float(block.values[row, other]), 4)))
            if way is WAYS[0]:
                rows, others = block.values.shape
                mine, theirs = nearest[block.row : block.row + rows], nearest[block.other : block.other + others]
                np.maximum(mine, block.values.max(axis=1), out=mine)
                np.maximum(theirs, block.values.max(axis=0), out=theirs)
    return [found[pair] for pair in sorted(found)], nearest


def likeness_within(images: Images, way: CopyKind) -> Iterator[Likeness]:
    """Compare each image with every other, not shifted, in blocks: at no time is there a matrix of all pairs.

    Args:
        images: uint8 (n, height, width[, 3]).
        way: how to compare.
    """
    held = _describe_all(images, way)
    for row in range(0, len(images), ROWS):
        mine = held[row : row + ROWS]
        for other in range(row, len(images), OTHERS):
            values = mine @ held[other : other + OTHERS].T
            if other == row:
                values[np.tril_indices(len(mine))] = -1
            yield Likeness(row, other, values)


def _describe_all(images: Images, way: CopyKind) -> Features:
    """`describe` in blocks, so that what is worked out on the way takes little memory."""
    described = np.empty((len(images), describe(images[:1], way, MIDDLE[0]).shape[1]), np.float32)
    for start in range(0, len(images), ROWS):
        described[start : start + ROWS] = describe(images[start : start + ROWS], way, MIDDLE[0])
    return described


def describe(images: Images, way: CopyKind, shift: tuple[int, int]) -> Features:
    """A window of each image, uint8 (n, height, width[, 3]); the product of two of these is their correlation."""
    down, right = shift
    prepared = way.prepare(_shrink(images))
    height, width = prepared.shape[1] - 2, prepared.shape[2] - 2
    windows = prepared[:, down : down + height, right : right + width]
    flat = windows.reshape(len(images), math.prod(windows.shape[1:]))
    flat = flat - flat.mean(axis=1, keepdims=True)
    features: Features = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return features


def _shrink(images: Images) -> NDArray[np.float32]:
    """The means of squares of pixels, as small as both sides need; the rest of a division is left out."""
    side = -(-max(images.shape[1:3]) // LARGEST_SIDE)
    if side == 1:
        return images.astype(np.float32)
    height, width = images.shape[1] // side, images.shape[2] // side
    squares = images[:, : height * side, : width * side].reshape(-1, height, side, width, side, *images.shape[3:])
    means: NDArray[np.float32] = squares.mean(axis=(2, 4), dtype=np.float32)
    return means


def _most_alike(
    images: Images, held: Features, way: CopyKind, shifts: tuple[tuple[int, int], ...]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The highest correlation of each image with any other, and with which one: (n,) each."""
    best = np.full(len(images), -1, np.float32)
    place = np.zeros(len(images), np.intp)
    for shift in shifts:
        likeness = describe(images, way, shift) @ held.T
        most = likeness.argmax(axis=1)
        value = likeness[np.arange(len(images)), most]
        better = value > best
        best[better], place[better] = value[better], most[better]
    return best, place
