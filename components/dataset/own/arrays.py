"""Read image arrays: IDX archives of any name and size, and `.npz` files in the Keras layout."""

import re
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Split
from components.dataset.own.rows import SourceRow, SourceRows, check_splits, order_names, spec_of
from components.errors import SourceError
from components.files import sha256_of
from components.readers.images.idx import read_idx

IDX = re.compile(r"(?P<set>.*?)(?P<split>train|t10k|test)-(?P<kind>images|labels)[-.]idx\d-ubyte(\.gz)?")
SPLITS: dict[str, Split] = {"train": "train", "t10k": "test", "test": "test"}
KERAS: dict[Split, tuple[str, str]] = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}


def find_idx(folder: Path) -> dict[Split, dict[str, Path]]:
    """Find the IDX files in a folder: split -> "images" or "labels" -> file; {} if there are none.

    Raises:
        SourceError: files of several datasets, or images without labels or the reverse.
    """
    matches = {path: match for path in sorted(folder.iterdir()) if (match := IDX.fullmatch(path.name))}
    sets = sorted({match["set"] for match in matches.values()})
    if len(sets) > 1:
        raise SourceError(
            f"{folder}: found files of {len(sets)} datasets ({', '.join(sets)}). Move each to its own folder"
        )
    found = dict[Split, dict[str, Path]]()
    for path, match in matches.items():  # a gzipped file sorts last and wins
        found.setdefault(SPLITS[match["split"]], {})[match["kind"]] = path
    for split, pair in found.items():
        if missing := {"images", "labels"} - pair.keys():
            raise SourceError(f"{folder}: the {missing.pop()} of the {split} split are missing")
    return found


def read_idx_files(folder: Path, found: dict[Split, dict[str, Path]]) -> SourceRows:
    """Read IDX files of any image size: images uint8 (n, height, width[, 3]) and labels uint8 (n,).

    Raises:
        SourceError: a file is damaged, or images and labels do not match.
    """
    arrays = {split: (read_idx(pair["images"]), read_idx(pair["labels"], ())) for split, pair in found.items()}
    files = [path for pair in found.values() for path in pair.values()]
    return _to_rows(f"idx:{folder.name}", folder, arrays, files)


def read_npz(path: Path) -> SourceRows:
    """Read `x_train`, `y_train` and, if present, `x_test` and `y_test`.

    Raises:
        SourceError: the file is damaged, or an array is missing or of the wrong type.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            held = {name: content[name] for name in content.files if name in chain(*KERAS.values())}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path}: not an .npz file, or damaged: {str(error).splitlines()[0][:100]}") from error
    arrays = dict[Split, tuple[NDArray[Any], NDArray[Any]]]()
    for split, names in KERAS.items():
        present = [name for name in names if name in held]
        if len(present) == 1 or (split == "train" and not present):
            raise SourceError(f"{path}: expected {' and '.join(names)}, found {', '.join(held) or 'neither'}")
        if present:
            arrays[split] = held[names[0]], held[names[1]]
    return _to_rows(f"npz:{path.name}", path.parent, arrays, [path])


def _to_rows(
    name: str, root: Path, arrays: dict[Split, tuple[NDArray[Any], NDArray[Any]]], files: list[Path]
) -> SourceRows:
    rows, shapes = list[SourceRow](), set[tuple[int, ...]]()
    for split, (images, labels) in arrays.items():
        images, labels = _check(name, split, images), labels.reshape(-1)
        if len(images) != len(labels):
            raise SourceError(f"{name}: found {len(images):,} {split} images but {len(labels):,} labels")
        shapes.add(images.shape[1:])
        rows += _rows(split, images, labels)
    if len(shapes) > 1:
        raise SourceError(f"{name}: found images of {' and '.join(map(str, sorted(shapes)))}, expected one size")
    if all(row.split == "train" for row in rows):
        rows = [SourceRow(row.name, row.label, row.picture) for row in rows]
    check_splits(rows, name)
    classes = order_names(row.label for row in rows)
    try:
        image = spec_of(shapes.pop())
    except ValueError as error:
        raise SourceError(f"{name}: {error}") from error
    return SourceRows(
        name, root, tuple(rows), tuple(classes), image=image, files={path.name: sha256_of(path) for path in files}
    )


def _check(name: str, split: Split, images: NDArray[Any]) -> Images:
    """Validate the images and return them as (n, height, width[, 3])."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        expected = "uint8 (n, height, width), or (n, height, width, 3) in RGB, 0 to 255"
        raise SourceError(f"{name}: {split} images are {images.dtype} {images.shape}, expected {expected}")
    return images


def _rows(split: Split, images: Images, labels: NDArray[Any]) -> Iterator[SourceRow]:
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        yield SourceRow(f"{split} {number}", str(label).strip(), image, split)
