"""Find near-duplicates: images of the same picture that was shifted by a pixel, recompressed, darkened or brightened.

Images are compared by the correlation of their pixels, which is invariant to brightness and contrast. Two comparisons
are used: the plain pixels, and the pixels minus a blurred copy (texture and edges). For shifts by a pixel, the window
without the outermost pixels is compared with all nine such windows of the other image. Images with a side of more than
32 pixels are downsampled first, to save memory. docs/data.md describes how the two thresholds were measured.

`find_pairs` computes the full correlation of very few pairs. It projects each window onto the first 63 principal
directions of a sample and appends the norm of the residual. By the Cauchy-Schwarz inequality, the product of two such
short vectors is an upper bound of the correlation, so pairs below the threshold can be skipped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

Features = NDArray[np.float32]  # (n, values of a window), each row with mean 0 and norm 1
ROWS = 512  # images compared at a time with `OTHERS` or all others: 20 MB for 10,000
OTHERS = 8_192  # 16 MB of correlations, regardless of the number of images
LARGEST_SIDE = 32  # pixels per side after downsampling
SHIFTS = tuple((down, right) for down in range(3) for right in range(3))
MIDDLE = ((1, 1),)
SIGMA = 1.0  # of the blur, in pixels
DIRECTIONS, SAMPLE = 63, 512  # principal directions, and the number of rows they are computed from
SLACK = 1e-4  # more than the rounding error of float32
SHORT_ROWS = 2_048  # short vectors compared with `ROWS` others at a time: 4 MB, which fits a cache
DENSE = 16  # if more than 1 pair in 16 is a candidate, one matrix product is faster than single products
MAX_GATHERED = 1 << 22  # values gathered at a time, 16 MB


def _plain(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images


def _edges(images: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float32] = gaussian_filter(images, SIGMA, axes=(1, 2))
    return images - blurred


@dataclass(frozen=True)
class Comparison:
    """How to compare two images, and the minimum correlation of near-duplicates."""

    prepare: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    threshold: float


COMPARISONS = (Comparison(_plain, 0.990), Comparison(_edges, 0.943))


@dataclass(frozen=True)
class DuplicatePair:
    """A pair of near-duplicates."""

    row: int  # position in the images
    other: int  # position in the images they were compared with
    correlation: float  # at most 1


@dataclass(frozen=True)
class DuplicatePairs:
    """n pairs of near-duplicates within a set."""

    rows: NDArray[np.intp]  # (n,)
    others: NDArray[np.intp]  # (n,), each larger than its row
    values: NDArray[np.float32]  # (n,), correlations


@dataclass(frozen=True)
class CorrelationBlock:
    """The correlations of a block of images with a block of the same or later ones."""

    row: int  # position of the first image
    other: int  # position of the first image it is compared with
    values: NDArray[np.float32]  # (rows, others); -1 on and below the diagonal


def find_duplicates(images: Images, others: Images, shifted: bool = True) -> list[DuplicatePair]:
    """Find near-duplicates of `others` in `images`: the best match of each image in the first comparison with any.

    Args:
        images: uint8 (n, height, width[, 3]).
        others: uint8 (m, height, width[, 3]).
        shifted: also compare windows shifted by one pixel in each direction, at nine times the cost.
    """
    found = dict[int, DuplicatePair]()
    for comparison in COMPARISONS:
        features = _describe_all(others, comparison)
        for start in range(0, len(images), ROWS):
            best, index = _best_match(images[start : start + ROWS], features, comparison, SHIFTS if shifted else MIDDLE)
            for row in np.flatnonzero(best >= comparison.threshold).tolist():
                found.setdefault(start + row, DuplicatePair(start + row, int(index[row]), round(float(best[row]), 4)))
    return [found[row] for row in sorted(found)]


def compare_within(images: Images) -> tuple[list[DuplicatePair], NDArray[np.float32]]:
    """Find near-duplicates within a set, without shifts, and each image's correlation with its nearest neighbour.

    Args:
        images: uint8 (n, height, width[, 3]).

    Returns:
        The pairs, in order, and each image's highest plain correlation with any other image, float32 (n,).
    """
    found = dict[tuple[int, int], DuplicatePair]()
    nearest = np.full(len(images), -1, np.float32)
    for comparison in COMPARISONS:
        for block in correlate_within(images, comparison):
            for row, other in np.argwhere(block.values >= comparison.threshold).tolist():
                pair = block.row + row, block.other + other
                found.setdefault(pair, DuplicatePair(*pair, round(float(block.values[row, other]), 4)))
            if comparison is COMPARISONS[0]:
                rows, others = block.values.shape
                mine, theirs = nearest[block.row : block.row + rows], nearest[block.other : block.other + others]
                np.maximum(mine, block.values.max(axis=1), out=mine)
                np.maximum(theirs, block.values.max(axis=0), out=theirs)
    return [found[pair] for pair in sorted(found)], nearest


def correlate_within(images: Images, comparison: Comparison) -> Iterator[CorrelationBlock]:
    """Correlate all pairs of images, without shifts, block by block to save memory.

    Args:
        images: uint8 (n, height, width[, 3]).
        comparison: how to compare.
    """
    features = _describe_all(images, comparison)
    for row in range(0, len(images), ROWS):
        mine = features[row : row + ROWS]
        for other in range(row, len(images), OTHERS):
            values = mine @ features[other : other + OTHERS].T
            if other == row:
                values[np.tril_indices(len(mine))] = -1
            yield CorrelationBlock(row, other, values)


def find_pairs(images: Images, comparison: Comparison) -> Iterator[DuplicatePairs]:
    """Find the near-duplicates within a set, without shifts: the same pairs as `correlate_within`, faster.

    Args:
        images: uint8 (n, height, width[, 3]).
        comparison: how to compare.
    """
    if not len(images):
        return
    features = _describe_all(images, comparison)
    short = _shorten(features)
    key = short[:, short.var(axis=0).argmax()]
    order = np.argsort(key, kind="stable")
    short, key = short[order], key[order]
    bound = comparison.threshold - SLACK
    reach = math.sqrt(2 - 2 * bound)  # largest distance of two near-duplicates in any direction
    for row in range(0, len(order), ROWS):
        mine = short[row : row + ROWS]
        end = int(np.searchsorted(key, key[row + len(mine) - 1] + reach, side="right"))
        for other in range(row, end, SHORT_ROWS):
            theirs = short[other : min(other + SHORT_ROWS, end)]
            rows, others = _find_sparse(mine @ theirs.T >= bound)
            later = others + other > rows + row
            rows, others = rows[later], others[later]
            first, second = order[row : row + len(mine)], order[other : other + len(theirs)]
            if len(rows) * DENSE > len(mine) * len(theirs):
                values = (features[first] @ features[second].T)[rows, others]
            else:
                values = _correlate(features, first[rows], second[others])
            matches = values >= comparison.threshold
            ends = first[rows[matches]], second[others[matches]]
            yield DuplicatePairs(np.minimum(*ends), np.maximum(*ends), values[matches])


def _shorten(features: Features) -> NDArray[np.float32]:
    """Shorten features, (n, values), to (n, 1 to 64): the product of two rows is an upper bound of the original's."""
    sample = features[:: -(-len(features) // SAMPLE)]
    directions = np.linalg.svd(sample, full_matrices=False)[2][:DIRECTIONS]
    short = np.empty((len(features), len(directions) + 1), np.float32)
    for start in range(0, len(features), ROWS):
        block = features[start : start + ROWS]
        short[start : start + ROWS, :-1] = projected = block @ directions.T
        short[start : start + ROWS, -1] = np.linalg.norm(block - projected @ directions, axis=1)
    return short


def _find_sparse(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """`np.nonzero` of a sparse matrix, checking eight elements at a time."""
    flat = mask.reshape(-1)
    whole = flat.size // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    places = np.concatenate([(8 * words[:, None] + np.arange(8)).reshape(-1), np.arange(whole, flat.size)])
    rows, others = np.divmod(places[flat[places]], mask.shape[1])
    return rows, others


def _correlate(features: Features, rows: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.float32]:
    """The product of each of `rows` with its counterpart in `others`, (n,)."""
    values = np.empty(len(rows), np.float32)
    step = max(1, MAX_GATHERED // features.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        np.einsum("ij,ij->i", features[rows[part]], features[others[part]], out=values[part])
    return values


def _describe_all(images: Images, comparison: Comparison) -> Features:
    """`describe` block by block, to save memory."""
    described = np.empty((len(images), describe(images[:1], comparison, MIDDLE[0]).shape[1]), np.float32)
    for start in range(0, len(images), ROWS):
        described[start : start + ROWS] = describe(images[start : start + ROWS], comparison, MIDDLE[0])
    return described


def describe(images: Images, comparison: Comparison, shift: tuple[int, int]) -> Features:
    """The normalized window of each image, uint8 (n, height, width[, 3]); the product of two is their correlation."""
    down, right = shift
    prepared = comparison.prepare(_shrink(images))
    height, width = prepared.shape[1] - 2, prepared.shape[2] - 2
    windows = prepared[:, down : down + height, right : right + width]
    flat = windows.reshape(len(images), math.prod(windows.shape[1:]))
    flat = flat - flat.mean(axis=1, keepdims=True)
    features: Features = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return features


def _shrink(images: Images) -> NDArray[np.float32]:
    """Downsample by averaging squares of pixels, until both sides fit; remaining rows and columns are dropped."""
    side = -(-max(images.shape[1:3]) // LARGEST_SIDE)
    if side == 1:
        return images.astype(np.float32)
    height, width = images.shape[1] // side, images.shape[2] // side
    squares = images[:, : height * side, : width * side].reshape(-1, height, side, width, side, *images.shape[3:])
    means: NDArray[np.float32] = squares.mean(axis=(2, 4), dtype=np.float32)
    return means


def _best_match(
    images: Images, features: Features, comparison: Comparison, shifts: tuple[tuple[int, int], ...]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The highest correlation of each image with the others, and the position of that match: (n,) each."""
    best = np.full(len(images), -1, np.float32)
    index = np.zeros(len(images), np.intp)
    for shift in shifts:
        correlation = describe(images, comparison, shift) @ features.T
        most = correlation.argmax(axis=1)
        value = correlation[np.arange(len(images)), most]
        better = value > best
        best[better], index[better] = value[better], most[better]
    return best, index
