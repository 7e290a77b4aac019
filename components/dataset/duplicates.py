"""Images that show the same picture though their bytes differ: shifted by a pixel, compressed again, darker, brighter.

Two images are held against each other by the correlation of their pixels, which brightness and contrast do not change,
in two ways: as they are, and what is left when a blurred copy is taken away, which is texture and edges. A shift by a
pixel is undone by comparing the middle of one, all but its outermost pixels, with each of the nine such windows of the
other. Images with a side of more than 32 pixels are made smaller before, so that many are held in little memory. How
the two thresholds were measured is in docs/data.md.

Within a set, `find_pairs` compares next to no pair in full. It projects each window onto the 63 directions in which a
sample varies most, and adds the length of what the projection leaves out as a number more. The product of two such
short rows is no less than the correlation, by Cauchy and Schwarz, so what is below the threshold there is no copy.
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
DIRECTIONS, SAMPLE = 63, 512  # that windows are projected onto, and the rows that they are found in
SLACK = 1e-4  # more than float32 rounds off
SIDE_BY_SIDE = 2_048  # short rows that `ROWS` others are compared with at a time: 4 MB, which a cache holds
DENSE = 16  # of so many pairs one may be a copy: a matrix product of all of them is faster than each by itself
AT_ONCE = 1 << 22  # numbers of windows that are gathered, 16 MB


def _plain(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images


def _edges(images: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float32] = gaussian_filter(images, SIGMA, axes=(1, 2))
    return images - blurred


@dataclass(frozen=True)
class DuplicateKind:
    """One way to compare, and the correlation from which on two images are copies."""

    prepare: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    threshold: float


WAYS = (DuplicateKind(_plain, 0.990), DuplicateKind(_edges, 0.943))


@dataclass(frozen=True)
class Alike:
    """Two images that are copies of each other."""

    row: int  # of those that were looked at
    other: int  # of those they were held against
    likeness: float  # correlation, up to 1


@dataclass(frozen=True)
class Pairs:
    """Images that are copies of each other."""

    rows: NDArray[np.intp]  # (n,)
    others: NDArray[np.intp]  # (n,), each after its row
    values: NDArray[np.float32]  # (n,), their correlations


@dataclass(frozen=True)
class Likeness:
    """The correlations of a block of images with a block of the same or later ones."""

    row: int  # of the first image
    other: int  # of the first one that it is compared with
    values: NDArray[np.float32]  # (rows, others); -1 for an image and itself, and for a pair that has had its turn


def find_duplicates(images: Images, others: Images, shifted: bool = True) -> list[Alike]:
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


def likeness_within(images: Images, way: DuplicateKind) -> Iterator[Likeness]:
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


def find_pairs(images: Images, way: DuplicateKind) -> Iterator[Pairs]:
    """The copies of each other within a set, each pair once, not shifted: those that `likeness_within` shows.

    Args:
        images: uint8 (n, height, width[, 3]).
        way: how to compare.
    """
    if not len(images):
        return
    held = _describe_all(images, way)
    short = _shorten(held)
    key = short[:, short.var(axis=0).argmax()]
    order = np.argsort(key, kind="stable")
    short, key = short[order], key[order]
    bound = way.threshold - SLACK
    reach = math.sqrt(2 - 2 * bound)  # of two copies: how far apart they can be in any one direction
    for row in range(0, len(order), ROWS):
        mine = short[row : row + ROWS]
        end = int(np.searchsorted(key, key[row + len(mine) - 1] + reach, side="right"))
        for other in range(row, end, SIDE_BY_SIDE):
            theirs = short[other : min(other + SIDE_BY_SIDE, end)]
            rows, others = _find_sparse(mine @ theirs.T >= bound)
            later = others + other > rows + row
            rows, others = rows[later], others[later]
            first, second = order[row : row + len(mine)], order[other : other + len(theirs)]
            if len(rows) * DENSE > len(mine) * len(theirs):
                values = (held[first] @ held[second].T)[rows, others]
            else:
                values = _correlate(held, first[rows], second[others])
            copies = values >= way.threshold
            ends = first[rows[copies]], second[others[copies]]
            yield Pairs(np.minimum(*ends), np.maximum(*ends), values[copies])


def _shorten(held: Features) -> NDArray[np.float32]:
    """(n, 1 to 64): the product of two rows is no less than that of the features they stand for, (n, numbers)."""
    sample = held[:: -(-len(held) // SAMPLE)]
    directions = np.linalg.svd(sample, full_matrices=False)[2][:DIRECTIONS]
    short = np.empty((len(held), len(directions) + 1), np.float32)
    for start in range(0, len(held), ROWS):
        block = held[start : start + ROWS]
        short[start : start + ROWS, :-1] = projected = block @ directions.T
        short[start : start + ROWS, -1] = np.linalg.norm(block - projected @ directions, axis=1)
    return short


def _find_sparse(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """`np.nonzero` of a matrix in which hardly anything is true: eight are looked at together."""
    flat = mask.reshape(-1)
    whole = flat.size // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    places = np.concatenate([(8 * words[:, None] + np.arange(8)).reshape(-1), np.arange(whole, flat.size)])
    rows, others = np.divmod(places[flat[places]], mask.shape[1])
    return rows, others


def _correlate(held: Features, rows: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.float32]:
    """The product of each of `rows` with the one of `others` in its place, (n,)."""
    values = np.empty(len(rows), np.float32)
    step = max(1, AT_ONCE // held.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        np.einsum("ij,ij->i", held[rows[part]], held[others[part]], out=values[part])
    return values


def _describe_all(images: Images, way: DuplicateKind) -> Features:
    """`describe` in blocks, so that what is worked out on the way takes little memory."""
    described = np.empty((len(images), describe(images[:1], way, MIDDLE[0]).shape[1]), np.float32)
    for start in range(0, len(images), ROWS):
        described[start : start + ROWS] = describe(images[start : start + ROWS], way, MIDDLE[0])
    return described


def describe(images: Images, way: DuplicateKind, shift: tuple[int, int]) -> Features:
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
    images: Images, held: Features, way: DuplicateKind, shifts: tuple[tuple[int, int], ...]
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
