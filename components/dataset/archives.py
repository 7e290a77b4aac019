"""A folder with the four IDX files of the MNIST family: the official ones, or a set that declares itself.

The official files are known by their checksums, gzipped or extracted, and are the same dataset either way. Any other
set carries a `source.json` with its name, licence and SHA-256 checksums (`declare_source` writes it), so that a damaged
file is never taken for a new one. It may have a `contract`, too: the classes and images of a catalogue of its own.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from components.catalogues import OFFICIAL
from components.catalogues.preparation import preparation_of
from components.catalogues.sample import draw
from components.contract import SAMPLE, DataContract, Images, Labels, Sha256, Split
from components.errors import SettingsError, SourceError
from components.files import sha256_of, write_whole
from components.readers.images.idx import encode_idx, read_idx
from components.records import read_file, read_record


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
TRAIN_ROWS, TEST_ROWS = 4_000, 1_000  # of the drawn sample


@dataclass(frozen=True)
class Declared:
    """What a `source.json` says."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    licence: str
    sha256: dict[str, Sha256]  # file name -> of its bytes
    contract: DataContract = OFFICIAL.contract


@dataclass(frozen=True)
class Archives:
    """A folder of archives whose checksums were found right."""

    folder: Path
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]  # per split: file name -> SHA-256
    files: dict[str, Path]  # name of the published file -> the one that is read
    contract: DataContract
    left_out: tuple[str, ...] = ()  # names of other files in the folder
    extends = False  # a dataset of its own

    def read(self, split: Split) -> tuple[Images, Labels]:
        """uint8 (n, height, width[, 3]) and uint8 (n,).

        Raises:
            SourceError: a file whose content does not fit its header, its pair or the contract.
        """
        pair = ARCHIVES[split]
        images = read_idx(self.files[pair.images], self.contract.image.shape)
        labels = read_idx(self.files[pair.labels], ())
        if len(images) != len(labels):
            raise SourceError(f"{self.folder}: {len(images):,} {split} images but {len(labels):,} labels")
        if len(labels) and labels.max() >= (classes := len(self.contract.classes)):
            raise SourceError(f"{self.files[pair.labels]}: found the label {labels.max()}, expected 0 to {classes - 1}")
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
        declared = _check_declared(folder, files, found)
        name, licence, contract = declared.name, declared.licence, declared.contract
        names = {file: path.name for file, path in files.items()}
    else:
        contract = OFFICIAL.contract
        name, licence = contract.name, OFFICIAL.licence
        found = {file: _check_official(file, path) for file, path in files.items()}
        names = {file: file for file in files}
    digests = {split: {names[f]: found[f] for f in (pair.images, pair.labels)} for split, pair in ARCHIVES.items()}
    return Archives(folder, name, licence, digests, files, contract, left_out)


def _check_official(file: str, path: Path) -> str:
    """The SHA-256 of the published file, which `path` is or was extracted from."""
    official = OFFICIAL.checksums[file]
    if path.suffix == ".gz":
        kind, found, expected = "MD5", md5_of(path), official.md5
    else:
        kind, found, expected = "SHA-256", sha256_of(path), official.unpacked
    if found != expected:
        raise SourceError(
            f"{path}: {kind} is {found}, the official file's is {expected}; it is damaged or another "
            f"dataset's (which needs a {SOURCE}, see docs/data.md)"
        )
    return sha256_of(path) if path.suffix == ".gz" else official.sha256


def _check_declared(folder: Path, files: dict[str, Path], found: dict[str, str]) -> Declared:
    path = folder / SOURCE
    try:
        declared = read_record(Declared, read_file(path, SourceError), "found", SourceError, extra="ignore")
    except SourceError as error:
        raise SourceError(f"{path}: expected JSON with name, licence and sha256, {error}") from error
    for file, digest in found.items():
        expected = declared.sha256.get(files[file].name)
        if expected != digest:
            raise SourceError(f"{files[file]}: SHA-256 is {digest}, {path.name} says {expected}")
    try:
        preparation_of(declared.contract)
    except SettingsError as error:
        raise SourceError(f"{path}: {error}") from error
    if declared.name == OFFICIAL.contract.name:
        raise SourceError(f"{path}: the name {declared.name!r} is kept for the official files")
    difference = OFFICIAL.contract.difference(declared.contract)
    if declared.contract.name == OFFICIAL.contract.name and difference:
        raise SourceError(
            f"{path}: the contract {declared.contract.name!r} is kept for the official files; {difference}"
        )
    return declared


def declare_source(folder: Path, name: str, licence: str, contract: DataContract | None = None) -> None:
    """Write `source.json` for the four archives in `folder`, with a contract where they begin a catalogue.

    Raises:
        SettingsError: the contract names a preparation that there is not.
    """
    digests = {path.name: sha256_of(path) for path in find_archives(folder).values()}
    declared = {"name": name, "licence": licence, "sha256": digests}
    if contract:
        preparation_of(contract)
        declared["contract"] = asdict(contract)
    write_whole(folder / SOURCE, json.dumps(declared, indent=2).encode() + b"\n")


def write_archives(folder: Path, splits: Mapping[Split, tuple[Images, Labels]]) -> None:
    """Write images, uint8 (n, height, width[, 3]), and labels, (n,) below 256, as the four archives."""
    for split, (images, labels) in splits.items():
        write_whole(folder / ARCHIVES[split].images, encode_idx(images))
        write_whole(folder / ARCHIVES[split].labels, encode_idx(labels.astype(np.uint8)))


def write_sample(folder: Path, train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS, seed: int = 0) -> Path:
    """Draw the sample and write it as the four IDX archives.

    The same arguments give the same bytes. `source.json` beside the archives names them as the sample.

    Args:
        folder: made if need be; archives already there are replaced.
        train_rows: images in the train split, at least one a class.
        test_rows: images in the test split, at least one a class.

    Returns:
        `folder`.
    """
    generator = np.random.default_rng(seed)
    write_archives(folder, {"train": draw(train_rows, generator), "test": draw(test_rows, generator)})
    declare_source(folder, SAMPLE, "CC0-1.0, drawn by this project")
    return folder


def md5_of(path: Path) -> str:
    """MD5 of a file's bytes, hex: the checksum that the dataset publishes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
