"""Images of random noise."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
