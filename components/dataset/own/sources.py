"""Detect and read the source of a custom catalogue."""

from pathlib import Path

from components.contract import Split
from components.dataset.own.arrays import find_idx, read_idx_files, read_npz
from components.dataset.own.folders import read_class_folders
from components.dataset.own.rows import SPLIT_NAMES, SourceRows
from components.dataset.own.tables import TableOptions, is_table, read_tables
from components.errors import SettingsError, SourceError
from components.readers.folders.names import is_hidden

NPZ = ".npz"
SUPPORTED = (
    "one folder of pictures per class, a table (.csv, .parquet, .jsonl) of paths, pictures or pixels, IDX files, or "
    "an .npz with x_train and y_train"
)


def read_source(path: Path, options: TableOptions) -> SourceRows:
    """List a source. Pictures are read later.

    Args:
        path: a file or a folder.
        options: how to read tables.

    Raises:
        SettingsError: no such path, an unsupported file, or table options for a source that is not a table.
        SourceError: the source is damaged or inconsistent.
    """
    source = _read(path, options)
    if not source.is_table and (options.root or options.group):
        raise SettingsError(f"--root and --group are for tables, but {source.name} is not one")
    return source


def _read(path: Path, options: TableOptions) -> SourceRows:
    if path.is_file():
        if path.suffix.lower() == NPZ:
            return read_npz(path)
        if is_table(path):
            return read_tables({path: None}, options)
        raise SettingsError(f"FASHION_SOURCE or --source: found {str(path)!r}, expected {SUPPORTED}")
    if not path.is_dir():
        raise SettingsError(f"FASHION_SOURCE or --source: no such file or folder: {path}; expected {SUPPORTED}")
    if found := find_idx(path):
        return read_idx_files(path, found)
    files = [one for one in sorted(path.iterdir()) if one.is_file() and not is_hidden(one.name)]
    if arrays := [one for one in files if one.suffix.lower() == NPZ]:
        if len(arrays) > 1:
            raise SourceError(f"{path}: found {len(arrays)} .npz files, expected one. Name one of them")
        return read_npz(arrays[0])
    if tables := [one for one in files if is_table(one)]:
        return read_tables(_by_split(path, tables), options)
    return read_class_folders(path)


def _by_split(folder: Path, tables: list[Path]) -> dict[Path, Split | None]:
    """Assign each table of a folder to the split its name starts with, as in `train-00000-of-00002.parquet`."""
    if len(tables) == 1:
        return {tables[0]: None}
    splits: dict[Path, Split | None] = {
        path: SPLIT_NAMES.get(path.stem.replace("_", "-").replace(".", "-").partition("-")[0].lower())
        for path in tables
    }
    if unknown := [path.name for path, split in splits.items() if split is None]:
        found = f"found several tables, but the name of {unknown[0]} starts with neither train nor test"
        raise SourceError(f"{folder}: {found}. Name one table")
    return splits
