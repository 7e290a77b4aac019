"""Read tables whose rows refer to images: `path,label`, `id,label` or `hash,label`.

Tables written by scoring or an audit also contain the original class, in a column `name` or `given`. The reviewer edits
`label` only; rows in which the two columns still agree are unchanged, and not counted as labels.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from components.contract import DataContract
from components.dataset.labels.corrections import read_class
from components.dataset.labels.examples import LabelCandidate, LabelInput, LabelReject
from components.dataset.labels.pictures import read_picture, split_rejects
from components.dataset.threads import Progress, map_threads
from components.errors import InputError
from components.files import sha256_of
from components.readers.blocks import Block, Wanted
from components.readers.formats import format_of, suffixes
from components.readers.tables.columns import pixel_columns

NAMING = ("path", "id", "hash")  # the first one present is used
ORIGINAL = ("given", "name")  # columns with the original class
HASH_BYTES = 8


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    line: int  # its last line
    cells: dict[str, str]  # empty if their number differs from that of the columns
    content: bytes  # as in the file


def read_naming_table(
    path: Path,
    contract: DataContract,
    root: Path,
    images: Path | None,
    progress: Progress = lambda done, total: None,
) -> LabelInput:
    """Read a CSV with `label` and one of `path`, `id` and `hash`; other columns are ignored.

    Args:
        path: the table.
        contract: the dataset's contract.
        root: base of relative paths.
        images: CSV or Parquet of pixels that ids or hashes refer to. None: they refer to rows of the dataset.
        progress: called after each picture.

    Raises:
        InputError: a column is missing or repeated, or the table is not a CSV.
    """
    columns, rows = _read_rows(path)
    by = next((name for name in NAMING if name in columns), None)
    if by is None or "label" not in columns:
        found = ", ".join(columns)[:200] or "none"
        raise InputError(path.name, f"found columns {found}; expected label and one of {', '.join(NAMING)}")
    if len(set(columns)) < len(columns):
        raise InputError(path.name, f"found columns {', '.join(columns)[:200]}; expected each once")
    original = next((n for n in ORIGINAL if n in columns and (n == "given" or "confidence" in columns)), None)

    def read_row(row: Row) -> LabelCandidate | LabelReject | None:
        return _read_row(row, by, original, root, contract)

    read = map_threads(read_row, rows, progress) if by == "path" else list(map(read_row, rows))
    candidates, rejects = split_rejects(read)
    inputs = {path.name: sha256_of(path)}
    if images and by != "path":
        inputs[images.name] = sha256_of(images)
        candidates, missing = _look_up(candidates, images, contract)
        rejects += missing
    return LabelInput(path.name, inputs, candidates, rejects, unchanged=read.count(None))


def hash_of(pixels: bytes) -> str:
    """The hash that identifies an image in the prediction log, 16 hex digits."""
    return hashlib.blake2b(pixels, digest_size=HASH_BYTES).hexdigest()


def _read_rows(path: Path) -> tuple[list[str], list[Row]]:
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    lines = list(io.StringIO(text, newline=""))  # str.splitlines would also split at characters within a CSV line
    reader, rows = csv.reader(lines, strict=True), list[Row]()
    try:
        columns = [name.strip() for name in next(reader, [])]
        before = reader.line_num
        for cells in reader:
            content = "".join(lines[before : reader.line_num]).rstrip("\r\n").encode("utf-8", "surrogateescape")
            before = reader.line_num
            if cells:
                named = dict(zip(columns, cells, strict=True)) if len(cells) == len(columns) else {}
                rows.append(Row(before, named, content))
    except csv.Error as error:
        raise InputError(path.name, f"line {reader.line_num}: {error}") from error
    return columns, rows


def _read_row(
    row: Row, by: str, original: str | None, root: Path, contract: DataContract
) -> LabelCandidate | LabelReject | None:
    """Parse a row: a candidate, a reject, or None if its label was not edited."""
    position = f"line {row.line}"
    if not row.cells:
        return LabelReject(position, "the number of cells differs from that of the columns", row.content)
    try:
        named, label = row.cells[by].strip(), read_class(row.cells["label"], "label", contract)
        if original and label == read_class(row.cells[original], original, contract):
            return None
    except InputError as error:
        return LabelReject(position, error.reason, row.content, unknown=getattr(error, "name", ""))
    if by == "path":
        found = read_picture(root, named, label, contract)
        return replace(found, position=f"{position}, {named}", original=found.original or row.content)
    if by == "id":
        return LabelCandidate(position, label, row_id=named, original=row.content)
    return LabelCandidate(position, label, hash=named.lower(), original=row.content)


def _look_up(
    candidates: list[LabelCandidate], images: Path, contract: DataContract
) -> tuple[list[LabelCandidate], list[LabelReject]]:
    """Replace ids and hashes by the pixels in a table. Returns the candidates found and rejects for the rest."""
    wanted = {one.row_id or one.hash for one in candidates}
    pixels = dict[str, bytes]()
    for block in _read_blocks(images, contract):
        for row_id, image in zip(block.ids, block.images, strict=True):
            for key in (row_id, hash_of(image.tobytes())):
                if key in wanted:
                    pixels[key] = image.tobytes()
    found = [
        replace(one, pixels=pixels[key], row_id="", hash="")
        for one in candidates
        if (key := one.row_id or one.hash) in pixels
    ]
    missing = [
        LabelReject.of(one, f"not in {images.name}: {one.row_id or one.hash}")
        for one in candidates
        if (one.row_id or one.hash) not in pixels
    ]
    return found, missing


def _read_blocks(images: Path, contract: DataContract) -> Iterator[Block]:
    form = format_of(images.name)
    if form is None:
        known = " or ".join(sorted(suffixes()))
        expected = f"expected a {known} file with {pixel_columns(contract.image)[0]}, ... or pixels"
        raise InputError(images.name, expected)
    with images.open("rb") as stream:
        yield from form.read(stream, images.name, Wanted(contract))
