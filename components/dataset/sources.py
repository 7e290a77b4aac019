"""Where raw examples come from, by one word: `auto`, `sample`, `download`, or a path in a layout that people have.

IDX files   the four of the MNIST family, gzipped or extracted: as published, torchvision's and Keras' copies, Kaggle's
tables      Parquet or CSV files named train and test: Hugging Face's, also in shards, and Kaggle's
pictures    a folder for each class, or train and test with such folders in them

Examples with a test split are a dataset of their own; without one, they are added to the training split of the dataset
in use.
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
READ = (
    "neither the four IDX archives nor a folder of images for each class, nor Parquet or CSV files named train and test"
)


class Source(Protocol):
    """Raw examples, their checksums known before they are read."""

    @property
    def name(self) -> str:
        """What the dataset is called after."""

    @property
    def licence(self) -> str:
        """Under which the examples may be used."""

    @property
    def contract(self) -> DataContract:
        """What its images and labels are by."""

    @property
    def extends(self) -> bool:
        """Whether the examples are added to the current dataset."""

    @property
    def digests(self) -> dict[Split, dict[str, str]]:
        """Per split: file name -> SHA-256."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of files and folders that are not read."""

    def read(self, split: Split) -> tuple[Images, Labels]:
        """uint8 (n, height, width[, 3]) and labels (n,). Raises SourceError."""


def find_source(name: str, settings: Settings, contract: DataContract, sample_fallback: bool = False) -> Source:
    """The source that `name` means.

    Args:
        name: `auto` (the archives in `raw_dir`, else a download), `download`, `sample`, or a path.
        settings: where data lives.
        contract: what tables and pictures are read by, which have none of their own: the dataset's in use.
        sample_fallback: with `auto`, take the drawn sample where nothing can be reached.

    Raises:
        SettingsError: no such word or path.
        SourceUnreachable: no mirror answered.
        SourceError: damaged or foreign files.
    """
    if name == "sample":
        return open_archives(write_sample(settings.sample_dir))
    if name == "download":
        return open_archives(download_archives(settings))
    if name == "auto":
        return _find_automatically(settings, sample_fallback)
    return _open_path(Path(os.path.expanduser(name)), contract)  # noqa: PTH111, which fails for an unknown ~user


def _find_automatically(settings: Settings, sample_fallback: bool) -> Source:
    if has_archives(settings.raw_dir):
        return open_archives(settings.raw_dir)
    try:
        return open_archives(download_archives(settings))
    except SourceUnreachable as error:
        if not sample_fallback:
            raise SourceUnreachable(
                f"{error}; put the four archives into {settings.raw_dir}, or set FASHION_SOURCE to a folder with them"
            ) from error
        log.warning("%s could not be reached (%s).", OFFICIAL.title, error)
        log.warning("Going on with a drawn sample: everything made from it is marked 'sample'.")
        return open_archives(write_sample(settings.sample_dir))


def _open_path(path: Path, contract: DataContract) -> Source:
    if path.is_dir():
        return _open_folder(path, contract)
    if path.is_file():
        if format_of(path.name) is None:
            known = " or ".join(sorted(suffixes()))
            raise SettingsError(f"--source {path}: a file must be a labelled {known}; or name a folder")
        return LabelledTables.open({"train": (path,)}, contract)
    raise SettingsError(f"--source {path}: no such file or folder, nor one of auto, download, sample")


def _open_folder(path: Path, contract: DataContract) -> Source:
    """What a folder holds.

    Raises:
        SourceError: nothing that is read here, or something beside it that could be meant too. Says what was found.
    """
    if found := _open_files(path, path.name, contract):
        return found
    for place in OFFICIAL.places:
        folders = [folder for folder in sorted(path.glob(place)) if folder.is_dir()]
        opened = [found for folder in folders if (found := _open_files(folder, path.name, contract))]
        if len(opened) > 1:
            raise SourceError(f"{path}: {len(opened)} folders {place} fit; name one of {', '.join(map(str, folders))}")
        if opened:
            return opened[0]
    names = {item.name for item in path.iterdir() if item.is_dir()}
    if not any(name.lower() in SPLIT_NAMES or contract.label_of(name) is not None for name in names):
        raise SourceError(f"{path}: {READ}; found {_list(path)}. docs/data.md shows every layout")
    return ClassFolders.open(path, contract)


def _open_files(folder: Path, name: str, contract: DataContract) -> Archives | LabelledTables | None:
    """The files of one folder; None where there are none that say what they are."""
    if (folder / SOURCE).is_file() or find_archives(folder):
        return open_archives(folder)
    for suffix in suffixes():
        files = _find_splits(folder, suffix)
        if files:
            if "train" not in files:
                raise SourceError(f"{folder}: {files['test'][0].name}, but no {suffix} file of a train split")
            if classes := [
                item.name for item in folder.iterdir() if item.is_dir() and contract.label_of(item.name) is not None
            ]:
                raise SourceError(f"{folder}: both tables ({files['train'][0].name}) and class folders ({classes[0]})")
            read = {path.name for paths in files.values() for path in paths}
            left_out = tuple(sorted(item.name for item in folder.iterdir() if item.name not in read))
            return LabelledTables.open(files, contract, name, left_out)
    return None


def _find_splits(folder: Path, suffix: str) -> dict[Split, tuple[Path, ...]]:
    """The tables of each split, by their names.

    Raises:
        SourceError: two files for one split, or a shard is missing.
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
        raise SourceError(f"{folder}: {len(paths)} files fit the {split} split: {names}; move all but one elsewhere")
    numbers = [(int(shard[1]), int(shard[2])) for shard in shards if shard]
    if numbers and numbers != [(number, len(numbers)) for number in range(len(numbers))]:
        raise SourceError(f"{folder}: the {split} split has {numbers[0][1]} shards, found {names}")


def _list(path: Path) -> str:
    names = sorted(f"{item.name}/" if item.is_dir() else item.name for item in path.iterdir())
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}" if names else "nothing"
