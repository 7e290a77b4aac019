"""Where raw examples come from, by one word: `auto`, `sample`, `download`, or a path.

What a path may hold is in `layouts`. Examples with a test split are a dataset of their own; without one, they are added
to the training split of the dataset in use.
"""

import logging
import os
from pathlib import Path
from typing import Protocol

from components.contract import DataContract, Images, Labels, Split
from components.dataset.archives import has_archives, open_archives
from components.dataset.download import download_archives
from components.dataset.labelled_tables import LabelledTables
from components.dataset.layouts import open_folder
from components.dataset.sample import write_sample
from components.errors import SettingsError, SourceUnreachable
from components.settings import Settings

log = logging.getLogger(__name__)

TABLES = (".csv", ".parquet")


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
        """What its images and labels are by, where it begins a dataset of its own."""

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
        return open_folder(path)
    if path.is_file():
        if path.suffix.lower() not in TABLES:
            raise SettingsError(f"--source {path}: a file must be a labelled .csv or .parquet; or name a folder")
        return LabelledTables.open({"train": (path,)})
    raise SettingsError(f"--source {path}: no such file or folder, nor one of auto, download, sample")
