"""Open a path or pattern as an input."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from components.contract import DataContract
from components.errors import InputError
from components.files import is_inside, sha256_of
from components.readers import formats
from components.readers.blocks import Block
from components.readers.folders.archives import TarInput, ZipInput
from components.readers.folders.batches import ARRAY, BatchInput, NpzInput
from components.readers.folders.csv_lines import CsvInput, open_text
from components.readers.folders.listing import FileListing, is_pattern, match, walk
from components.readers.folders.names import LeftOut, is_picture
from components.readers.folders.parts import Input, InputPart, TableReading, join_digests
from components.readers.folders.pictures import PathListInput, PictureFiles
from components.readers.folders.row_groups import ParquetInput
from components.readers.folders.unpacking import as_input_error, compression_of, open_decompressed
from components.readers.tables.columns import has_file_column, read_columns
from components.readers.tables.encodings import read_first
from components.readers.tables.kinds import (
    CSV,
    HEAD,
    IDX,
    LINES,
    NPY,
    PARQUET,
    PICKLE,
    PICTURE,
    TAR,
    WORKBOOK,
    ZIP,
    Kind,
    refuse,
)
from components.readers.tables.layout import find_header, longest_line
from components.storage import is_remote

CSV_NAMES = (".csv", ".csv.gz", ".csv.zst")
PARQUET_NAME = ".parquet"
TAR_NAMES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
ZIP_NAME = ".zip"


def open_input(source: Path, reading: TableReading, contract: DataContract) -> Input:
    """Detect the type of an input and open it.

    Args:
        source: a table (CSV of pixels or paths, Parquet of pixels or pictures, arrays, JSON lines), an archive of
            pictures (zip or tar), a picture, a folder of pictures or tables, or a pattern such as `night/*.parquet`.
            CSV, arrays, JSON lines and tar may be compressed. The first bytes of a file decide its type.
        reading: read options.
        contract: of the images and labels.

    Raises:
        InputError: the source does not exist or is not supported.
    """
    if is_pattern(source):
        found = _open_listing(match(source), source, reading, contract)
    elif source.is_dir():
        found = _open_listing(walk(source), source, reading, contract)
    elif source.is_file():
        found = _open_file(source, reading, contract)
    else:
        message = "not a regular file. To read from a pipe, use standard input: -"
        raise InputError(str(source), message if source.exists() else "no such file or folder")
    if reading.root and not isinstance(found, PathListInput | TablesInput):
        raise InputError(str(source), f"not a CSV of paths, so the root {reading.root} has no effect. Leave it out")
    return found


def find_new(source: Path, read: Input) -> list[str]:
    """Find files added since a folder or pattern was opened."""
    if is_pattern(source):
        found = match(source)
    elif source.is_dir():
        found = walk(source)
    else:
        return []
    if isinstance(read, PictureFiles):
        pictures = sorted([*filter(is_picture, found.names), *found.links])
        return [] if pictures == read.names else sorted(set(pictures) - set(read.names))
    suffixes = PARQUET_NAME if isinstance(read, ParquetInput) else CSV_NAMES
    known = set(read.files())
    return [name for name in found.names if name.lower().endswith(suffixes) and found.root / name not in known]


def _open_file(path: Path, reading: TableReading, contract: DataContract) -> Input:
    """Open by content; for plain text, by name."""
    name, kind, compression = path.name.lower(), _kind_of(path), compression_of(path)
    if compression and kind in (PARQUET, ZIP, PICTURE):
        refuse(replace(kind, advice="Decompress it first"), path.name)
    if kind == PARQUET or (kind == CSV and name.endswith(PARQUET_NAME)):
        return ParquetInput([path], reading, contract)
    if kind == ZIP:
        return _open_zip(path, reading, contract)
    if kind == TAR or (kind == CSV and name.endswith(TAR_NAMES)):
        return TarInput(path, reading, contract)
    if kind == PICTURE or is_picture(name):
        picture = path.resolve()  # a link to a picture means its target
        return PictureFiles(picture.parent, [picture.name], LeftOut(), reading, contract)
    if kind in (NPY, IDX, LINES):
        return BatchInput(path, reading, contract)
    other = formats.format_like(kind) if kind != CSV else formats.format_of(name)
    if other not in (None, formats.CSV):
        return TableInput(path, other, reading, contract)
    if kind != CSV:
        refuse(kind, path.name)
    if name.endswith(ZIP_NAME):
        return ZipInput(path, reading, contract)
    return _open_table(path, reading, contract)


def _kind_of(path: Path) -> Kind:
    with closing(open_decompressed(path)) as stream, as_input_error(path.name):
        return formats.kind_of(read_first(stream, HEAD))


def _open_zip(path: Path, reading: TableReading, contract: DataContract) -> Input:
    names = list[str]()
    with path.open("rb") as file, suppress(zipfile.BadZipFile, ValueError, NotImplementedError):
        names = [name for name in zipfile.ZipFile(file).namelist() if not name.endswith("/")]
    if any(name.startswith("xl/") for name in names):
        refuse(WORKBOOK, path.name)
    if any(name.endswith("data.pkl") for name in names):
        refuse(Kind("a PyTorch file", advice=PICKLE), path.name)
    if names and all(name.endswith(ARRAY) for name in names):
        return NpzInput(path, reading, contract)
    if names and not any(map(is_picture, names)):
        shown = ", ".join(names[:3])
        message = f"the archive contains no pictures: found {len(names)} files ({shown}). Extract it first"
        raise InputError(path.name, message)
    return ZipInput(path, reading, contract)


def _open_table(path: Path, reading: TableReading, contract: DataContract) -> CsvInput | PathListInput:
    image = contract.image
    with closing(open_text(path)) as stream, as_input_error(path.name):
        head = read_first(stream, longest_line(image) + 1)
    cells = find_header(head, path.name, image, reading.delimiter).cells
    columns = read_columns(cells, image, reading.kept, reading.dropped)
    names_files = has_file_column(columns, image, reading.kept, path.name)
    return (PathListInput if names_files else CsvInput)(path, reading, contract)


def _open_listing(found: FileListing, source: Path, reading: TableReading, contract: DataContract) -> Input:
    """Open the files of a folder or pattern: pictures, or tables of one format."""
    pictures = [name for name in found.names if is_picture(name)]
    tables = _tables(found, PARQUET_NAME)
    if pictures and tables:
        message = f"found both Parquet ({tables[0]}) and pictures ({pictures[0]})"
        raise InputError(str(source), f"{message}. Score one format, as in '{source}/**/*{PARQUET_NAME}'")
    lines = _tables(found, CSV_NAMES)
    if pictures or (found.links and not tables and not lines):
        chosen = sorted([*pictures, *found.links])
        return PictureFiles(found.root, chosen, _unread(found, chosen), reading, contract)
    if tables:
        return ParquetInput([found.root / name for name in tables], reading, contract, _unread(found, tables))
    if lines:
        return TablesInput([_open_table(found.root / name, reading, contract) for name in lines], _unread(found, lines))
    no_match = is_pattern(source) and not found.names
    message = "no file matches the pattern" if no_match else "no pictures, CSV or Parquet files found"
    raise InputError(str(source), message)


def _tables(found: FileListing, suffixes: str | tuple[str, ...]) -> list[str]:
    """The tables among the files of a folder, without links to outside it."""
    names = (name for name in found.names if name.lower().endswith(suffixes))
    chosen = [name for name in names if (found.root / name).is_file()]
    if is_remote(found.root):  # S3 has no links
        return chosen
    return [name for name in chosen if is_inside(found.root / name, found.root)]


def _unread(found: FileListing, chosen: list[str]) -> LeftOut:
    known = set(chosen)
    return LeftOut.of(sorted(name for name in (*found.names, *found.links, *found.hidden) if name not in known))


class TableInput(Input):
    """A file of a registered format that is read sequentially, as one part."""

    extra = pa.schema([])

    def __init__(self, path: Path, form: formats.Format, reading: TableReading, contract: DataContract) -> None:
        super().__init__(path, reading, contract)
        self.form = form

    def parts(self) -> Iterator[InputPart]:
        """See `Input`."""
        yield InputPart(0, str(self.path), 1, 0, self.path.stat().st_size)

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        with self.path.open("rb") as stream:
            yield from self.form.read(stream, self.path.name, self.wanted)

    def digest(self) -> str:
        """See `Input`: SHA-256 of the file."""
        return sha256_of(self.path)


class TablesInput(Input):
    """CSV files with the same header, read as one; row and line numbers continue across files."""

    def __init__(self, tables: list[CsvInput | PathListInput], left_out: LeftOut) -> None:
        first = tables[0]
        super().__init__(first.path, first.reading, first.contract)
        self.tables, self.left_out, self.extra, self.notes = tables, left_out, first.extra, first.notes
        for table in tables[1:]:
            if table.columns != first.columns:
                message = f"the header differs from that of {first.path.name}. Score the files one by one"
                raise InputError(str(table.path), message)
        self.by_path = {str(table.path): table for table in tables}
        self.sizes = [table.path.stat().st_size for table in tables]

    def parts(self) -> Iterator[InputPart]:
        """See `Input`."""
        number = rows = 0
        for table in self.tables:
            for part in table.parts():
                yield replace(part, number=number, first=rows + part.first)
                number += 1
            rows += table.rows

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        return self.by_path[part.file].read(part)

    def share(self, part: InputPart) -> float | None:
        """See `Input`."""
        table = self.by_path[part.file]
        own, index = table.share(part), self.tables.index(table)
        before = sum(self.sizes[:index])
        return None if own is None else (before + own * self.sizes[index]) / max(sum(self.sizes), 1)

    def files(self) -> Iterator[Path]:
        """See `Input`."""
        for table in self.tables:
            yield from table.files()

    def fingerprint(self) -> str:
        """See `Input`."""
        return hashlib.sha256("\n".join(table.fingerprint() for table in self.tables).encode()).hexdigest()

    def digest(self) -> str:
        """See `Input`: the digest of the only file, or a digest of all digests."""
        return join_digests([table.digest() for table in self.tables])
