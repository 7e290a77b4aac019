"""Which rows belong together: near copies of each other, and rows of one group. Each set is a connected component."""

from collections.abc import Hashable, Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Labels
from components.dataset.duplicates import WAYS, Alike, Pairs, find_pairs

Sets = NDArray[np.intp]  # (n,), equal for rows of one set, from 0 without a gap
MANY = 1 << 16  # pairs that are linked together: each time takes as long as there are rows


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


def link_duplicates(images: Images, labels: Labels) -> tuple[Sets, list[Alike]]:
    """The sets of near copies, as `components.dataset.duplicates` finds them.

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
    waiting, number = list[tuple[NDArray[np.intp], NDArray[np.intp]]](), 0
    for pairs in chain.from_iterable(find_pairs(images, way) for way in WAYS):
        apart = sets[pairs.rows] != sets[pairs.others]
        waiting.append((pairs.rows[apart], pairs.others[apart]))
        number += int(apart.sum())
        if number >= MANY:
            sets, waiting, number = _link_all(sets, waiting), [], 0
        _keep_most_alike(pairs, labels, odd)
    return _link_all(sets, waiting), [odd[row] for row in sorted(odd)]


def _link_all(sets: Sets, pairs: list[tuple[NDArray[np.intp], NDArray[np.intp]]]) -> Sets:
    return link(sets, *map(np.concatenate, zip(*pairs, strict=True))) if pairs else sets


def _keep_most_alike(pairs: Pairs, labels: Labels, odd: dict[int, Alike]) -> None:
    """Put the most alike pair of each row into `odd`, if its labels differ; of equals, the one that comes first."""
    differ = labels[pairs.rows] != labels[pairs.others]
    rows, others, values = pairs.rows[differ], pairs.others[differ], pairs.values[differ]
    best_first = np.lexsort((others, -values, rows))
    _, first = np.unique(rows[best_first], return_index=True)
    for place in best_first[first].tolist():
        found = Alike(int(rows[place]), int(others[place]), round(float(values[place]), 4))
        held = odd.get(found.row)
        if held is None or (found.likeness, -found.other) > (held.likeness, -held.other):
            odd[found.row] = found
