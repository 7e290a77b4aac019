"""Find raw examples by name: `auto`, `sample`, `download`, or a path in one of the common layouts.

IDX files   the four MNIST-style archives, gzipped or extracted: as published, or from torchvision, Keras or Kaggle
tables      Parquet or CSV files named train and test: Hugging Face (sharded too) and Kaggle
pictures    one folder per class, or train and test folders that contain them

A source with a test split is a dataset of its own. Without one, its examples are added to the current training split.
"""

import logging
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Protocol

from components.catalogues import OFFICIAL
from components.contract import DataContract, Images, Labels, Split
from components.dataset.archives import SOURCE, Archives, find_archives, has_archives, open_archives, write_sample
from components.dataset.class_folders import SPLIT_NAMES, ClassFolders
from components.dataset.download import download_archives
from components.dataset.tables import LabelledTables
from components.errors import SettingsError, SourceError, SourceUnreachable
from components.readers.folders.names import is_litter
from components.readers.formats import format_of, suffixes
from components.settings import Settings

log = logging.getLogger(__name__)

SPLIT_WORD = re.compile(r"(?:^|[-_.])(train|test)(?:[-_.]|$)", re.IGNORECASE)
SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
EXPECTED = (
    "expected the four IDX archives, one folder of pictures per class, or Parquet or CSV files named train and test"
)


class Source(Protocol):
    """Raw examples whose checksums are known before they are read."""

    @property
    def name(self) -> str:
        """The source's name, kept in the manifest."""

    @property
    def licence(self) -> str:
        """The licence of the examples."""

    @property
    def contract(self) -> DataContract:
        """The contract of its images and labels."""

    @property
    def extends(self) -> bool:
        """Whether the examples are added to the current dataset."""

    @property
    def digests(self) -> dict[Split, dict[str, str]]:
        """Per split: file name -> SHA-256."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of ignored files and folders."""

    def read(self, split: Split) -> tuple[Images, Labels]:
        """uint8 (n, height, width[, 3]) and labels (n,). Raises SourceError."""


def find_source(name: str, settings: Settings, contract: DataContract, sample_fallback: bool = False) -> Source:
    """Find and open a source.

    Args:
        name: `auto` (the archives in `raw_dir`, else a download), `download`, `sample`, or a path.
        settings: data paths.
        contract: the current dataset's contract, for tables and pictures, which do not carry their own.
        sample_fallback: with `auto`, fall back to the synthetic sample if no mirror can be reached.

    Raises:
        SettingsError: unknown name or missing path.
        SourceUnreachable: no mirror responded.
        SourceError: damaged or unrecognized files.
    """
    if name == "sample":
        return open_archives(write_sample(settings.sample_dir))
    if name == "download":
        return open_archives(download_archives(settings))
    if name == "auto":
        return _find_default(settings, sample_fallback)
    return _open_path(Path(os.path.expanduser(name)), contract)  # noqa: PTH111, which fails for an unknown ~user


def _find_default(settings: Settings, sample_fallback: bool) -> Source:
    if has_archives(settings.raw_dir):
        return open_archives(settings.raw_dir)
    try:
        return open_archives(download_archives(settings))
    except SourceUnreachable as error:
        if not sample_fallback:
            raise SourceUnreachable(
                f"{error}. Put the four archives into {settings.raw_dir}, or set FASHION_SOURCE to their folder"
            ) from error
        log.warning("%s could not be reached (%s).", OFFICIAL.title, error)
        log.warning("Using a synthetic sample instead. Everything made from it is marked 'sample'.")
        return open_archives(write_sample(settings.sample_dir))


def _open_path(path: Path, contract: DataContract) -> Source:
    if path.is_dir():
        return _open_folder(path, contract)
    if path.is_file():
        if format_of(path.name) is None:
            known = " or ".join(sorted(suffixes()))
            raise SettingsError(
                f"FASHION_SOURCE or --source: found {str(path)!r}, expected a labelled {known} file, or a folder"
            )
        return LabelledTables.open({"train": (path,)}, contract)
    raise SettingsError(
        f"FASHION_SOURCE or --source: no such file or folder: {path}; expected a path, auto, download or sample"
    )


def _open_folder(path: Path, contract: DataContract) -> Source:
    """Open the source in a folder.

    Raises:
        SourceError: no known layout, or more than one. Says what was found.
    """
    if found := _open_files(path, path.name, contract):
        return found
    for place in OFFICIAL.places:
        folders = [folder for folder in sorted(path.glob(place)) if folder.is_dir()]
        opened = [found for folder in folders if (found := _open_files(folder, path.name, contract))]
        if len(opened) > 1:
            raise SourceError(
                f"{path}: {len(opened)} folders match {place}. Name one of {', '.join(map(str, folders))}"
            )
        if opened:
            return opened[0]
    names = {item.name for item in path.iterdir() if item.is_dir()}
    if not any(name.lower() in SPLIT_NAMES or contract.label_of(name) is not None for name in names):
        raise SourceError(f"{path}: found {_list(path)}; {EXPECTED}. docs/data.md shows every layout")
    return ClassFolders.open(path, contract)


def _open_files(folder: Path, name: str, contract: DataContract) -> Archives | LabelledTables | None:
    """Open the archives or tables in one folder; None if it has neither."""
    if (folder / SOURCE).is_file() or find_archives(folder):
        return open_archives(folder)
    for suffix in suffixes():
        files = _find_splits(folder, suffix)
        if files:
            if "train" not in files:
                raise SourceError(f"{folder}: found {files['test'][0].name}, but no {suffix} file for the train split")
            if classes := [
                item.name for item in folder.iterdir() if item.is_dir() and contract.label_of(item.name) is not None
            ]:
                tables = files["train"][0].name
                raise SourceError(f"{folder}: found tables ({tables}) and class folders ({classes[0]}). Keep one kind")
            read = {path.name for paths in files.values() for path in paths}
            left_out = tuple(sorted(item.name for item in folder.iterdir() if item.name not in read))
            return LabelledTables.open(files, contract, name, left_out)
    return None


def _find_splits(folder: Path, suffix: str) -> dict[Split, tuple[Path, ...]]:
    """Assign tables to splits by file name.

    Raises:
        SourceError: a split has two files, or a shard is missing.
    """
    found = defaultdict[Split, list[Path]](list)
    for path in sorted(folder.iterdir()):
        word = SPLIT_WORD.search(path.stem)
        if word and path.suffix.lower() == suffix and path.is_file() and not is_litter(path.name):
            found["train" if word[1].lower() == "train" else "test"].append(path)
    for split, paths in found.items():
        _check_shards(folder, split, paths)
    return {split: tuple(paths) for split, paths in found.items()}


def _check_shards(folder: Path, split: Split, paths: list[Path]) -> None:
    shards = [SHARD.search(path.stem) for path in paths]
    names = ", ".join(path.name for path in paths)
    if len(paths) > 1 and not all(shards):
        raise SourceError(f"{folder}: {len(paths)} files match the {split} split: {names}. Move all but one elsewhere")
    numbers = [(int(shard[1]), int(shard[2])) for shard in shards if shard]
    if numbers and numbers != [(number, len(numbers)) for number in range(len(numbers))]:
        raise SourceError(f"{folder}: expected {numbers[0][1]} shards for the {split} split, found {names}")


def _list(path: Path) -> str:
    names = sorted(f"{item.name}/" if item.is_dir() else item.name for item in path.iterdir())
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}" if names else "nothing"
