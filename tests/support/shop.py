"""A test catalogue: three classes with awkward names, and RGB images that are wider than high."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.contract import SPLITS, DataContract, Images, ImageSpec, Labels, Split, Validated
from components.dataset.manifest import (
    DatasetPart,
    Examples,
    Manifest,
    content_hash,
    part_file,
    to_table,
    write_manifest,
)

SHOP = DataContract("shop", ("Kids 2-6", "10", "Étagère, 2 m"), ImageSpec(20, 24, 3), "letterbox")
COLOURS = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200)])  # per class; noise is added


def draw_shop(rows: int, seed: int = 0) -> tuple[Images, Labels]:
    """uint8 (n, 20, 24, 3) and uint16 (n,): noisy rectangles in the colour of their class on black."""
    random = np.random.default_rng(seed)
    labels = (np.arange(rows) % len(SHOP.classes)).astype(np.uint16)
    images = np.zeros((rows, *SHOP.image.shape), np.uint8)
    noise = random.integers(-50, 50, (rows, 12, 14, 3))
    images[:, 4:16, 5:19] = (COLOURS[labels][:, None, None] + noise).astype(np.uint8)
    return images, labels


def examples_of(rows: int, seed: int = 0) -> Examples:
    return Examples([f"row-{number}" for number in range(rows)], *draw_shop(rows, seed), SHOP)


def write_shop(folder: Path, train: int = 300, test: int = 90) -> Validated:
    """Write a dataset and return its receipt."""
    rows: dict[Split, int] = {"train": train, "test": test}
    parts = tuple(_write_part(folder, split, rows[split], seed) for seed, split in enumerate(SPLITS))
    return Validated(write_manifest(folder, Manifest("shop", "", parts, SHOP)), 1, folder, "2026-01-01T00:00:00+00:00")


def _write_part(folder: Path, split: Split, rows: int, seed: int) -> DatasetPart:
    images, labels = draw_shop(rows, seed)
    table = to_table([f"{split}-{row}" for row in range(rows)], split, labels, images, SHOP, "shop")
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "new.parquet", write_page_checksum=True)
    sha256 = hashlib.sha256((folder / "new.parquet").read_bytes()).hexdigest()
    (folder / "new.parquet").rename(folder / part_file(split, sha256))
    return DatasetPart(part_file(split, sha256), split, rows, sha256, content_hash(table, SHOP), {})
