"""A folder of pictures for each class: `FOLDER/<class>/<picture>`, or with `train` and `test` above the classes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.catalogues.fashion_mnist import CLASSES, CONTRACT, label_of
from components.contract import DataContract, Images, Labels, Split
from components.dataset.pictures import read_pictures
from components.errors import SourceError
from components.files import sha256_of
from components.readers.folders.litter import is_litter

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
SPLIT_NAMES: dict[str, Split] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
OTHER_SPLITS = {"val", "valid", "validation"}  # a training holds out validation rows of its own


@dataclass(frozen=True)
class ClassFolders:
    """Examples in folders named after their class."""

    roots: dict[Split, Path]
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]  # "<class folder>/<file>" -> SHA-256
    contract: DataContract = CONTRACT
    left_out: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path) -> "ClassFolders":
        """List a folder; its pictures are read later.

        Raises:
            SourceError: something in it is no class or no picture, or leads out of it. Names it.
        """
        left_out = list[str]()
        tops = list(_visible(path, path, left_out))
        roots: dict[Split, Path] = {
            SPLIT_NAMES[top.name.lower()]: top for top in tops if top.is_dir() and top.name.lower() in SPLIT_NAMES
        }
        if roots:
            left_out += [top.name for top in tops if top.name.lower() in OTHER_SPLITS]
            if strange := [top for top in tops if top not in roots.values() and top.name not in left_out]:
                raise SourceError(f"{strange[0]}: neither a split nor a folder of one; expected train and test alone")
        if "train" not in (roots := roots or {"train": path}):
            raise SourceError(f"{path}: no folder train beside test")
        digests: dict[Split, dict[str, str]] = {
            split: {f"{file.parent.name}/{file.name}": sha256_of(file) for file in _pictures(root, path, left_out)}
            for split, root in roots.items()
        }
        return cls(roots, f"images:{path.name}", "as its owner says", digests, left_out=tuple(sorted(left_out)))

    @property
    def extends(self) -> bool:
        """Without a test split the examples are added to a dataset that has one."""
        return "test" not in self.roots

    def read(self, split: Split) -> tuple[Images, Labels]:
        """Every picture, or SourceError with the bad one."""
        root, names = self.roots[split], list(self.digests[split])
        images = read_pictures([(str(root / name), (root / name).read_bytes()) for name in names])
        return images, np.array([_class_of(root / Path(name).parent) for name in names], np.uint8)


def _pictures(root: Path, source: Path, left_out: list[str]) -> list[Path]:
    """The pictures below a split's folder, sorted by class folder and name."""
    folders = list(_visible(root, source, left_out))
    for folder in folders:
        if not folder.is_dir():
            raise SourceError(f"{folder}: expected a folder of images, named after their class")
        _class_of(folder)
    files = [file for folder in folders for file in _visible(folder, source, left_out)]
    for file in files:
        if not file.is_file() or file.suffix.lower() not in SUFFIXES:
            raise SourceError(f"{file}: expected a PNG, JPEG or WebP file")
    if not files:
        raise SourceError(f"{root}: expected PNG, JPEG or WebP files in its folders, found none")
    return files


def _visible(folder: Path, source: Path, left_out: list[str]) -> Iterator[Path]:
    """What is in a folder, by name, without what systems and tools leave there.

    Raises:
        SourceError: a link that leads out of the source.
    """
    for path in sorted(folder.iterdir()):
        if is_litter(path.name):
            left_out.append(path.relative_to(source).as_posix())
            continue
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(source)):
            raise SourceError(f"{path}: a link that leads out of {source}; it is not followed. Copy what it leads to")
        yield path


def _class_of(folder: Path) -> int:
    label = label_of(folder.name)
    if label is None:
        raise SourceError(f"{folder}: not a class; expected 0 to 9 or one of {', '.join(CLASSES)}")
    return label
