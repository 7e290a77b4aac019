"""Where raw examples come from, by one word: `auto`, `sample`, `download`, or a path.

A path is a folder of IDX archives, a labelled CSV (`label,pixel1,...,pixel784`), or a folder with a folder of images a
class. The first is a dataset of its own; the other two extend the current one with training examples.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from components.contract import CLASSES, PIXELS, Images, Labels, Split, label_of
from components.dataset.archives import has_archives, open_archives
from components.dataset.download import download_archives
from components.dataset.sample import write_sample
from components.errors import InputError, SettingsError, SourceError, SourceUnreachable
from components.files import sha256_of
from components.formats.photos import read_photo
from components.settings import Settings
from components.tables.blocks import Block
from components.tables.pixel_csv import read_pixel_csv

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}


class Source(Protocol):
    """Raw examples, their checksums known before they are read."""

    @property
    def name(self) -> str:
        """What the dataset is called after."""

    @property
    def licence(self) -> str:
        """Under which the examples may be used."""

    @property
    def extends(self) -> bool:
        """Whether the examples are added to the current dataset."""

    @property
    def digests(self) -> dict[Split, dict[str, str]]:
        """Per split: file name -> SHA-256."""

    def read(self, split: Split) -> tuple[Images, Labels]:
        """uint8 (n, 28, 28) and uint8 (n,). Raises SourceError."""


def find_source(name: str, settings: Settings, sample_fallback: bool = False) -> Source:
    """The source that `name` means.

    Args:
        name: `auto` (the archives in `raw_dir`, else a download), `download`, `sample`, or a path.
        settings: where data lives.
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
    return _open_path(Path(os.path.expanduser(name)))  # noqa: PTH111, which fails for an unknown ~user


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
        log.warning("Fashion-MNIST could not be reached (%s).", error)
        log.warning("Going on with a drawn sample: everything made from it is marked 'sample'.")
        return find_source("sample", settings)


def _open_path(path: Path) -> Source:
    if path.is_dir():
        if (path / "source.json").is_file() or any(path.glob("*-ubyte.gz")):
            return open_archives(path)
        return ImageFolder.open(path)
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise SettingsError(f"--source {path}: a file must be a labelled .csv; or name a folder")
        return LabelledCsv.open(path)
    raise SettingsError(f"--source {path}: no such file or folder, nor one of auto, download, sample")


@dataclass(frozen=True)
class LabelledCsv:
    """New training examples, a row each."""

    path: Path
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]
    extends = True

    @classmethod
    def open(cls, path: Path) -> "LabelledCsv":
        """Name a file; it is read later."""
        return cls(path, f"csv:{path.name}", "as its owner says", {"train": {path.name: sha256_of(path)}})

    def read(self, split: Split) -> tuple[Images, Labels]:
        """Every row, or SourceError with the first bad ones."""
        with self.path.open("rb") as stream:
            try:
                blocks = list(read_pixel_csv(stream, self.path.name))
            except InputError as error:
                raise SourceError(f"{self.path}: {error}") from error
        self._refuse_rejects(blocks)
        labels = [block.labels for block in blocks if block.labels is not None]
        if not labels:
            raise SourceError(f"{self.path}: no labelled rows; expected label,pixel1,...,pixel{PIXELS}")
        return np.concatenate([block.images for block in blocks]), np.concatenate(labels)

    def _refuse_rejects(self, blocks: list[Block]) -> None:
        rejects = [reject for block in blocks for reject in block.rejects]
        if rejects:
            shown = "; ".join(f"line {reject.line}: {reject.reason}" for reject in rejects[:3])
            raise SourceError(f"{self.path}: {len(rejects)} bad row(s), nothing was taken: {shown}")


@dataclass(frozen=True)
class ImageFolder:
    """New training examples: `FOLDER/<class>/<picture>`, the class by name or by number."""

    path: Path
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]  # "<class folder>/<file>" -> SHA-256
    extends = True

    @classmethod
    def open(cls, path: Path) -> "ImageFolder":
        """List a folder; its pictures are read later."""
        folders = sorted(path.iterdir())
        if not any(map(Path.is_dir, folders)):
            raise SourceError(f"{path}: neither the four IDX archives nor a folder of images a class")
        for folder in folders:
            if folder.is_symlink() or not folder.is_dir():
                raise SourceError(f"{folder}: expected a folder of images, named after their class")
            _class_of(folder)
        files = [file for folder in folders for file in sorted(folder.iterdir())]
        for file in files:
            if file.is_symlink() or not file.is_file() or file.suffix.lower() not in IMAGE_SUFFIXES:
                raise SourceError(f"{file}: expected a PNG or JPEG file")
        if not files:
            raise SourceError(f"{path}: expected PNG or JPEG files in its folders, found none")
        digests = {f"{file.parent.name}/{file.name}": sha256_of(file) for file in files}
        return cls(path, f"images:{path.name}", "as its owner says", {"train": digests})

    def read(self, split: Split) -> tuple[Images, Labels]:
        """Every picture, or SourceError with the bad one."""
        images = []
        for name in self.digests[split]:
            try:
                images.append(read_photo((self.path / name).read_bytes(), name, ("PNG", "JPEG")))
            except InputError as error:
                raise SourceError(f"{self.path / name}: {error.reason}") from error
        labels = [_class_of(self.path / Path(name).parent) for name in self.digests[split]]
        return np.concatenate(images), np.array(labels, np.uint8)


def _class_of(folder: Path) -> int:
    label = label_of(folder.name)
    if label is None:
        raise SourceError(f"{folder}: not a class; expected 0 to 9 or one of {', '.join(CLASSES)}")
    return label
