"""A folder with the four IDX archives of the MNIST family: the official ones, or a set that declares itself.

The official files are known by their MD5. Any other set carries a `source.json` with its name, licence and SHA-256
checksums (`declare_source` writes it), so that a damaged file is never taken for a new one.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.contract import CLASSES, IMAGE_SHAPE, Images, Labels, Sha256, Split
from components.errors import SourceError
from components.files import sha256_of, write_whole
from components.formats.idx import read_idx
from components.records import read_file, read_record

OFFICIAL_NAME = "fashion-mnist"
OFFICIAL_LICENCE = "MIT, Copyright (c) 2017 Zalando SE, https://tech.zalando.com"


@dataclass(frozen=True)
class Pair:
    """The two archives of one split."""

    images: str
    labels: str


ARCHIVES: dict[Split, Pair] = {
    "train": Pair("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": Pair("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
FILES = tuple(file for pair in ARCHIVES.values() for file in (pair.images, pair.labels))

# From the dataset's README (github.com/zalandoresearch/fashion-mnist); a test holds them against torchvision's.
OFFICIAL_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True)
class Declared:
    """What a `source.json` says."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    licence: str
    sha256: dict[str, Sha256]  # file name -> of its bytes


@dataclass(frozen=True)
class Archives:
    """A folder of archives whose checksums were found right."""

    folder: Path
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]  # per split: file name -> SHA-256
    extends = False  # a dataset of its own

    def read(self, split: Split) -> tuple[Images, Labels]:
        """uint8 (n, 28, 28) and uint8 (n,).

        Raises:
            SourceError: a file whose content does not fit its header, its pair or the ten classes.
        """
        pair = ARCHIVES[split]
        images = read_idx(self.folder / pair.images, IMAGE_SHAPE)
        labels = read_idx(self.folder / pair.labels, ())
        if len(images) != len(labels):
            raise SourceError(f"{self.folder}: {len(images):,} {split} images but {len(labels):,} labels")
        if len(labels) and labels.max() >= len(CLASSES):
            raise SourceError(f"{self.folder / pair.labels}: found the label {labels.max()}, expected 0 to 9")
        return images, labels


def has_archives(folder: Path) -> bool:
    """Whether all four files are there."""
    return all((folder / file).is_file() for file in FILES)


def open_archives(folder: Path) -> Archives:
    """Check a folder of archives.

    Raises:
        SourceError: one of the four files is missing, or its checksum is not the expected one.
    """
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise SourceError(f"{folder}: no {', '.join(missing)}")
    found = {split: {f: sha256_of(folder / f) for f in (p.images, p.labels)} for split, p in ARCHIVES.items()}
    if (folder / "source.json").is_file():
        name, licence = _check_declared(folder, found)
    else:
        name, licence = _check_official(folder)
    return Archives(folder, name, licence, found)


def _check_official(folder: Path) -> tuple[str, str]:
    for file, expected in OFFICIAL_MD5.items():
        found = md5_of(folder / file)
        if found != expected:
            raise SourceError(
                f"{folder / file}: MD5 is {found}, the official file's is {expected}; it is damaged or another "
                f"dataset's (which needs a source.json, see docs/data.md)"
            )
    return OFFICIAL_NAME, OFFICIAL_LICENCE


def _check_declared(folder: Path, found: dict[Split, dict[str, str]]) -> tuple[str, str]:
    path = folder / "source.json"
    try:
        declared = read_record(Declared, read_file(path, SourceError), "found", SourceError, extra="ignore")
    except SourceError as error:
        raise SourceError(f"{path}: expected JSON with name, licence and sha256, {error}") from error
    for file, digest in (item for files in found.values() for item in files.items()):
        if declared.sha256.get(file) != digest:
            raise SourceError(f"{folder / file}: SHA-256 is {digest}, {path.name} says {declared.sha256.get(file)}")
    if declared.name == OFFICIAL_NAME:
        raise SourceError(f"{path}: the name {declared.name!r} is kept for the official files")
    return declared.name, declared.licence


def declare_source(folder: Path, name: str, licence: str) -> None:
    """Write `source.json` for the four archives in `folder`."""
    declared = {"name": name, "licence": licence, "sha256": {file: sha256_of(folder / file) for file in FILES}}
    write_whole(folder / "source.json", json.dumps(declared, indent=2).encode() + b"\n")


def md5_of(path: Path) -> str:
    """MD5 of a file's bytes, hex: the checksum that the dataset publishes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
