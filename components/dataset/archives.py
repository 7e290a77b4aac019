"""A folder with the four IDX files of the MNIST family: the official ones, or a set that declares itself.

The official files are known by their checksums, gzipped or extracted, and are the same dataset either way. Any other
set carries a `source.json` with its name, licence and SHA-256 checksums (`declare_source` writes it), so that a damaged
file is never taken for a new one.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.catalogues.fashion_mnist import CLASSES, CONTRACT, IMAGE_SHAPE
from components.contract import DataContract, Images, Labels, Sha256, Split
from components.errors import SourceError
from components.files import sha256_of, write_whole
from components.readers.images.idx import read_idx
from components.records import read_file, read_record

OFFICIAL_NAME = "fashion-mnist"
OFFICIAL_LICENCE = "MIT, Copyright (c) 2017 Zalando SE, https://tech.zalando.com"


@dataclass(frozen=True)
class ArchivePair:
    """The two archives of one split."""

    images: str
    labels: str


ARCHIVES: dict[Split, ArchivePair] = {
    "train": ArchivePair("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ArchivePair("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
SOURCE = "source.json"
FILES = tuple(file for pair in ARCHIVES.values() for file in (pair.images, pair.labels))

# From the dataset's README (github.com/zalandoresearch/fashion-mnist); a test compares them with torchvision's.
OFFICIAL_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True)
class Extracted:
    """SHA-256 of an official file as it is published, and of what it unpacks to."""

    packed: str
    unpacked: str


OFFICIAL_SHA256 = {
    "train-images-idx3-ubyte.gz": Extracted(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte.gz": Extracted(
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte.gz": Extracted(
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte.gz": Extracted(
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
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
    files: dict[str, Path]  # name of the published file -> the one that is read
    contract: DataContract = CONTRACT
    left_out: tuple[str, ...] = ()  # names of other files in the folder
    extends = False  # a dataset of its own

    def read(self, split: Split) -> tuple[Images, Labels]:
        """uint8 (n, 28, 28) and uint8 (n,).

        Raises:
            SourceError: a file whose content does not fit its header, its pair or the ten classes.
        """
        pair = ARCHIVES[split]
        images = read_idx(self.files[pair.images], IMAGE_SHAPE)
        labels = read_idx(self.files[pair.labels], ())
        if len(images) != len(labels):
            raise SourceError(f"{self.folder}: {len(images):,} {split} images but {len(labels):,} labels")
        if len(labels) and labels.max() >= len(CLASSES):
            raise SourceError(f"{self.files[pair.labels]}: found the label {labels.max()}, expected 0 to 9")
        return images, labels


def has_archives(folder: Path) -> bool:
    """Whether all four files are there, gzipped or extracted."""
    return len(find_archives(folder)) == len(FILES)


def find_archives(folder: Path) -> dict[str, Path]:
    """Name of the published file -> that file or what somebody extracted from it; the published one where both exist.

    Some tools write `train-images.idx3-ubyte` for `train-images-idx3-ubyte`.
    """
    found = {}
    for file in FILES:
        extracted = file.removesuffix(".gz")
        names = [name for base in (extracted, extracted.replace("-idx", ".idx")) for name in (f"{base}.gz", base)]
        paths = [folder / name for name in sorted(names, key=lambda name: not name.endswith(".gz"))]
        if path := next(filter(Path.is_file, paths), None):
            found[file] = path
    return found


def open_archives(folder: Path) -> Archives:
    """Check a folder of archives.

    Raises:
        SourceError: one of the four files is missing, or its checksum is not the expected one.
    """
    files = find_archives(folder)
    missing = [file for file in FILES if file not in files]
    if missing:
        raise SourceError(f"{folder}: no {', '.join(missing)}")
    read = {SOURCE, *(path.name for path in files.values())}
    left_out = tuple(sorted(path.name for path in folder.iterdir() if path.name not in read))
    if (folder / SOURCE).is_file():
        found = {file: sha256_of(path) for file, path in files.items()}
        name, licence = _check_declared(folder, files, found)
        names = {file: path.name for file, path in files.items()}
    else:
        name, licence = OFFICIAL_NAME, OFFICIAL_LICENCE
        found = {file: _check_official(file, path) for file, path in files.items()}
        names = {file: file for file in files}
    digests = {split: {names[f]: found[f] for f in (pair.images, pair.labels)} for split, pair in ARCHIVES.items()}
    return Archives(folder, name, licence, digests, files, left_out=left_out)


def _check_official(file: str, path: Path) -> str:
    """The SHA-256 of the published file, which `path` is or was extracted from."""
    if path.suffix == ".gz":
        kind, found, expected = "MD5", md5_of(path), OFFICIAL_MD5[file]
    else:
        kind, found, expected = "SHA-256", sha256_of(path), OFFICIAL_SHA256[file].unpacked
    if found != expected:
        raise SourceError(
            f"{path}: {kind} is {found}, the official file's is {expected}; it is damaged or another "
            f"dataset's (which needs a {SOURCE}, see docs/data.md)"
        )
    return sha256_of(path) if path.suffix == ".gz" else OFFICIAL_SHA256[file].packed


def _check_declared(folder: Path, files: dict[str, Path], found: dict[str, str]) -> tuple[str, str]:
    path = folder / SOURCE
    try:
        declared = read_record(Declared, read_file(path, SourceError), "found", SourceError, extra="ignore")
    except SourceError as error:
        raise SourceError(f"{path}: expected JSON with name, licence and sha256, {error}") from error
    for file, digest in found.items():
        expected = declared.sha256.get(files[file].name)
        if expected != digest:
            raise SourceError(f"{files[file]}: SHA-256 is {digest}, {path.name} says {expected}")
    if declared.name == OFFICIAL_NAME:
        raise SourceError(f"{path}: the name {declared.name!r} is kept for the official files")
    return declared.name, declared.licence


def declare_source(folder: Path, name: str, licence: str) -> None:
    """Write `source.json` for the four archives in `folder`."""
    digests = {path.name: sha256_of(path) for path in find_archives(folder).values()}
    declared = {"name": name, "licence": licence, "sha256": digests}
    write_whole(folder / SOURCE, json.dumps(declared, indent=2).encode() + b"\n")


def md5_of(path: Path) -> str:
    """MD5 of a file's bytes, hex: the checksum that the dataset publishes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
