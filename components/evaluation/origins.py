"""Where the training images of a dataset and their labels come from, as attributes to slice by.

Labels from people only enter the training split, so only training images differ in these attributes.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contract import DataContract, Dataset
from components.dataset.manifest import (
    DatasetPart,
    Examples,
    Manifest,
    describe,
    read_manifest,
    read_part,
    receipt_path,
    to_images,
)
from components.errors import DatasetError
from components.evaluation.attributes import Attribute
from components.readers.images.statistics import hash_images

IMPORTED, CORRECTED = "imported by people", "corrected by people"
FIRST, LATER = "first version", "added later"
SOURCE, AGE = "label source", "data"  # names of the attributes
LOST = "labels that people corrected before the oldest version that still exists count as labels of their source"

FirstRows = dict[str, tuple[int, int]]  # id -> label and hash of the image, of the first version


@dataclass(frozen=True)
class Origins:
    """Attributes of the training images of a dataset."""

    attributes: tuple[Attribute, ...]  # () if all images have the same origin
    notes: tuple[str, ...] = ()


def find_origins(dataset: Dataset, train: Examples) -> Origins:
    """Return where the training images come from.

    A label is `IMPORTED` if its image came with it, `CORRECTED` if it differs from that in the first version, and
    otherwise of the source that its part names. The first version is the oldest one with the same test images that
    passed validation and still exists.

    Args:
        dataset: The dataset.
        train: Its training split.

    Raises:
        DatasetError: The dataset is missing or changed.
    """
    manifest, folder = read_manifest(dataset), dataset.path.parent
    parts = manifest.of("train")
    sources = np.concatenate([_name_sources(part, folder) for part in parts])
    first = _find_first(dataset, manifest)
    rows = _read_rows(first, folder, manifest.contract) if first else None
    found = [_to_attribute(SOURCE, sources)]
    if rows is not None:
        known, relabelled = _compare(train, rows)
        sources[known & relabelled] = CORRECTED
        found = [_to_attribute(SOURCE, sources), _to_attribute(AGE, np.where(known, FIRST, LATER))]
    notes = (LOST,) if _has_corrections(first if first and rows is not None else manifest) else ()
    return Origins(tuple(one for one in found if one.names and len(one.names) > 1), notes)


def _has_corrections(manifest: Manifest) -> bool:
    return any(name.startswith("relabelled/") for part in manifest.of("train") for name in part.inputs)


def _name_sources(part: DatasetPart, folder: Path) -> NDArray[np.object_]:
    """Return the source of each label of a part, (n,)."""
    if any(name.startswith("labels/") for name in part.inputs):
        return np.full(part.rows, IMPORTED, object)
    metadata = pq.read_schema(folder / part.file).metadata or {}
    return np.full(part.rows, metadata.get(b"source", b"").decode() or "unknown", object)


def _to_attribute(name: str, values: NDArray[np.generic]) -> Attribute:
    names, places = np.unique(values, return_inverse=True)
    return Attribute(name, places, tuple(names.tolist()))


def _compare(train: Examples, rows: FirstRows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which images the first version has, and which of these had another label then, (n,) each."""
    before = [rows.get(row_id) for row_id in train.ids]
    hashes = hash_images(train.images).tolist()
    known = [one is not None and one[1] == found for one, found in zip(before, hashes, strict=True)]
    relabelled = [one is not None and one[0] != label for one, label in zip(before, train.labels, strict=True)]
    return np.array(known, bool), np.array(relabelled, bool)


def _find_first(dataset: Dataset, manifest: Manifest) -> Manifest | None:
    """Return the first version with these test images; None if that is this one, or no other exists.

    A version lists all files of those before it, so the first one has the smallest manifest.
    """
    contents = [part.content.encode() for part in manifest.of("test")]
    for path in _smaller_manifests(dataset.path):
        with contextlib.suppress(DatasetError, OSError):
            content = path.read_bytes()
            if all(one in content for one in contents) and _precedes(other := read_manifest(path), path, manifest):
                return other
    return None


def _smaller_manifests(path: Path) -> list[Path]:
    """Return the other manifests next to one that are at most as large, smallest first."""
    sizes = dict[Path, int]()
    for other in path.parent.glob("*.json"):
        with contextlib.suppress(OSError):  # removed meanwhile
            sizes[other] = other.stat().st_size
    largest = sizes.pop(path, 0)
    return sorted((one for one in sizes if sizes[one] <= largest), key=lambda one: (sizes[one], one.name))


def _precedes(other: Manifest, path: Path, manifest: Manifest) -> bool:
    """Whether a version passed validation and has the same catalogue and test images."""
    is_accepted = receipt_path(describe(path, other)).is_file()
    is_same = other.contract.name == manifest.contract.name
    return is_accepted and is_same and other.split_version("test") == manifest.split_version("test")


def _read_rows(first: Manifest, folder: Path, contract: DataContract) -> FirstRows | None:
    """Return the training images of the first version; None if a part was removed, or has other classes."""
    rows: FirstRows = {}
    try:
        for part in first.of("train"):
            table = read_part(folder, part, contract)
            found = zip(table["label"].to_pylist(), hash_images(to_images(table, contract)).tolist(), strict=True)
            rows |= dict(zip(table["id"].to_pylist(), found, strict=True))
    except DatasetError:
        return None
    return rows
