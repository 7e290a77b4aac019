"""A folder of raw examples, in the layouts that people have.

IDX files   the four of Fashion-MNIST, gzipped or extracted: as published, torchvision's and Keras' copies, Kaggle's
tables      Parquet or CSV files named train and test: Hugging Face's, also in shards, and Kaggle's
pictures    a folder for each class, or train and test with such folders in them
"""

import re
from collections import defaultdict
from pathlib import Path

from components.catalogues.fashion_mnist import CONTRACT, label_of
from components.contract import Split
from components.dataset.archives import SOURCE, Archives, find_archives, open_archives
from components.dataset.class_folders import SPLIT_NAMES, ClassFolders
from components.dataset.labelled_tables import LabelledTables
from components.errors import SourceError
from components.readers.folders.names import is_litter

# Where tools put the files below the folder that a person names.
PLACES = (
    "raw",  # torchvision
    "FashionMNIST/raw",
    "fashion-mnist",  # Keras
    "datasets/fashion-mnist",
    "fashion_mnist",  # Hugging Face
    "data",
    "snapshots/*/fashion_mnist",
    "data/fashion",  # the dataset's own repository
)
SUFFIXES = (".parquet", ".csv")  # the first that fits is read
SPLIT_WORD = re.compile(r"(?:^|[-_.])(train|test)(?:[-_.]|$)", re.IGNORECASE)
SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
READ = (
    "neither the four IDX archives nor a folder of images for each class, nor Parquet or CSV files named train and test"
)


def open_folder(path: Path) -> Archives | LabelledTables | ClassFolders:
    """What a folder holds.

    Raises:
        SourceError: nothing that is read here, or something beside it that could be meant too. Says what was found.
    """
    if found := _open_files(path, path.name):
        return found
    for place in PLACES:
        folders = [folder for folder in sorted(path.glob(place)) if folder.is_dir()]
        opened = [found for folder in folders if (found := _open_files(folder, path.name))]
        if len(opened) > 1:
            raise SourceError(f"{path}: {len(opened)} folders {place} fit; name one of {', '.join(map(str, folders))}")
        if opened:
            return opened[0]
    names = {item.name for item in path.iterdir() if item.is_dir()}
    if not any(name.lower() in SPLIT_NAMES or label_of(name) is not None for name in names):
        raise SourceError(f"{path}: {READ}; found {_list(path)}. docs/data.md shows every layout")
    return ClassFolders.open(path, CONTRACT)


def _open_files(folder: Path, name: str) -> Archives | LabelledTables | None:
    """The files of one folder; None where there are none that say what they are."""
    if (folder / SOURCE).is_file() or find_archives(folder):
        return open_archives(folder)
    for suffix in SUFFIXES:
        files = _find_splits(folder, suffix)
        if files:
            if "train" not in files:
                raise SourceError(f"{folder}: {files['test'][0].name}, but no {suffix} file of a train split")
            if classes := [item.name for item in folder.iterdir() if item.is_dir() and label_of(item.name) is not None]:
                raise SourceError(f"{folder}: both tables ({files['train'][0].name}) and class folders ({classes[0]})")
            read = {path.name for paths in files.values() for path in paths}
            left_out = tuple(sorted(item.name for item in folder.iterdir() if item.name not in read))
            return LabelledTables.open(files, name, left_out)
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
