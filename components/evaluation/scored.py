"""Reads an output of `fashion score` that has a column of true labels, to slice it by its other columns."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import DataContract, Labels
from components.errors import InputError
from components.evaluation.attributes import Attribute
from components.evaluation.slices import Slices, find_slices

ANSWER = ("label", "sure")  # columns of the answer that are read
LAST = "scored_at"  # the last column that scoring adds; those kept from the input follow
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")  # "007" is a name
INERT = re.compile(r"^'(?=[=+\-@\t\r'])")  # what scoring puts before a cell that a spreadsheet would run
SHOWN = 5  # unreadable labels listed


@dataclass(frozen=True)
class Scored:
    """The rows of a scored file that have a true label."""

    right: NDArray[np.bool_]  # (n,)
    sure: NDArray[np.bool_]  # (n,)
    labels: Labels  # true labels, (n,)
    attributes: tuple[Attribute, ...]
    notes: tuple[str, ...]  # rows that are left out


def slice_scored(path: Path, contract: DataContract, truth: str, by: Sequence[str] = ()) -> Slices:
    """Measure the answers in a scored file by slices.

    Args:
        path: Output of `fashion score --keep`: CSV, Parquet or JSON Lines.
        contract: Data contract of the model that scored it.
        truth: Column of the true labels, by class name or number.
        by: Columns to slice by. (): all that were kept from the input.

    Raises:
        InputError: The file cannot be read, a column is missing, or no row has a true label.
    """
    scored = read_scored_labels(path, contract, truth, by)
    attributes = [Attribute("class", scored.labels, contract.classes), *scored.attributes]
    found = find_slices(f"rows of {path.name}", scored.right, scored.sure, scored.labels, attributes)
    return Slices(**{**vars(found), "notes": (*scored.notes, *found.notes)})


def read_scored_labels(path: Path, contract: DataContract, truth: str, by: Sequence[str] = ()) -> Scored:
    """Read the rows of a scored file that have a true label; see `slice_scored`."""
    names = _read_names(path)
    kept = names[names.index(LAST) + 1 :] if LAST in names else []
    by = tuple(dict.fromkeys(by)) or tuple(name for name in kept if name != truth)
    _require_columns(path, names, kept, truth, by)
    table = _read_columns(path, tuple(dict.fromkeys([*ANSWER, truth, *by])))
    answers = table["label"].cast(pa.uint16()).to_numpy()
    if len(answers) and answers.max() >= len(contract.classes):
        raise InputError(str(path), f"label: found {answers.max()}, expected 0 to {len(contract.classes) - 1}")
    labels, notes = _read_truth(table[truth], contract, truth)
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise InputError(f"column {truth!r}", f"no label can be read, expected {contract.choices}. {''.join(notes)}")
    true = labels[rows].astype(np.uint16)
    sure = table["sure"].cast(pa.bool_()).to_numpy()[rows]
    attributes = [_to_attribute(name, table[name], path.suffix == ".csv") for name in by]
    chosen = tuple(Attribute(one.name, one.values[rows], one.names) for one in attributes)
    return Scored(answers[rows] == true, sure.astype(bool), true, chosen, notes)


def _require_columns(path: Path, names: list[str], kept: list[str], truth: str, by: Sequence[str]) -> None:
    """Check that the columns exist, and that the true label is not the model's own answer."""
    shown = f"the columns kept from its input are {', '.join(kept)}" if kept else "no column was kept from its input"
    for name in (*ANSWER, truth, *by):
        if name not in names:
            advice = f"{shown}. Score again with --keep {name}"
            raise InputError(str(path), f"no column {name!r}; {advice}")
    if truth in names and truth not in kept and LAST in names:
        raise InputError(f"column {truth!r}", f"is the model's answer, expected a column of true labels; {shown}")
    if not by:
        raise InputError(str(path), f"no column to slice by; {shown}. Score again with --keep")


def _read_truth(
    column: pa.ChunkedArray, contract: DataContract, name: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the labels, (n,), -1 if there is none, and notes on those that cannot be read."""
    codes, values = _encode(column)
    found = [contract.label_of_cell(_as_cell(value)) for value in values]
    places = np.array([*(-1 if label is None else label for label in found), -1], np.int64)
    labels = places[codes]
    unread = Counter({str(values[code]): int(count) for code, count in _count(codes[labels < 0]) if code >= 0})
    notes = []
    if empty := int((codes < 0).sum()):
        notes.append(f"{name}: empty in {empty:,} rows, which are left out")
    if unread:
        listed = ", ".join(f"{value!r} ({count:,})" for value, count in unread.most_common(SHOWN))
        notes.append(f"{name}: not a class of the model in {unread.total():,} rows, which are left out: {listed}")
    return labels, tuple(notes)


def _as_cell(value: object) -> object:
    """Return a label as people write it: scoring quotes formulas, and pandas writes integers with gaps as floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return INERT.sub("", value) if isinstance(value, str) else value


def _count(codes: NDArray[np.int64]) -> list[tuple[int, int]]:
    found, counts = np.unique(codes, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[object]]:
    """Return the place of each row's value, (n,), -1 if it is missing, and the values."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.dictionary_encode().unify_dictionaries()
    values = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    chunks = [chunk.indices.fill_null(-1).to_numpy().astype(np.int64) for chunk in encoded.chunks]
    blank = np.array([*(isinstance(value, str) and not value.strip() for value in values), False])
    codes = np.concatenate([np.empty(0, np.int64), *chunks])
    return np.where(blank[codes], -1, codes), values


def _to_attribute(name: str, column: pa.ChunkedArray, is_csv: bool) -> Attribute:
    """Return a column as numbers if it has only numbers, or else as values."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Attribute(name, column.cast(pa.float64()).to_numpy())
    codes, values = _encode(column)
    texts = [INERT.sub("", str(value)) if is_csv else str(value) for value in values]
    present = [text for code, text in enumerate(texts) if text.strip()]
    if is_csv and present and all(map(NUMBER.fullmatch, present)):
        numbers = np.array([*(float(text) if text.strip() else np.nan for text in texts), np.nan])
        return Attribute(name, numbers[codes])
    return Attribute(name, codes, tuple(texts))


def _read_names(path: Path) -> list[str]:
    """Return the names of the columns."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(str(path), "no such file")
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names)
        if path.suffix == ".csv":
            return list(pyarrow.csv.open_csv(path).schema.names)
        return list(_read_json(path).column_names)
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), f"not an output of 'fashion score': {error}") from error


def _read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Read columns; of a CSV all but the answer as text, with empty cells as nulls."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, columns=list(names), page_checksum_verification=True)
        if path.suffix == ".csv":
            kinds = {**dict.fromkeys(names, pa.string()), "label": pa.uint16(), "sure": pa.bool_()}
            options = pyarrow.csv.ConvertOptions(
                include_columns=list(names),
                column_types=kinds,
                strings_can_be_null=True,
                null_values=[""],
                true_values=["yes"],
                false_values=["no"],
            )
            parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
            return pyarrow.csv.read_csv(path, parse_options=parsing, convert_options=options)
        return _read_json(path).select(list(names))
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), f"not an output of 'fashion score': {error}") from error


def _read_json(path: Path) -> pa.Table:
    import pyarrow.json

    if path.suffix != ".jsonl":
        raise InputError(str(path), "unknown file format; expected a name that ends in .csv, .parquet or .jsonl")
    return pyarrow.json.read_json(path)
