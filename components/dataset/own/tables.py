"""Read labelled tables: of paths (`path,label[,split]`), of pictures as written by Hugging Face, or of pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pandas as pd
import pyarrow.parquet as pq

from components.contract import DataContract, ImageSpec, Split
from components.dataset.own.rows import (
    HELD_OUT,
    Rejected,
    SourceRow,
    SourceRows,
    check_splits,
    order_names,
    parse_split,
)
from components.dataset.tables import has_pictures, read_picture_table
from components.errors import InputError, SourceError
from components.files import sha256_of
from components.readers.blocks import Wanted
from components.readers.folders.pictures import check_path
from components.readers.formats import PARQUET, format_of
from components.readers.tables.class_names import class_names_of
from components.readers.tables.columns import LABELS

PATHS = ("path", "file_name", "filename", "file", "image", "image_path")  # the first one present is used
LABEL = ("label", *LABELS)  # the first one present is used
SPLIT = "split"
LINES = (".jsonl", ".ndjson")  # JSON lines: paths only
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class TableOptions:
    """How to read tables."""

    image: ImageSpec | None = None  # shape of rows of pixels; None: no such rows allowed
    root: Path | None = None  # base of relative paths; None: the first table's folder
    group: str = ""  # column whose groups stay in one split; "": none


def is_table(path: Path) -> bool:
    """Whether a file's suffix is that of a table that can start a catalogue."""
    return path.suffix.lower() in LINES or format_of(path.name) is not None


def read_tables(files: dict[Path, Split | None], options: TableOptions) -> SourceRows:
    """Read the tables of one source.

    Args:
        files: one or more tables, each with the split in its name, or None.
        options: how to read them.

    Raises:
        SourceError: no label column, no column of pictures, or the group column is missing.
    """
    rows, rejected, classes = list[SourceRow](), list[Rejected](), dict[str, None]()
    for path, split in files.items():
        reader = _Table(path, split, options, f"{path.name}: " if len(files) > 1 else "")
        try:
            rows += reader.read()
        except InputError as error:
            raise SourceError(f"{path}: {str(error).removeprefix(f'{path.name}: ')}") from error
        rejected += reader.rejected
        classes |= dict.fromkeys(reader.classes)
    first = next(iter(files))
    check_splits(rows, first.name)
    are_images = bool(rows) and not isinstance(rows[0].picture, str | bytes)
    return SourceRows(
        f"{first.suffix.lower().removeprefix('.')}:{first.parent.name if len(files) > 1 else first.name}",
        options.root or first.parent,
        tuple(rows),
        tuple(order_names([*classes, *(row.label for row in rows)])),
        tuple(rejected),
        image=options.image if are_images else None,
        files={path.name: sha256_of(path) for path in files},
        is_table=True,
    )


class _Table:
    """Reads one table."""

    def __init__(self, path: Path, split: Split | None, options: TableOptions, prefix: str) -> None:
        self.path, self.split, self.options, self.prefix = path, split, options, prefix
        self.rejected: list[Rejected] = []
        self.classes: Sequence[str] = ()  # declared by the schema

    def read(self) -> list[SourceRow]:
        if self.path.suffix.lower() not in LINES and format_of(self.path.name) is PARQUET and has_pictures(self.path):
            return list(self._read_pictures())
        table = self._read_columns()
        label = next((name for name in LABEL if name in table), None)
        group = self.options.group
        if label is None or (group and group not in table):
            missing = f"a group column {group!r}" if label else "a column label"
            found = ", ".join(table.columns[:8]) or "no known column"
            raise InputError(self.path.name, f"expected {missing}, found {found}")
        if named := next((name for name in PATHS if name in table), None):
            return list(self._read_paths(table, named, label))
        if self.options.image is None:
            missing = f"no path column ({', '.join(PATHS[:3])}, ...)"
            raise InputError(self.path.name, f"{missing}. For a table of pixels, set --image, e.g. --image 28x28x1")
        if group:
            raise InputError(self.path.name, "--group works for tables of paths or pictures, not of pixels")
        return list(self._read_pixels(self.options.image, order_names(table[label]), (SPLIT,) * (SPLIT in table)))

    def _read_columns(self) -> pd.DataFrame:
        """Read the known text columns, every cell as a string."""
        wanted = {*PATHS, *LABEL, SPLIT, self.options.group}
        if self.path.suffix.lower() in LINES:
            return _read_lines(self.path)
        if format_of(self.path.name) is PARQUET:
            schema = pq.read_schema(self.path)
            kept = [name for name in schema.names if name in wanted]
            cells: pd.DataFrame = pq.read_table(self.path, columns=kept).to_pandas()
            for name in set(LABEL) & set(kept):
                if names := class_names_of(schema, name):
                    self.classes, cells[name] = names, cells[name].map(dict(enumerate(names)))
            return cells.fillna("").astype(str)
        try:
            with self.path.open(encoding="utf-8-sig") as file:
                delimiter = max(DELIMITERS, key=file.readline().count)
            texts: pd.DataFrame = pd.read_csv(
                self.path,
                sep=delimiter,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                usecols=lambda name: name in wanted,
            )
            return texts
        except (ValueError, pd.errors.ParserError) as error:
            raise InputError(self.path.name, f"not a readable table: {str(error).splitlines()[0]}") from error

    def _read_paths(self, table: pd.DataFrame, named: str, label: str) -> Iterator[SourceRow]:
        nothing = [""] * len(table)
        splits, groups = table.get(SPLIT, nothing), table.get(self.options.group, nothing)
        rows = zip(table[named], table[label], splits, groups, strict=True)
        for number, (picture, name, split, group) in enumerate(rows, start=1):
            where = f"{self.prefix}row {number} ({picture[:80]})"
            try:
                check_path(picture)
                if not name.strip():
                    raise InputError("label", "no label")
                parsed = self._split_of(split, f"row {number}")
            except InputError as error:
                self.rejected.append(Rejected(where, error.reason, name))
            else:
                yield SourceRow(where, name.strip(), picture, parsed, group)

    def _split_of(self, cell: object, where: str) -> Split | None:
        """The split in a row's cell, else the file's.

        Raises:
            InputError: a validation row.
            SourceError: unknown split.
        """
        word = str(cell or "")
        if word.strip().lower() in HELD_OUT:
            raise InputError("split", "validation row; training holds out its own")
        return parse_split(word, f"{self.path}: {where}") or self.split

    def _read_pictures(self) -> Iterator[SourceRow]:
        schema = pq.read_schema(self.path)
        self.classes = class_names_of(schema)
        names = self.classes or order_names(map(str, pq.read_table(self.path, columns=["label"])["label"].to_pylist()))
        contract, group = _contract_for(names, self.path), self.options.group
        if group and group not in schema.names:
            found = ", ".join(schema.names[:8])
            raise InputError(self.path.name, f"expected a group column {group!r}, found {found}")
        groups, splits = (_read_column(self.path, name) for name in (group, SPLIT))
        for row in read_picture_table(self.path, contract):
            where = f"{self.prefix}row {row.number}"
            try:
                if row.label is None:
                    raise InputError("label", f"label {row.given[:40]!r} has no name")
                if not row.content:
                    raise InputError("image", "no picture")
                split = self._split_of(splits.get(row.number), f"row {row.number}")
            except InputError as error:
                self.rejected.append(Rejected(where, error.reason, row.given))
            else:
                own_group = str(groups.get(row.number) or "")
                yield SourceRow(where, contract.classes[row.label], row.content, split, own_group)

    def _read_pixels(self, image: ImageSpec, names: Sequence[str], kept: Sequence[str]) -> Iterator[SourceRow]:
        contract, form = _contract_for([name for name in names if name], self.path, image), format_of(self.path.name)
        if form is None:
            raise InputError(self.path.name, f"no column {' or '.join(PATHS[:2])}")
        with self.path.open("rb") as stream:
            for block in form.read(stream, self.path.name, Wanted(contract, kept)):
                self.rejected += (Rejected(f"{self.prefix}{form.word} {one.line}", one.reason) for one in block.rejects)
                if block.labels is None:
                    raise InputError(self.path.name, "no labels")
                splits = block.extra[SPLIT].to_pylist() if block.extra else [""] * len(block.lines)
                for line, pixels, label, split in zip(block.lines, block.images, block.labels, splits, strict=True):
                    where, name = f"{form.word} {line}", contract.classes[label]
                    try:
                        parsed = self._split_of(split, where)
                    except InputError as error:
                        self.rejected.append(Rejected(f"{self.prefix}{where}", error.reason, name))
                    else:
                        yield SourceRow(f"{self.prefix}{where}", name, pixels, parsed)


def _read_column(path: Path, name: str) -> dict[int, object]:
    """The cells of a Parquet column by row number, from 1; {} if there is no such column."""
    if name not in pq.read_schema(path).names:
        return {}
    return dict(enumerate(pq.read_table(path, columns=[name])[name].to_pylist(), start=1))


def _read_lines(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        try:
            rows = [orjson.loads(line) for line in file if line.strip()]
        except orjson.JSONDecodeError as error:
            raise InputError(path.name, f"not JSON lines: {error}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(path.name, "expected one JSON object per line")
    return pd.DataFrame(rows).fillna("").astype(str)


def _contract_for(names: Sequence[str], path: Path, image: ImageSpec | None = None) -> DataContract:
    """A provisional contract to read a table with, before the catalogue's is known."""
    try:
        return DataContract("rows", tuple(names), image or ImageSpec(8, 8), "letterbox")
    except ValueError as error:
        raise InputError(path.name, str(error)) from error
