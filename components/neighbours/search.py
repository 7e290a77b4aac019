"""Exact nearest neighbours of one vector among many, by Euclidean distance.

Reading every value of every row would take several milliseconds. So each row also has a short form: its coordinates
along the leading principal components, and the length of the rest, which is one more coordinate. The distance of two
short forms is never more than that of the rows themselves (the rest differs by at least the difference of the lengths),
so one small matrix product gives a lower bound for every row. The rows with the lowest bounds are measured; whatever
has a bound above the worst of these cannot be nearer, and all others are measured too.
"""

import numpy as np
from numpy.typing import NDArray

RANK = 24  # principal components of a short form; 16 to 32 were about equally fast
DEPTH, GUESSES = 64, 4  # rows of a pile, and piles for each neighbour, from which the first rows are taken
BLOCK = 4_096  # rows in memory at a time
ROUNDING = 4e-6  # error of a bound, relative to the squared lengths: at most 3 + RANK float32 roundings, doubled


class NearestRows:
    """Finds the nearest of n rows. Equal distances are in the order of the rows."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """`rows`: float32 (n, units), finite, n at least 1; they may be mapped from a file."""
        self.rows = rows
        self.mean = rows.mean(axis=0, dtype=np.float64)
        self.directions = self._find_directions()
        rank = self.directions.shape[1]
        self.short = np.zeros((rank + 2, -(-len(rows) // DEPTH) * DEPTH), np.float32)
        for start in range(0, len(rows), BLOCK):
            part = self._shorten(rows[start : start + BLOCK])
            self.short[:, start : start + len(part)] = part.T
        self.longest = float(np.sqrt(self.short[-1].max()))
        self.short[-1, len(rows) :] = np.inf  # what fills the last piles is never near

    def _find_directions(self) -> NDArray[np.float64]:
        """The leading principal components, float64 (units, rank), orthonormal."""
        units = self.rows.shape[1]
        products = np.zeros((units, units))
        for start in range(0, len(self.rows), BLOCK):
            centred = self.rows[start : start + BLOCK] - self.mean
            products += centred.T @ centred
        directions: NDArray[np.float64] = np.linalg.eigh(products)[1][:, ::-1][:, :RANK]  # in ascending order
        return directions

    def _shorten(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Short forms, float64 (b, rank + 2), for the product of `_bounds`; the last column is the squared length."""
        centred = rows - self.mean
        along = centred @ self.directions
        squares = np.einsum("ij,ij->i", centred, centred)
        rest = np.sqrt(np.maximum(squares - np.einsum("ij,ij->i", along, along), 0))
        return np.column_stack([-2 * along, -2 * rest, squares])

    def nearest(self, query: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Find the nearest rows of a vector.

        Args:
            query: float32 (units,), finite.
            count: number of rows to return, at least 1; all rows if there are fewer.

        Returns:
            Row numbers, (count,), nearest first, and their distances, float64 (count,).
        """
        count = min(count, len(self.rows))
        bounds, square = self._bounds(query)
        first = self._guess(bounds, count)
        worst = np.partition(self._measure(first, query), count - 1)[count - 1]
        slack = ROUNDING * (np.sqrt(square) + self.longest) ** 2
        left = np.flatnonzero(bounds <= np.float32(worst - square + slack))
        distances = self._measure(left, query)
        order = np.argsort(distances, kind="stable")[:count]
        return left[order], np.sqrt(distances[order])

    def _guess(self, bounds: NDArray[np.float32], count: int) -> NDArray[np.intp]:
        """Rows with low bounds, at least `count`: the lowest of each of some piles, which is faster than sorting."""
        piles = bounds.reshape(DEPTH, -1)
        wanted = GUESSES * count
        if wanted >= piles.shape[1]:
            return np.argpartition(bounds, count - 1)[:count]
        chosen = np.argpartition(piles.min(axis=0), wanted)[:wanted]
        return np.asarray(piles[:, chosen].argmin(axis=0) * piles.shape[1] + chosen)

    def _bounds(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Lower bounds of the squared distances, less the squared length of the query, float32 (n,), and that length.

        |q - r|^2 = |q|^2 - 2 q r + |r|^2: without the first term, which all rows share, it is one product.
        """
        *along, rest, square = self._shorten(query[None])[0].tolist()
        lengths = np.array([*(-one / 2 for one in along), -rest / 2, 1], np.float32)
        return lengths @ self.short, square

    def _measure(self, rows: NDArray[np.intp], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Squared distances of some rows, float64."""
        return np.concatenate(
            [self._squares(rows[start : start + BLOCK], query) for start in range(0, len(rows), BLOCK)]
        )

    def _squares(self, rows: NDArray[np.intp], query: NDArray[np.float32]) -> NDArray[np.float64]:
        apart = self.rows[rows].astype(np.float64)
        apart -= query
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", apart, apart)
        return squares
