"""What a path leads to, where it is the source of a catalogue of one's own."""

from pathlib import Path

from components.contract import Split
from components.dataset.own.arrays import find_idx, read_idx_files, read_npz
from components.dataset.own.folders import read_class_folders
from components.dataset.own.rows import SPLIT_NAMES, SourceRows
from components.dataset.own.tables import TableOptions, is_table, read_tables
from components.errors import SettingsError, SourceError
from components.readers.folders.names import is_hidden

NPZ = ".npz"
READ = (
    "a folder of pictures for each class; a table (.csv, .parquet, .jsonl) of paths, pictures or pixels; IDX files; or "
    "an .npz with x_train and y_train"
)


def read_source(path: Path, options: TableOptions) -> SourceRows:
    """List a source; its pictures are read later.

    Args:
        path: a file or a folder.
        options: how tables are read.

    Raises:
        SettingsError: no such path, no file that is read here, or options of tables for what is none.
        SourceError: damaged, or not what it seems.
    """
    source = _read(path, options)
    if not source.of_table and (options.root or options.group):
        raise SettingsError(f"--root and --group are for tables, which have columns; {source.name} is none")
    return source


def _read(path: Path, options: TableOptions) -> SourceRows:
    if path.is_file():
        if path.suffix.lower() == NPZ:
            return read_npz(path)
        if is_table(path):
            return read_tables({path: None}, options)
        raise SettingsError(f"--source {path}: expected {READ}")
    if not path.is_dir():
        raise SettingsError(f"--source {path}: no such file or folder; expected {READ}")
    if found := find_idx(path):
        return read_idx_files(path, found)
    files = [one for one in sorted(path.iterdir()) if one.is_file() and not is_hidden(one.name)]
    if arrays := [one for one in files if one.suffix.lower() == NPZ]:
        if len(arrays) > 1:
            raise SourceError(f"{path}: {len(arrays)} files .npz; name one of them")
        return read_npz(arrays[0])
    if tables := [one for one in files if is_table(one)]:
        return read_tables(_by_split(path, tables), options)
    return read_class_folders(path)


def _by_split(folder: Path, tables: list[Path]) -> dict[Path, Split | None]:
    """The tables of a folder, each with the split that its name begins with: `train-00000-of-00002.parquet`."""
    if len(tables) == 1:
        return {tables[0]: None}
    said: dict[Path, Split | None] = {
        path: SPLIT_NAMES.get(path.stem.replace("_", "-").replace(".", "-").partition("-")[0].lower())
        for path in tables
    }
    if unknown := [path.name for path, split in said.items() if split is None]:
        found = f"several tables, of which {unknown[0]} says neither train nor test"
        raise SourceError(f"{folder}: {found}; name one of them")
    return said
