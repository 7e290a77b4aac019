"""A file or folder with labels -> candidates.

*.csv       pixels with a label a row; or `path,label`; or `id,label` and `hash,label`, which name rows
*.parquet   pixels with a label a row, or pictures with one, as Hugging Face writes them
*.json      one correction, as the web page records it
a folder    a folder of pictures a class; or one with `labels.csv`; or one of corrections
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson

from components.contract import DataContract
from components.dataset.labels.corrections import largest_of, read_correction
from components.dataset.labels.examples import LARGEST_FILE, MOST_ROWS, HandedIn, LabelCandidate, LabelReject, shown
from components.dataset.labels.naming import read_naming_table
from components.dataset.labels.pictures import read_class_folders
from components.dataset.tables import has_pictures, read_picture_table
from components.errors import InputError
from components.files import sha256_of, states_below
from components.readers.blocks import Block, Wanted
from components.readers.images.photos import read_photo
from components.readers.tables.columns import pixel_columns
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.parquet import read_pixel_parquet

LABELS = "labels.csv"


def read_handed_in(
    path: Path, contract: DataContract, root: Path | None = None, images: Path | None = None
) -> HandedIn:
    """Read what a person hands in.

    Args:
        path: a file or a folder.
        contract: the dataset's that they are for.
        root: where the paths of a CSV begin; None: at its own folder.
        images: a CSV or Parquet file of pixels whose ids or hashes a CSV names; None: it names rows of the dataset.

    Raises:
        InputError: nothing that can be read here, no label column, or more than 100,000 rows.
    """
    if not path.is_dir() and not path.is_file():
        raise InputError(str(path), "a pipe, a socket or a device" if path.exists() else "no such file or folder")
    before = states_below(path)
    try:
        found = (_read_folder if path.is_dir() else _read_file)(path, contract, root, images)
    except OSError as error:
        raise InputError(path.name, f"cannot be read: {error}") from error
    if states_below(path) != before:
        raise InputError(path.name, "it changed while it was read; import it again once nothing writes to it")
    if len(found.candidates) > MOST_ROWS:
        raise InputError(path.name, f"{len(found.candidates):,} rows, at most {MOST_ROWS:,} an import")
    return replace(found, name=shown(found.name), inputs={shown(name): sha for name, sha in found.inputs.items()})


def _read_folder(path: Path, contract: DataContract, root: Path | None, images: Path | None) -> HandedIn:
    if (path / LABELS).is_file():
        return read_naming_table(path / LABELS, contract, root or path, images)
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    if files and all(file.suffix == ".json" for file in files):
        return _read_corrections(path.name, files, contract)
    return read_class_folders(path, contract)


def _read_file(path: Path, contract: DataContract, root: Path | None, images: Path | None) -> HandedIn:
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(path.name, f"more than {LARGEST_FILE >> 20} MiB; cut it into several files")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _read_corrections(path.name, [path], contract)
    if suffix == ".parquet":
        return _read_pictures(path, contract) if has_pictures(path) else _read_pixels(path, _read_parquet, contract)
    if suffix != ".csv":
        raise InputError(path.name, "expected .csv, .parquet, .json or a folder")
    with path.open("rb") as file:
        header = file.readline(1 << 16)
    if pixel_columns(contract.image)[0].encode() in header:
        return _read_pixels(path, _read_csv, contract)
    return read_naming_table(path, contract, root or path.parent, images)


def _read_corrections(name: str, files: list[Path], contract: DataContract) -> HandedIn:
    candidates, rejects, largest = [], [], largest_of(contract.image)
    for file in files:
        if file.is_symlink() or not file.is_file():
            rejects.append(LabelReject(file.name, "a link, or no file", b""))
            continue
        with file.open("rb") as stream:
            content = stream.read(largest + 1)  # a larger one is refused, and of that reject its beginning is kept
        try:
            correction = read_correction(content, contract)
        except InputError as error:
            rejects.append(LabelReject(file.name, str(error), content))
            continue
        candidates.append(LabelCandidate(file.name, correction.label, correction.pixels, original=content))
    return HandedIn(
        name, {one.position: hashlib.sha256(one.original).hexdigest() for one in candidates}, candidates, rejects
    )


def _read_pictures(path: Path, contract: DataContract) -> HandedIn:
    """Parquet with pictures in it, each as the model would see it."""
    candidates, rejects = list[LabelCandidate](), list[LabelReject]()
    for row in read_picture_table(path, contract):
        if row.number > MOST_ROWS:
            raise InputError(path.name, f"more than {MOST_ROWS:,} rows, the most of one import")
        position, file = f"row {row.number}", f"row-{row.number}"
        try:
            if row.label is None:
                raise InputError("label", f"found {row.told[:40]!r}, expected {contract.choices}")
            if not row.content:
                raise InputError("image", "no picture in the row; a file that it names is not read")
            pixels = read_photo(row.content, contract, position).tobytes()
        except InputError as error:
            kept = (row.content, file) if row.content else (row.told.encode(), "")
            rejects.append(LabelReject(position, error.reason, *kept))
            continue
        candidates.append(LabelCandidate(position, row.label, pixels, original=row.content, file=file))
    return HandedIn(path.name, {path.name: sha256_of(path)}, candidates, rejects)


Reader = Callable[[bytes, str, DataContract], Iterator[tuple[Block, Callable[[int], bytes]]]]


def _read_pixels(path: Path, read: Reader, contract: DataContract) -> HandedIn:
    content = path.read_bytes()
    candidates, rejects = list[LabelCandidate](), list[LabelReject]()
    word = "line" if read is _read_csv else "row"
    for block, original in read(content, path.name, contract):
        if block.labels is None:
            raise InputError(path.name, "no column label")
        rejects += [
            LabelReject(f"{word} {one.line}", one.reason, original(one.line) or one.row) for one in block.rejects
        ]
        for line, image, label in zip(block.lines.tolist(), block.images, block.labels.tolist(), strict=True):
            pixels = image.tobytes()
            kept = original(line) or orjson.dumps({"label": label, "pixels": pixels.hex()})
            candidates.append(LabelCandidate(f"{word} {line}", label, pixels, original=kept))
    return HandedIn(path.name, {path.name: hashlib.sha256(content).hexdigest()}, candidates, rejects)


def _read_csv(content: bytes, name: str, contract: DataContract) -> Iterator[tuple[Block, Callable[[int], bytes]]]:
    lines = content.split(b"\n")
    for block in read_pixel_csv(io.BytesIO(content), name, Wanted(contract)):
        yield block, lambda line: lines[line - 1].removesuffix(b"\r")


def _read_parquet(content: bytes, name: str, contract: DataContract) -> Iterator[tuple[Block, Callable[[int], bytes]]]:
    for block in read_pixel_parquet(io.BytesIO(content), name, Wanted(contract)):
        yield block, lambda line: b""
