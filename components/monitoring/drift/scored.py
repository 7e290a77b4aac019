"""Read class, confidence, abstention, and whether images are known, from an output of `fashion score`."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.errors import InputError
from components.evaluation.profile import NOT_CHECKED, SEEN, Seen

COLUMNS = ("label", "name", "confidence", "sure", "model")
KNOWN = "known"  # a column that older files lack


def model_of(path: Path) -> str:
    """Return the exact tag of the model that scored a file.

    Raises:
        InputError: the file is missing, is not an output of `fashion score`, or has no rows.
    """
    for batch in _read(path):
        if batch.num_rows:
            return str(batch["model"][0].as_py())
    raise InputError(str(path), "no row was scored")


def read_scored(path: Path, classes: Sequence[str]) -> Iterator[Seen]:
    """Read the rows of a file in batches. Images are unknown, so each row gets a hash of its own and counts.

    Args:
        path: the file.
        classes: class names of the model that scored it, by label.

    Raises:
        InputError: the file is missing, is not an output of `fashion score`, or has a class name that the model lacks.
    """
    number = 0
    for batch in _read(path):
        seen = np.zeros(batch.num_rows, SEEN)
        try:
            seen["label"] = batch["label"].cast(pa.uint16()).to_numpy()
            seen["confidence"] = batch["confidence"].cast(pa.float64()).to_numpy().round(6)
            seen["sure"] = batch["sure"].cast(pa.bool_()).to_numpy(zero_copy_only=False)
            seen["known"] = _read_known(batch)
        except (pa.ArrowInvalid, ValueError) as error:
            raise InputError(str(path), f"not an output of 'fashion score': {error}") from error
        if seen["label"].max(initial=0) >= len(classes):
            raise InputError(str(path), f"label: found {seen['label'].max()}, expected 0 to {len(classes) - 1}")
        _require_names(path, batch["name"].cast(pa.string()), pa.array(classes).take(pa.array(seen["label"])))
        seen["hash"] = np.arange(number, number + len(seen), dtype=np.uint64)
        number += len(seen)
        yield seen


def _read_known(batch: pa.RecordBatch) -> NDArray[np.int8]:
    """Return `SEEN["known"]`, int8 (n,)."""
    if KNOWN not in batch.schema.names:
        return np.full(batch.num_rows, NOT_CHECKED, np.int8)
    flags: NDArray[np.int8] = batch[KNOWN].cast(pa.bool_()).cast(pa.int8()).fill_null(NOT_CHECKED).to_numpy()
    return flags


def _require_names(path: Path, found: pa.Array, expected: pa.Array) -> None:
    import pyarrow.compute as pc

    if path.suffix == ".csv":
        found = pc.replace_substring_regex(found, "^'", "")  # see `components.scoring.tables.inert`
    if (place := pc.index(pc.equal(found, expected), False).as_py()) >= 0:
        message = f"class name: found {found[place].as_py()!r}, its model says {expected[place].as_py()!r}"
        raise InputError(str(path), message)


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    """Read batches of `COLUMNS` and, if there is one, `KNOWN`; the file suffix determines the format."""
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(str(path), "no such file")
    try:
        if path.suffix == ".parquet":
            batches = pq.ParquetFile(path, page_checksum_verification=True).iter_batches(columns=[*COLUMNS, KNOWN])
        elif path.suffix == ".csv":
            options = pyarrow.csv.ConvertOptions(
                include_columns=[*COLUMNS, *([KNOWN] if KNOWN in _read_header(path) else [])],
                true_values=["yes"],
                false_values=["no"],
                column_types={"name": pa.string(), "sure": pa.bool_(), KNOWN: pa.bool_()},
            )
            batches = iter(pyarrow.csv.open_csv(path, convert_options=options))
        elif path.suffix == ".jsonl":
            as_text = pyarrow.json.ParseOptions(explicit_schema=pa.schema([("name", pa.string())]))
            table = pyarrow.json.read_json(path, parse_options=as_text)
            names = [*COLUMNS, *([KNOWN] if KNOWN in table.column_names else [])]
            batches = iter(table.select(names).to_batches())
        else:
            raise InputError(str(path), "unknown file format; expected a name that ends in .csv, .parquet or .jsonl")
        for batch in batches:
            if missing := set(COLUMNS) - set(batch.schema.names):
                raise InputError(str(path), f"column {min(missing)} is missing; expected an output of 'fashion score'")
            yield batch
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(str(path), f"not an output of 'fashion score': {error}") from error


def _read_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])
