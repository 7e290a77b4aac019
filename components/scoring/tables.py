"""Tables scored over HTTP: CSV and Parquet, each returned in the same format."""

import contextlib
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from components.contract import DataContract, Predictions
from components.readers import formats
from components.readers.blocks import Block, Wanted
from components.readers.formats import Format
from components.readers.tables import kinds
from components.readers.tables.encodings import read_first
from components.readers.tables.kinds import HEAD, refuse
from components.scoring.answers import Columns, answer_schema, to_columns

REJECTED_LINES = pa.schema([("line", pa.uint32()), ("reason", pa.string()), ("row", pa.string())])
REJECTED_ROWS = pa.schema([("number", pa.uint32()), ("reason", pa.string()), ("row", pa.string())])

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets treat cells with these prefixes as formulas
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")  # except for plain numbers


def table_schema(classes: Sequence[str]) -> pa.Schema:
    """The columns of a scored table: the ID column or row number from 1, the answer, the reason for rejection."""
    text = pa.string()
    return pa.schema([pa.field("id", text), *answer_schema(classes), pa.field("reason", text)])


def rejected_rows(block: Block, predictions: Predictions) -> Columns:
    """Rejected rows as columns of `REJECTED_LINES` or `REJECTED_ROWS`, with their original bytes."""
    return [
        [reject.line for reject in block.rejects],
        [reject.reason for reject in block.rejects],
        [reject.row.decode("utf-8", "surrogateescape") for reject in block.rejects],
    ]


def every_row(block: Block, predictions: Predictions) -> Columns:
    """All rows in table order as columns of `table_schema`; a rejected row has only its ID and the reason."""
    scored: Columns = [list(block.ids), *to_columns(predictions), [None] * len(block.ids)]
    if not block.rejects:
        return scored
    nothing = [None] * len(block.rejects)
    rejected: Columns = [[reject.id for reject in block.rejects], *[nothing] * (len(scored) - 2)]
    rejected.append([reject.reason for reject in block.rejects])
    order = np.argsort([*block.lines.tolist(), *(reject.line for reject in block.rejects)]).tolist()
    both = [[*first, *second] for first, second in zip(scored, rejected, strict=True)]
    return [[column[place] for place in order] for column in both]


class TableWriter(Protocol):
    """Writes rows to a file incrementally. The file stays open."""

    def write(self, columns: Columns) -> None:
        """Write rows, if any."""

    def close(self, counts: Mapping[str, object]) -> None:
        """Finish the table."""

    def discard(self) -> None:
        """Abandon the table if it is not closed; the file is then invalid."""


class CsvWriter:
    """Writes CSV. The header is written immediately; missing values are empty cells."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self.file, self.names = file, schema.names
        self._write([self.names])

    def write(self, columns: Columns) -> None:
        """See `TableWriter`."""
        texts = [_as_text(name, column) for name, column in zip(self.names, columns, strict=True)]
        self._write(zip(*texts, strict=True))

    def close(self, counts: Mapping[str, object]) -> None:
        """Do nothing; CSV has no footer."""

    def discard(self) -> None:
        """Do nothing; there is no state to release."""

    def _write(self, rows: Any) -> None:
        self.file.write(to_lines(rows))


class ParquetWriter:
    """Writes Parquet. Each call writes one row group, which can be streamed; the counts go into the metadata."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq  # imported lazily, as in the reader

        self.schema = schema
        self.writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)

    def write(self, columns: Columns) -> None:
        """See `TableWriter`."""
        if columns[0]:
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
            self.writer.write_table(pa.table(arrays, schema=self.schema))

    def close(self, counts: Mapping[str, object]) -> None:
        """Write the footer, including the counts. The file cannot be read without it."""
        self.writer.add_key_value_metadata({name: str(count) for name, count in counts.items()})
        self.writer.close()

    def discard(self) -> None:
        """Close the writer while the file is still open; otherwise Arrow would later write to a closed file."""
        with contextlib.suppress(OSError):
            self.writer.close()


@dataclass(frozen=True)
class TableFormat:
    """An input format and the format of its response."""

    format: Format
    media_type: str  # of the response
    writer: Callable[[BinaryIO, pa.Schema], TableWriter]
    rejected: pa.Schema
    dropped: tuple[str, ...] = ()  # columns to ignore; they need not exist

    def without(self, columns: Sequence[str]) -> "TableFormat":
        """The same format, ignoring these columns, which need not exist."""
        return replace(self, dropped=tuple(columns))

    def read(self, stream: BinaryIO, name: str, contract: DataContract) -> Iterator[Block]:
        """Read the rows of a table. Rows with an unreadable label are scored too.

        Args:
            stream: the table, seekable.
            name: name of the table in error messages.
            contract: the data contract of its images and labels.

        Raises:
            InputError: the file has another format, or as in the readers.
        """
        kind = formats.kind_of(read_first(stream, HEAD))
        stream.seek(0)
        if kind not in (kinds.CSV, self.format.kind):
            refuse(kind, name, f"{self.format.media_types[0]}, as its content type says")
        yield from self.format.read(stream, name, Wanted(contract, dropped=self.dropped, strict=False))


TEXT = "text/csv; charset=utf-8"
CSV = TableFormat(formats.CSV, TEXT, CsvWriter, REJECTED_LINES)
PARQUET = TableFormat(formats.PARQUET, formats.PARQUET.media_types[0], ParquetWriter, REJECTED_ROWS)


def answer_to(input_format: Format) -> TableFormat:
    """The response format for an input format: the same for CSV and Parquet, CSV for all others."""
    same = next((one for one in (CSV, PARQUET) if one.format == input_format), None)
    return same or TableFormat(input_format, TEXT, CsvWriter, REJECTED_ROWS)


def _as_text(name: str, column: list[Any]) -> list[str]:
    """Format a column as cells, depending on the last word of its name."""
    match name.rpartition("_")[2]:
        case "id" | "name" | "reason" | "row":
            return ["" if cell is None else inert(cell) for cell in column]
        case "confidence" | "familiarity":
            return ["" if cell is None else f"{cell:.6f}" for cell in column]
        case "sure" | "known":
            return ["" if cell is None else "yes" if cell else "no" for cell in column]
        case _:
            return column  # the csv module writes numbers and tags as they are, and None as an empty cell


def to_lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """Format rows as lines of CSV, with surrogates as the bytes that they escape.

    Writes CRLF and replaces it: before Python 3.13, `csv.writer` with a line feed as the terminator does not quote
    carriage returns, which end the row for a reader.
    """
    lines: list[str] = []
    csv.writer(Sink(lines.append), lineterminator="\r\n").writerows(rows)
    return "".join(f"{line[:-2]}\n" for line in lines).encode("utf-8", "surrogateescape")


class Sink(NamedTuple):
    """A file-like object for `csv.writer`; receives one line at a time."""

    write: Callable[[str], object]


def inert(cell: str) -> str:
    """Neutralize a cell that a spreadsheet would treat as a formula.

    Prefixes an apostrophe to cells that start with =, +, -, @, tab or CR and are not numbers. Cells that start with an
    apostrophe get another one, so that removing one leading apostrophe restores the original.
    """
    if cell.startswith("'") or (cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)):
        return f"'{cell}"
    return cell
