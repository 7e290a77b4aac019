"""What a person names -> an input."""

import hashlib
from pathlib import Path

from components.errors import InputError
from components.inputs.csv_lines import CsvInput
from components.inputs.parts import Input, Reading
from components.inputs.row_groups import ParquetInput

PARQUET = ".parquet"


def open_input(source: Path, reading: Reading) -> Input:
    """Find out what is to be scored.

    Args:
        source: a CSV file of pixels, plain, `.gz` or `.zst`; a Parquet file; or a folder of Parquet files.
        reading: how it is read.

    Raises:
        InputError: nothing there, or nothing that is read.
    """
    files = list_files(source)
    if files[0].suffix == PARQUET:
        return ParquetInput(files, reading)
    return CsvInput(files[0], reading)


def list_files(source: Path) -> list[Path]:
    """The files of an input, in the order they are read.

    Raises:
        InputError: nothing there, or a folder with no Parquet file in it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(str(source), "no such file")
    files = sorted(path for path in source.rglob(f"*{PARQUET}") if path.is_file() and not _leads_out(path, source))
    if not files:
        raise InputError(
            str(source), "a folder without Parquet files; expected a CSV or Parquet file, or such a folder"
        )
    return files


def fingerprint(source: Path) -> str:
    """What differs once an input was changed: names, sizes and times of change, as SHA-256."""
    told = [f"{path}\t{path.stat().st_size}\t{path.stat().st_mtime_ns}" for path in list_files(source)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _leads_out(path: Path, root: Path) -> bool:
    return not path.resolve().is_relative_to(root.resolve())
