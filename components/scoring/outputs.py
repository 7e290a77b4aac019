"""Predictions as CSV, Parquet or JSON Lines: written in parts, joined at the end."""

import base64
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import orjson
import pyarrow as pa

from components.contract import Predictions
from components.errors import InputError, Remedy
from components.readers.blocks import Block
from components.scoring.answers import answer_schema
from components.scoring.tables import inert, to_lines

REJECTED = pa.schema(
    [("line", pa.int64()), ("reason", pa.string()), ("row", pa.binary())]
)  # for Parquet, `line` is the row number
LAST = "scored_at"  # the last of our columns; columns kept from the input follow
RUNNERS_UP = ("second", "third")  # only as many as there are classes
THREE_DIGITS = np.frombuffer(b"".join(b"%03d" % number for number in range(1000)), np.uint8).reshape(-1, 3)
GROUP = 1 << 18  # minimum number of rows per row group of the output, except for the last one


def scored_schema(classes: Sequence[str]) -> pa.Schema:
    """The schema of scored rows for a model with these classes. Repeated strings are dictionary-encoded."""
    named = pa.dictionary(pa.int8() if len(classes) < 128 else pa.int16(), pa.string())
    *answer, sure, known, familiarity, model = answer_schema(classes, named)
    return pa.schema(
        [
            pa.field("id", pa.string()),  # the ID column, or the row number from 1
            *answer,
            *(
                pa.field(name, kind)
                for rank in RUNNERS_UP[: len(classes) - 1]
                for name, kind in ((rank, named), (f"{rank}_confidence", pa.float32()))
            ),
            sure,
            known,
            familiarity,
            model,
            pa.field(LAST, named),  # start of the job, ISO 8601
        ]
    )


def schema_with(extra: pa.Schema, classes: Sequence[str]) -> pa.Schema:
    """`scored_schema` plus the columns kept from the input.

    Raises:
        InputError: an input column has the same name as an output column.
    """
    own = scored_schema(classes)
    if twice := [name for name in extra.names if name in own.names]:
        reason = "the output already has a column with this name; rename the input column"
        raise InputError(f"column {twice[0]!r}", reason).suggesting(Remedy("drop", twice[0], "leaves it out"))
    return pa.schema([*own, *extra])


def to_table(block: Block, predictions: Predictions, scored_at: str) -> pa.Table:
    """The scored rows of a block as a table, see `schema_with`."""
    schema = scored_schema(predictions.classes)
    index, names = schema.field("name").type.index_type.to_pandas_dtype(), pa.array(predictions.classes, pa.string())
    likeliest = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, : 1 + len(RUNNERS_UP)].astype(index)
    chances = np.take_along_axis(predictions.probabilities, likeliest, axis=1)
    named = [pa.DictionaryArray.from_arrays(np.ascontiguousarray(column), names) for column in likeliest.T]
    confidences = [pa.array(np.ascontiguousarray(column)) for column in chances.T]
    zeros = pa.array(np.zeros(len(block.ids), index))
    own = pa.table(
        [
            pa.array(block.ids, pa.string()),
            pa.array(predictions.labels, schema.field("label").type),
            *(column for pair in zip(named, confidences, strict=True) for column in pair),
            pa.array(predictions.sure),
            *_known_arrays(predictions, schema),
            pa.DictionaryArray.from_arrays(zeros, pa.array([predictions.model])),
            pa.DictionaryArray.from_arrays(zeros, pa.array([scored_at])),
        ],
        schema=schema,
    )
    if block.extra is not None:
        for name, column in zip(block.extra.column_names, block.extra.columns, strict=True):
            own = own.append_column(name, column)
    return own


def _known_arrays(predictions: Predictions, schema: pa.Schema) -> list[pa.Array]:
    """Whether each row is known, and its familiarity; nulls if the model cannot tell."""
    found = {"known": predictions.known, "familiarity": predictions.familiarity}
    missing = len(predictions.labels)
    return [
        pa.nulls(missing, schema.field(name).type) if values is None else pa.array(values)
        for name, values in found.items()
    ]


def to_rejects(block: Block) -> pa.Table:
    """The rejected rows of a block as a table of `REJECTED`, byte for byte."""
    rejects = block.rejects
    columns = [
        [reject.line for reject in rejects],
        [reject.reason for reject in rejects],
        [reject.row for reject in rejects],
    ]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, REJECTED, strict=True)], REJECTED)


class OutputFormat(Protocol):
    """A file format of outputs."""

    def write(self, tables: Iterable[pa.Table], schema: pa.Schema, file: BinaryIO) -> None:
        """Write the rows of one part."""

    def join(self, parts: Iterable[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Join all parts into the output."""


@dataclass(frozen=True)
class CsvFormat:
    """CSV. Parts have no header; `join` writes it."""

    def write(self, tables: Iterable[pa.Table], schema: pa.Schema, file: BinaryIO) -> None:
        """See `OutputFormat`."""
        ours = schema.names.index(LAST) + 1 if LAST in schema.names else len(schema)
        for table in tables:
            own, extra = table.columns[:ours], table.columns[ours:]
            columns = [_as_text(column.combine_chunks()) for column in own]
            columns += [_as_cells(column.combine_chunks()) for column in extra]
            if any(pa.types.is_binary(column.type) for column in columns):
                rows = zip(*(column.to_pylist() for column in columns), strict=True)
                file.write(to_lines(map(_decode, row) for row in rows))
            else:
                is_text = [_may_need_quotes(column.type) for column in own] + [True] * len(extra)
                cells = [_quote(column) if text else column for column, text in zip(columns, is_text, strict=True)]
                file.write(_join_cells(cells))

    def join(self, parts: Iterable[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """See `OutputFormat`."""
        header = pa.table([[name] for name in schema.names], schema.names)
        file.write(_join_cells([_quote(_as_text(column.combine_chunks())) for column in header.columns]))
        _append(parts, file)


@dataclass(frozen=True)
class JsonLinesFormat:
    """JSON Lines: one object per line."""

    def write(self, tables: Iterable[pa.Table], schema: pa.Schema, file: BinaryIO) -> None:
        """See `OutputFormat`."""
        for table in tables:
            rows = zip(*map(_as_values, table.columns), strict=True)
            file.writelines(
                orjson.dumps(dict(zip(schema.names, row, strict=True)), _as_json, orjson.OPT_APPEND_NEWLINE)
                for row in rows
            )

    def join(self, parts: Iterable[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """See `OutputFormat`."""
        _append(parts, file)


@dataclass(frozen=True)
class ParquetFormat:
    """Parquet. Parts are Arrow streams, which are cheap to write and read; `join` encodes them once."""

    def write(self, tables: Iterable[pa.Table], schema: pa.Schema, file: BinaryIO) -> None:
        """See `OutputFormat`."""
        with pa.ipc.new_stream(file, schema) as writer:
            writer.write_table(pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries())

    def join(self, parts: Iterable[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """See `OutputFormat`. Parts share row groups, because few readers cope with tens of thousands of row groups."""
        import pyarrow.parquet as pq

        waiting: list[pa.Table] = []
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            for part in parts:
                with part.open("rb") as content, pa.ipc.open_stream(content) as reader:
                    waiting.append(reader.read_all())
                if sum(map(len, waiting)) >= GROUP:
                    writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
                    waiting = []
            if waiting:
                writer.write_table(pa.concat_tables(waiting).unify_dictionaries())


FORMATS: dict[str, OutputFormat] = {".csv": CsvFormat(), ".parquet": ParquetFormat(), ".jsonl": JsonLinesFormat()}


def format_of(path: Path) -> OutputFormat:
    """The format for a path, by its suffix.

    Raises:
        InputError: the suffix is unknown.
    """
    if path.suffix not in FORMATS:
        raise InputError(str(path), f"expected a name that ends in {', '.join(FORMATS)}")
    return FORMATS[path.suffix]


def _append(parts: Iterable[Path], file: BinaryIO) -> None:
    for part in parts:
        with part.open("rb") as content:
            shutil.copyfileobj(content, file, 1 << 20)


def _as_json(row: Any) -> str | dict[str, str]:
    """Bytes as text if they are UTF-8, otherwise as base64, which is lossless."""
    if not isinstance(row, bytes):
        return str(row)
    try:
        return row.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(row).decode()}


def _decode(cell: Any) -> Any:
    return inert(cell.decode("utf-8", "surrogateescape")) if isinstance(cell, bytes) else cell


def _join_cells(columns: Sequence[pa.Array]) -> "bytes | memoryview":
    """Join columns of n cells into n lines of CSV."""
    import pyarrow.compute as pc

    *cells, last = [column.cast(pa.string()) for column in columns]
    last = pc.binary_join_element_wise(last, "", "\n", null_handling="replace", null_replacement="")
    lines = pc.binary_join_element_wise(*cells, last, ",", null_handling="replace", null_replacement="")
    _, ends, content = lines.buffers()
    start, stop = np.frombuffer(ends, np.int32)[[lines.offset, lines.offset + len(lines)]].tolist() if ends else (0, 0)
    return memoryview(content)[start:stop] if content else b""


def _may_need_quotes(kind: pa.DataType) -> bool:
    """Whether cells of this type may need quotes; numbers and booleans never do."""
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _quote(column: pa.Array) -> pa.Array:
    """Quote the strings that need it. In a dictionary, each distinct string is checked once."""
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, _quote(column.dictionary))
    cells = column.cast(pa.string())
    needed = pc.match_substring_regex(cells, '[",\r\n]')
    if not pc.any(needed).as_py():
        return cells
    quoted = pc.binary_join_element_wise("", pc.replace_substring(cells, '"', '""'), "", '"')
    return pc.if_else(needed, quoted, cells)


def _as_values(column: pa.ChunkedArray) -> list[Any]:
    """A column as Python values, as from `to_pylist` but ten times as fast if no value is missing."""
    kind = column.type
    if column.null_count:
        return list(column.to_pylist())
    if pa.types.is_dictionary(kind):
        return [value for chunk in column.chunks for value in _look_up(chunk)]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return list(column.to_numpy().tolist())
    return list(column.to_pylist())


def _look_up(column: pa.DictionaryArray) -> list[Any]:
    values = column.dictionary.to_pylist()
    return [values[place] for place in column.indices.to_numpy().tolist()]


def _as_text(column: pa.Array) -> pa.Array:
    """A column as CSV cells. Formulas are neutralized, see `inert`."""
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, _as_text(column.dictionary))
    if pa.types.is_floating(column.type):
        return _with_six_digits(column)
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "yes", "no")
    if pa.types.is_string(column.type) and pc.any(pc.match_substring_regex(column, "^[-=+@'\t\r]")).as_py():
        return pa.array([None if cell is None else inert(cell) for cell in column.to_pylist()], pa.string())
    return column


def _as_cells(column: pa.Array) -> pa.Array:
    """A column kept from the input as CSV cells: formulas neutralized, bytes as hex digits."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _as_text(column.cast(pa.string()))
    if pa.types.is_boolean(kind) or (pa.types.is_primitive(kind) and not pa.types.is_duration(kind)):
        return column.cast(pa.string())
    values = (value.hex() if isinstance(value, bytes) else value for value in column.to_pylist())
    return pa.array([None if value is None else inert(str(value)) for value in values], pa.string())


def _with_six_digits(column: pa.Array) -> pa.Array:
    """Format floats from 0 to 1 with six decimals, such as 0.998930. Nulls stay."""
    import pyarrow.compute as pc

    values = column.fill_null(0).to_numpy().astype(np.float64)
    millionths = np.rint(values * 1e6).astype(np.int32)
    thousandths, rest = np.divmod(millionths, 1000)
    texts = np.full((len(values), 8), ord("."), np.uint8)
    texts[:, 0] = thousandths // 1000 + ord("0")
    texts[:, 2:5] = THREE_DIGITS[thousandths % 1000]
    texts[:, 5:] = THREE_DIGITS[rest]
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(texts), [None, pa.py_buffer(texts)])
    cells = fixed.cast(pa.string())
    return pc.if_else(column.is_valid(), cells, None) if column.null_count else cells
