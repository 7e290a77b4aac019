"""Confidence intervals of shares."""

from typing import Any

import numpy as np

Z_95 = 1.959963984540054  # standard errors of a two-sided 95 % interval


def wilson(counts: Any, numbers: Any, z: float = Z_95) -> tuple[Any, Any]:
    """Return both ends of Wilson's score interval (JASA 22, 1927, 209-212), which also holds for few or rare cases.

    Args:
        counts: the cases, a number or an array (k,), 0 to `numbers`.
        numbers: of how many independent trials, above 0, of the same shape.
        z: standard errors of the interval.

    Returns:
        Floats, or float64 (k,), 0 to 1.
    """
    middle = (counts + z**2 / 2) / (numbers + z**2)
    half = z / (numbers + z**2) * np.sqrt(counts * (numbers - counts) / numbers + z**2 / 4)
    share = counts / numbers  # the ends that rounding would put beyond it
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)
