"""Which rows belong together: near copies of each other, and rows of one group. Each set is a connected component."""

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Labels
from components.dataset.copies import WAYS, Alike, likeness_within

Sets = NDArray[np.intp]  # (n,), equal for rows of one set, from 0 without a gap


def link(sets: Sets, rows: NDArray[np.intp], others: NDArray[np.intp]) -> Sets:
    """Join the sets of `rows[i]` and `others[i]`, for every i.

    Args:
        sets: (n,), of before.
        rows: (links,), positions in `sets`.
        others: (links,), likewise.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(sets)
    ends = sets[rows], sets[others]
    graph = coo_array((np.ones(len(rows), bool), ends), shape=(size, size))
    joined: Sets = connected_components(graph, directed=False)[1][sets].astype(np.intp)
    return np.unique(joined, return_inverse=True)[1]


def link_equal(sets: Sets, keys: Iterable[Hashable]) -> Sets:
    """Join the sets of rows that have the same key; "" and None join nothing."""
    first = dict[Hashable, int]()
    pairs = [(row, first.setdefault(key, row)) for row, key in enumerate(keys) if key]
    rows, others = np.array(pairs, np.intp).reshape(-1, 2).T
    return link(sets, rows, others)


def link_copies(images: Images, labels: Labels) -> tuple[Sets, list[Alike]]:
    """The sets of near copies, as `components.dataset.copies` finds them.

    Memory grows with n, however many pairs there are: 60,000 images of Fashion-MNIST take 0.3 GB.

    Args:
        images: uint8 (n, height, width[, 3]).
        labels: (n,).

    Returns:
        (n,), an image without a copy in a set of its own; and of each image that has a later near copy with another
        label the most alike one, in order.
    """
    sets = np.arange(len(images))
    odd = dict[int, Alike]()
    for way in WAYS:
        for block in likeness_within(images, way):
            alike = block.values >= way.threshold
            if not alike.any():
                continue
            mine, theirs = (slice(*span) for span in _spans(block.row, block.other, alike.shape))
            rows, others = np.nonzero(alike & (sets[mine, None] != sets[None, theirs]))
            sets = link(sets, rows + block.row, others + block.other)
            differ = np.where(alike & (labels[mine, None] != labels[None, theirs]), block.values, -1)
            for row in np.flatnonzero(differ.max(axis=1) >= way.threshold).tolist():
                other = int(differ[row].argmax())
                found = Alike(block.row + row, block.other + other, round(float(differ[row, other]), 4))
                if found.row not in odd or found.likeness > odd[found.row].likeness:
                    odd[found.row] = found
    return sets, [odd[row] for row in sorted(odd)]


def _spans(row: int, other: int, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (row, row + shape[0]), (other, other + shape[1])
