"""Read label candidates from a file or folder.

*.csv       labelled pixels; or `path,label`; or `id,label` or `hash,label`, which refer to rows
*.parquet   labelled pixels, or labelled pictures as written by Hugging Face
*.json      one correction from the web page
a folder    one folder of pictures per class; or a folder with `labels.csv`; or a folder of corrections
"""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import orjson

from components.contract import DataContract
from components.dataset.labels.corrections import NONE_OF_THESE, largest_of, read_correction
from components.dataset.labels.examples import LARGEST_FILE, MAX_ROWS, LabelCandidate, LabelInput, LabelReject, shown
from components.dataset.labels.naming import read_naming_table
from components.dataset.labels.pictures import read_class_folders
from components.dataset.tables import has_pictures, read_picture_table
from components.dataset.threads import Progress
from components.errors import InputError, UnknownClass
from components.files import sha256_of, states_below
from components.readers.blocks import Wanted
from components.readers.formats import CSV, PARQUET, Format, format_of, suffixes
from components.readers.images.photos import read_photo
from components.readers.tables.columns import pixel_columns

LABELS = "labels.csv"


def read_label_input(
    path: Path,
    contract: DataContract,
    root: Path | None = None,
    images: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> LabelInput:
    """Read labels from a file or folder.

    Args:
        path: a file or a folder.
        contract: the dataset's contract.
        root: base of a CSV's paths. None: the CSV's folder.
        images: CSV or Parquet of pixels that a CSV's ids or hashes refer to. None: they refer to rows of the dataset.
        progress: called after each picture.

    Raises:
        InputError: unsupported or unreadable input, no label column, or more than 100,000 rows.
    """
    if not path.is_dir() and not path.is_file():
        raise InputError(str(path), "not a regular file or folder" if path.exists() else "no such file or folder")
    before = states_below(path)
    try:
        found = (_read_folder if path.is_dir() else _read_file)(path, contract, root, images, progress)
    except OSError as error:
        raise InputError(path.name, f"cannot be read: {error}") from error
    if states_below(path) != before:
        raise InputError(path.name, "changed while it was read; import it again once writing has finished")
    if len(found.candidates) > MAX_ROWS:
        raise InputError(path.name, f"found {len(found.candidates):,} rows, expected at most {MAX_ROWS:,} per import")
    return replace(found, name=shown(found.name), inputs={shown(name): sha for name, sha in found.inputs.items()})


def _read_folder(
    path: Path, contract: DataContract, root: Path | None, images: Path | None, progress: Progress
) -> LabelInput:
    if (path / LABELS).is_file():
        return read_naming_table(path / LABELS, contract, root or path, images, progress)
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    if files and all(file.suffix == ".json" for file in files):
        return _read_corrections(path.name, files, contract)
    return read_class_folders(path, contract, progress)


def _read_file(
    path: Path, contract: DataContract, root: Path | None, images: Path | None, progress: Progress
) -> LabelInput:
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(path.name, f"larger than {LARGEST_FILE >> 20} MiB; split it into several files")
    if path.suffix.lower() == ".json":
        return _read_corrections(path.name, [path], contract)
    form = format_of(path.name)
    if form is None:
        raise InputError(path.name, f"expected {', '.join(sorted(suffixes()))}, .json or a folder")
    if form is PARQUET and has_pictures(path):
        return _read_pictures(path, contract)
    if form is CSV:
        with path.open("rb") as file:
            header = file.readline(1 << 16)
        if pixel_columns(contract.image)[0].encode() not in header:
            return read_naming_table(path, contract, root or path.parent, images, progress)
    return _read_pixels(path, form, contract)


def _read_corrections(name: str, files: list[Path], contract: DataContract) -> LabelInput:
    candidates, rejects, largest = [], [], largest_of(contract)
    for file in files:
        if file.is_symlink() or not file.is_file():
            rejects.append(LabelReject(file.name, "not a regular file", b""))
            continue
        with file.open("rb") as stream:
            content = stream.read(largest + 1)  # a larger file is rejected, and only its start is kept
        try:
            correction = read_correction(content, contract)
        except InputError as error:
            rejects.append(LabelReject(file.name, str(error), content, unknown=getattr(error, "name", "")))
            continue
        if correction.label is None:  # no class to learn; the rejects keep it for review
            rejects.append(LabelReject(file.name, f"{NONE_OF_THESE}: kept here for review", content))
            continue
        candidates.append(LabelCandidate(file.name, correction.label, correction.pixels, original=content))
    return LabelInput(
        name, {one.position: hashlib.sha256(one.original).hexdigest() for one in candidates}, candidates, rejects
    )


def _read_pictures(path: Path, contract: DataContract) -> LabelInput:
    """Read Parquet of pictures and prepare each as for the model."""
    candidates, rejects = list[LabelCandidate](), list[LabelReject]()
    for row in read_picture_table(path, contract):
        if row.number > MAX_ROWS:
            raise InputError(path.name, f"more than {MAX_ROWS:,} rows, the maximum per import")
        position, file = f"row {row.number}", f"row-{row.number}"
        try:
            if row.label is None:
                raise UnknownClass("label", f"found {row.given[:40]!r}, expected {contract.choices}", row.given)
            if not row.content:
                raise InputError("image", "no picture bytes; paths in the image column are not read")
            pixels = read_photo(row.content, contract, position).tobytes()
        except InputError as error:
            kept = (row.content, file) if row.content else (row.given.encode(), "")
            rejects.append(LabelReject(position, error.reason, *kept, unknown=getattr(error, "name", "")))
            continue
        candidates.append(LabelCandidate(position, row.label, pixels, original=row.content, file=file))
    return LabelInput(path.name, {path.name: sha256_of(path)}, candidates, rejects)


def _read_pixels(path: Path, form: Format, contract: DataContract) -> LabelInput:
    content = path.read_bytes()
    candidates, rejects = list[LabelCandidate](), list[LabelReject]()
    lines = content.split(b"\n") if form is CSV else []

    def original(line: int) -> bytes:
        return lines[line - 1].removesuffix(b"\r") if lines else b""

    for block in form.read(io.BytesIO(content), path.name, Wanted(contract)):
        if block.labels is None:
            raise InputError(path.name, "no column label")
        rejects += [
            LabelReject(f"{form.word} {one.line}", one.reason, original(one.line) or one.row) for one in block.rejects
        ]
        for line, image, label in zip(block.lines.tolist(), block.images, block.labels.tolist(), strict=True):
            pixels = image.tobytes()
            kept = original(line) or orjson.dumps({"label": label, "pixels": pixels.hex()})
            candidates.append(LabelCandidate(f"{form.word} {line}", label, pixels, original=kept))
    return LabelInput(path.name, {path.name: hashlib.sha256(content).hexdigest()}, candidates, rejects)
