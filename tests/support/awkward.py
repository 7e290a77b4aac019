"""A test catalogue: small RGB images of three classes, whose names are numbers or contain digits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from components.contract import DataContract, Images, ImageSpec, Labels, Split
from components.dataset.archives import declare_source, write_archives

AWKWARD = DataContract("awkward", ("10", "Kids 2-6", "3"), ImageSpec(20, 24, 3), "letterbox")
ROWS: Mapping[Split, int] = {"train": 150, "test": 120}


def draw_awkward(rows: int, seed: int, contract: DataContract = AWKWARD) -> tuple[Images, Labels]:
    """Distinct images with alternating classes: uint8 (rows, height, width[, 3]) and uint16 (rows,)."""
    images = np.random.default_rng(seed).integers(0, 256, (rows, *contract.image.shape), np.uint8)
    return images, (np.arange(rows) % len(contract.classes)).astype(np.uint16)


def write_awkward(folder: Path, contract: DataContract = AWKWARD) -> Path:
    """Write its four archives and a `source.json`."""
    write_archives(folder, {split: draw_awkward(rows, rows, contract) for split, rows in ROWS.items()})
    declare_source(folder, "an awkward shop", "its owner's", contract)
    return folder
