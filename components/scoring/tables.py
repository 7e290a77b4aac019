"""The tables that are scored and written: CSV and Parquet, each answered in kind."""

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

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins with one of these
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")  # but a number is only a number


def table_schema(classes: Sequence[str]) -> pa.Schema:
    """The columns of a scored table: the id column or the row's number from 1, the answer, why there is none."""
    text = pa.string()
    return pa.schema([pa.field("id", text), *answer_schema(classes), pa.field("reason", text)])


def rejected_rows(block: Block, predictions: Predictions) -> Columns:
    """The rows that were not, as `REJECTED_LINES` or `REJECTED_ROWS`; they keep their bytes, whatever the encoding."""
    return [
        [reject.line for reject in block.rejects],
        [reject.reason for reject in block.rejects],
        [reject.row.decode("utf-8", "surrogateescape") for reject in block.rejects],
    ]


def every_row(block: Block, predictions: Predictions) -> Columns:
    """All rows in the order of the table, as `table_schema`; one that could not be read has its id and the reason."""
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
    """Writes rows to a file as they come. The file stays open."""

    def write(self, columns: Columns) -> None:
        """Write rows; where there are none, nothing."""

    def close(self, counts: Mapping[str, object]) -> None:
        """Write what must follow the last row."""

    def discard(self) -> None:
        """Give up what is not closed; the file is of no use then."""


class CsvWriter:
    """The header at once, even where no row follows; an empty cell where there is no value."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self.file, self.names = file, schema.names
        self._write([self.names])

    def write(self, columns: Columns) -> None:
        """See `TableWriter`."""
        texts = [_as_text(name, column) for name, column in zip(self.names, columns, strict=True)]
        self._write(zip(*texts, strict=True))

    def close(self, counts: Mapping[str, object]) -> None:
        """Nothing follows: the lines are the count."""

    def discard(self) -> None:
        """Nothing is held."""

    def _write(self, rows: Any) -> None:
        self.file.write(to_lines(rows))


class ParquetWriter:
    """A row group for the rows of each call, so that they can be sent on; the counts go into the footer's metadata."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq  # here for the reason that the reader gives

        self.schema = schema
        self.writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)

    def write(self, columns: Columns) -> None:
        """See `TableWriter`."""
        if columns[0]:
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
            self.writer.write_table(pa.table(arrays, schema=self.schema))

    def close(self, counts: Mapping[str, object]) -> None:
        """Write the footer, with these counts in it; without it nobody reads the file."""
        self.writer.add_key_value_metadata({name: str(count) for name, count in counts.items()})
        self.writer.close()

    def discard(self) -> None:
        """Close it while the file is open still; later, Arrow would write to a closed one."""
        with contextlib.suppress(OSError):
            self.writer.close()


@dataclass(frozen=True)
class TableFormat:
    """A format of tables, and how one is answered."""

    format: Format
    media_type: str  # of the answer
    writer: Callable[[BinaryIO, pa.Schema], TableWriter]
    rejected: pa.Schema
    dropped: tuple[str, ...] = ()  # columns that may be there, and are left out

    def without(self, columns: Sequence[str]) -> "TableFormat":
        """The same, but for these columns, which may be there."""
        return replace(self, dropped=tuple(columns))

    def read(self, stream: BinaryIO, name: str, contract: DataContract) -> Iterator[Block]:
        """The rows of a table. A label that cannot be read costs no row its score.

        Args:
            stream: the table, seekable.
            name: what to call it in an error.
            contract: of its images and labels.

        Raises:
            InputError: it is another kind of file, or see the readers.
        """
        kind = formats.kind_of(read_first(stream, HEAD))
        stream.seek(0)
        if kind not in (kinds.CSV, self.format.kind):
            refuse(kind, name, f"{self.format.media_types[0]}, as its content type says")
        yield from self.format.read(stream, name, Wanted(contract, dropped=self.dropped, strict=False))


TEXT = "text/csv; charset=utf-8"
CSV = TableFormat(formats.CSV, TEXT, CsvWriter, REJECTED_LINES)
PARQUET = TableFormat(formats.PARQUET, formats.PARQUET.media_types[0], ParquetWriter, REJECTED_ROWS)


def answer_to(asked: Format) -> TableFormat:
    """In kind where that is CSV or Parquet; as CSV otherwise."""
    in_kind = next((one for one in (CSV, PARQUET) if one.format == asked), None)
    return in_kind or TableFormat(asked, TEXT, CsvWriter, REJECTED_ROWS)


def _as_text(name: str, column: list[Any]) -> list[str]:
    """A column as cells, by what it is: the last word of its name."""
    match name.rpartition("_")[2]:
        case "id" | "name" | "reason" | "row":
            return ["" if cell is None else inert(cell) for cell in column]
        case "confidence":
            return ["" if cell is None else f"{cell:.6f}" for cell in column]
        case "sure":
            return ["" if cell is None else "yes" if cell else "no" for cell in column]
        case _:
            return column  # csv writes numbers and tags, and nothing for None


def to_lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """Rows as lines of CSV, surrogates in them as the bytes that they stand for.

    Told to end lines with a line feed, `csv.writer` leaves a carriage return without quotes before Python 3.13, and to
    whoever reads it the row ends there.
    """
    lines: list[str] = []
    csv.writer(Sink(lines.append), lineterminator="\r\n").writerows(rows)
    return "".join(f"{line[:-2]}\n" for line in lines).encode("utf-8", "surrogateescape")


class Sink(NamedTuple):
    """What `csv.writer` writes to, a line at a time."""

    write: Callable[[str], object]


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    A leading =, +, -, @, tab or CR that is no number's gets an apostrophe before it, and so does an apostrophe, so that
    two cells never become one: leave out one leading apostrophe to have the original.
    """
    if cell.startswith("'") or (cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)):
        return f"'{cell}"
    return cell
