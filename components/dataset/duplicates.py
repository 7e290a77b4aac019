"""Find near-duplicates: images of the same picture that was shifted by a pixel, recompressed, darkened or brightened.

Images are compared by the correlation of their pixels, which is invariant to brightness and contrast. Two comparisons
are used: the plain pixels, and the pixels minus a blurred copy (texture and edges). For shifts by a pixel, the window
without the outermost pixels is compared with all nine such windows of the other image. Images with a side of more than
32 pixels are downsampled first, to save memory. docs/data.md describes how the two thresholds were measured.

Very few pairs are correlated in full. Each window is projected onto the first 63 principal directions of a sample, and
the norm of the residual is appended. By the Cauchy-Schwarz inequality, the product of two such short vectors is an
upper bound of the correlation, so pairs below the threshold are skipped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, pictures_of

Features = NDArray[np.float32]  # (n, values of a window), each row with mean 0 and norm 1
ROWS = 512  # images compared at a time
OTHERS = 8_192  # with so many others: 16 MB of correlations
OUTLIER_ROWS = 64  # compared with all others at a time: 15 MB for 60,000
LARGEST_SIDE = 32  # pixels per side after downsampling
SHIFTS = tuple((down, right) for down in range(3) for right in range(3))
MIDDLE = ((1, 1),)
SIGMA = 1.0  # of the blur, in pixels
DIRECTIONS, SAMPLE = 63, 512  # principal directions, and the number of rows they are computed from
SLACK = 1e-4  # more than the rounding error of float32
ROUNDING = 1e-6  # the same, of a difference of squares
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


def find_duplicates(
    images: Images,
    others: Images,
    shifted: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[DuplicatePair]:
    """Find near-duplicates of `others` in `images`: the best match of each image in the first comparison with any.

    Args:
        images: (n,).
        others: (m,).
        shifted: also compare windows shifted by one pixel in each direction, at nine times the cost.
        progress: called after each block, with the images compared so far and in all.
    """
    found = dict[int, DuplicatePair]()
    if not len(others):
        return []
    for number, comparison in enumerate(COMPARISONS):
        held = _Held.of(_describe_all(others, comparison))
        order = _order_by_key(images, comparison, held)
        for start in range(0, len(images), ROWS):
            rows = order[start : start + ROWS]
            prepared = comparison.prepare(_shrink(images[rows]))
            best, index = np.full(len(rows), -1, np.float32), np.zeros(len(rows), np.intp)
            for shift in SHIFTS if shifted else MIDDLE:
                held.keep_best(best, index, _normalize(prepared, shift), comparison.threshold)
            for place in np.flatnonzero(best >= comparison.threshold).tolist():
                row, other = int(rows[place]), int(held.order[index[place]])
                found.setdefault(row, DuplicatePair(row, other, round(float(best[place]), 4)))
            progress(number * len(images) + start + len(rows), len(COMPARISONS) * len(images))
    return [found[row] for row in sorted(found)]


def _order_by_key(images: Images, comparison: Comparison, held: "_Held") -> NDArray[np.intp]:
    """An order in which neighbours differ little in the direction that `held` is sorted by."""
    keys = np.empty(len(images), np.float32)
    for start in range(0, len(images), ROWS):
        middle = describe(images[start : start + ROWS], comparison, MIDDLE[0])
        keys[start : start + ROWS] = middle @ held.directions[held.key]
    return np.argsort(keys, kind="stable")


@dataclass(frozen=True)
class _Held:
    """The features of a set, sorted by the direction in which they vary most, for others to be compared with."""

    order: NDArray[np.intp]  # (n,) positions in the set
    features: Features  # in this order, like the next
    short: NDArray[np.float32]  # (n, 2 to 64), see `_shorten`
    directions: NDArray[np.float32]  # (1 to 63, values)
    key: int  # the direction

    @classmethod
    def of(cls, features: Features) -> "_Held":
        directions = _find_directions(features)
        short = _shorten(features, directions)
        key = int(short[:, :-1].var(axis=0).argmax())
        order = np.argsort(short[:, key], kind="stable")
        return cls(order, features[order], short[order], directions, key)

    def keep_best(self, best: NDArray[np.float32], index: NDArray[np.intp], mine: Features, threshold: float) -> None:
        """Update each row's highest correlation, (n,), and the position of that match, if it reaches the threshold."""
        bound = threshold - SLACK
        mine_short = _shorten(mine, self.directions)
        first, end = self._reach(mine_short[:, self.key], bound)
        for other in range(first, end, SHORT_ROWS):
            part = slice(other, min(other + SHORT_ROWS, end))
            theirs = self.features[part]
            rows, others = _find_sparse(mine_short @ self.short[part].T >= bound)
            if len(rows) * DENSE > len(mine) * len(theirs):
                values = (mine @ theirs.T)[rows, others]
            else:
                values = _correlate(mine, rows, theirs, others)
            by_value = np.lexsort((self.order[part][others], -values, rows))
            tops, place = np.unique(rows[by_value], return_index=True)
            highest = values[by_value][place]
            higher = highest > best[tops]
            best[tops[higher]], index[tops[higher]] = highest[higher], other + others[by_value][place][higher]

    def _reach(self, keys: NDArray[np.float32], bound: float) -> tuple[int, int]:
        """The part of the set that is near enough to any of these in the direction of the key."""
        reach = math.sqrt(2 - 2 * bound)  # the largest distance of two near-duplicates in any direction
        sorted_keys = self.short[:, self.key]
        first = np.searchsorted(sorted_keys, keys.min() - reach, side="left")
        return int(first), int(np.searchsorted(sorted_keys, keys.max() + reach, side="right"))


def find_duplicates_within(images: Images) -> list[DuplicatePair]:
    """Find near-duplicates within a set, without shifts: each pair once, in order.

    Args:
        images: (n,).
    """
    found = dict[tuple[int, int], DuplicatePair]()
    for comparison in COMPARISONS:
        for pairs in find_pairs(images, comparison):
            for row, other, value in zip(
                pairs.rows.tolist(), pairs.others.tolist(), pairs.values.tolist(), strict=True
            ):
                found.setdefault((row, other), DuplicatePair(row, other, round(value, 4)))
    return [found[pair] for pair in sorted(found)]


def find_outliers(images: Images, count: int) -> list[tuple[int, float]]:
    """Find the images whose plain correlation with their nearest neighbour is lowest, lowest first.

    The correlation with any other image is a lower bound of that with the nearest one. So images are compared with all
    others in the order of one good lower bound, until that is above what was found.

    Args:
        images: (n,), n at least 2.
        count: how many to find.

    Returns:
        Position and correlation of each.
    """
    features = _describe_all(images, COMPARISONS[0])
    short = _shorten(features, _find_directions(features))
    least = _correlate(features, np.arange(len(images)), features, _guess_neighbours(short))
    order, found = np.argsort(least, kind="stable"), list[tuple[float, int]]()
    for start in range(0, len(order), OUTLIER_ROWS):
        rows = order[start : start + OUTLIER_ROWS]
        if len(found) >= count and least[rows[0]] >= found[count - 1][0] + SLACK:
            break
        values = features[rows] @ features.T
        values[np.arange(len(rows)), rows] = -1
        found = sorted([*found, *zip(values.max(axis=1).tolist(), rows.tolist(), strict=True)])[:count]
    return [(row, value) for value, row in found]


def _guess_neighbours(short: NDArray[np.float32]) -> NDArray[np.intp]:
    """The position of the image with the highest upper bound, (n,): rarely far from the nearest neighbour."""
    best, index = np.full(len(short), -np.inf, np.float32), np.zeros(len(short), np.intp)
    for row in range(0, len(short), ROWS):
        mine = slice(row, row + ROWS)
        for other in range(0, len(short), OTHERS):
            bounds = short[mine] @ short[other : other + OTHERS].T
            own = np.arange(len(bounds)) + row - other
            inside = (own >= 0) & (own < bounds.shape[1])
            bounds[np.flatnonzero(inside), own[inside]] = -np.inf
            place = bounds.argmax(axis=1)
            value = bounds[np.arange(len(bounds)), place]
            higher = value > best[mine]
            best[mine][higher], index[mine][higher] = value[higher], other + place[higher]
    return index


def find_pairs(images: Images, comparison: Comparison) -> Iterator[DuplicatePairs]:
    """Find the near-duplicates within a set, without shifts, block by block.

    Args:
        images: (n,).
        comparison: how to compare.
    """
    if not len(images):
        return
    features = _describe_all(images, comparison)
    short = _shorten(features, _find_directions(features))
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
                values = _correlate(features, first[rows], features, second[others])
            matches = values >= comparison.threshold
            ends = first[rows[matches]], second[others[matches]]
            yield DuplicatePairs(np.minimum(*ends), np.maximum(*ends), values[matches])


def _find_directions(features: Features) -> NDArray[np.float32]:
    """The principal directions of a sample, (1 to 63, values)."""
    sample = features[:: -(-len(features) // SAMPLE)]
    directions: NDArray[np.float32] = np.linalg.svd(sample, full_matrices=False)[2][:DIRECTIONS]
    return directions


def _shorten(features: Features, directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shorten features, (n, values), to (n, 2 to 64): the product of two rows is an upper bound of the original's."""
    short = np.empty((len(features), len(directions) + 1), np.float32)
    short[:, :-1] = projected = features @ directions.T
    rest = np.einsum("ij,ij->i", features, features) - np.einsum("ij,ij->i", projected, projected)
    short[:, -1] = np.sqrt(np.maximum(rest, 0) + ROUNDING)
    return short


def _find_sparse(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """`np.nonzero` of a sparse matrix, checking eight elements at a time."""
    flat = mask.reshape(-1)
    whole = flat.size // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    places = np.concatenate([(8 * words[:, None] + np.arange(8)).reshape(-1), np.arange(whole, flat.size)])
    rows, others = np.divmod(places[flat[places]], mask.shape[1])
    return rows, others


def _correlate(
    mine: Features, rows: NDArray[np.intp], theirs: Features, others: NDArray[np.intp]
) -> NDArray[np.float32]:
    """The product of each of the `rows` of one set with its counterpart in the `others` of another, (n,)."""
    values = np.empty(len(rows), np.float32)
    step = max(1, MAX_GATHERED // mine.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        np.einsum("ij,ij->i", mine[rows[part]], theirs[others[part]], out=values[part])
    return values


def _describe_all(images: Images, comparison: Comparison) -> Features:
    """`describe` block by block, to save memory."""
    described = np.empty((len(images), describe(images[:1], comparison, MIDDLE[0]).shape[1]), np.float32)
    for start in range(0, len(images), ROWS):
        described[start : start + ROWS] = describe(images[start : start + ROWS], comparison, MIDDLE[0])
    return described


def describe(images: Images, comparison: Comparison, shift: tuple[int, int]) -> Features:
    """The normalized window of each image, (n,); the product of two is their correlation."""
    return _normalize(comparison.prepare(_shrink(images)), shift)


def _normalize(prepared: NDArray[np.float32], shift: tuple[int, int]) -> Features:
    down, right = shift
    height, width = prepared.shape[1] - 2, prepared.shape[2] - 2
    windows = prepared[:, down : down + height, right : right + width]
    flat = windows.reshape(len(prepared), math.prod(windows.shape[1:]))
    flat = flat - flat.mean(axis=1, keepdims=True)
    features: Features = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return features


def _shrink(images: Images) -> NDArray[np.float32]:
    """Downsample by averaging squares of pixels, until both sides fit; remaining rows and columns are dropped."""
    images = pictures_of(images)
    side = -(-max(images.shape[1:3]) // LARGEST_SIDE)
    if side == 1:
        return images.astype(np.float32)
    height, width = images.shape[1] // side, images.shape[2] // side
    squares = images[:, : height * side, : width * side].reshape(-1, height, side, width, side, *images.shape[3:])
    means: NDArray[np.float32] = squares.mean(axis=(2, 4), dtype=np.float32)
    return means
