"""Read a folder with the four MNIST-style IDX files: the official ones, or any others with a `source.json`.

The official files are identified by checksum; gzipped and extracted files give the same dataset. Any other set needs a
`source.json` with its name, licence and SHA-256 checksums (see `declare_source`), so that a damaged file is never
mistaken for a new one. It may also declare a `contract`: the classes and images of a custom catalogue.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    """The images and labels archives of one split."""

    images: str
    labels: str


ARCHIVES: dict[Split, ArchivePair] = {
    "train": ArchivePair("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ArchivePair("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
SOURCE = "source.json"
FILES = tuple(file for pair in ARCHIVES.values() for file in (pair.images, pair.labels))
TRAIN_ROWS, TEST_ROWS = 4_000, 1_000  # of the synthetic sample


@dataclass(frozen=True)
class Declared:
    """The content of a `source.json`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    licence: str
    sha256: dict[str, Sha256]  # file name -> SHA-256
    contract: DataContract = OFFICIAL.contract


@dataclass(frozen=True)
class Archives:
    """A folder of archives with verified checksums."""

    folder: Path
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]  # per split: file name -> SHA-256
    files: dict[str, Path]  # published file name -> file to read
    contract: DataContract
    left_out: tuple[str, ...] = ()  # names of other files in the folder
    extends = False  # always a full dataset

    def prepared_like(self, contract: DataContract) -> "Archives":
        """Keep a dataset's version of the preparation, for photos added later; the archives' images need none."""
        mine = self.contract
        if (mine.name, mine.preparation_family) != (contract.name, contract.preparation_family):
            return self
        return replace(self, contract=replace(mine, preparation=contract.preparation))

    def read(self, split: Split) -> tuple[Images, Labels]:
        """Read images, uint8 (n, height, width[, 3]), and labels, uint8 (n,).

        Raises:
            SourceError: a file's content does not match its header, its counterpart or the contract.
        """
        pair = ARCHIVES[split]
        images = read_idx(self.files[pair.images], self.contract.image.shape)
        labels = read_idx(self.files[pair.labels], ())
        if len(images) != len(labels):
            raise SourceError(f"{self.folder}: found {len(images):,} {split} images but {len(labels):,} labels")
        if len(labels) and labels.max() >= (classes := len(self.contract.classes)):
            raise SourceError(f"{self.files[pair.labels]}: found the label {labels.max()}, expected 0 to {classes - 1}")
        return images, labels


def has_archives(folder: Path) -> bool:
    """Whether all four files exist, gzipped or extracted."""
    return len(find_archives(folder)) == len(FILES)


def find_archives(folder: Path) -> dict[str, Path]:
    """Map each published file name to the file found: gzipped, else extracted.

    Some tools write `train-images.idx3-ubyte` instead of `train-images-idx3-ubyte`.
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
    """Open a folder of archives and verify their checksums.

    Raises:
        SourceError: one of the four files is missing or has the wrong checksum.
    """
    files = find_archives(folder)
    missing = [file for file in FILES if file not in files]
    if missing:
        raise SourceError(f"{folder}: missing {', '.join(missing)}")
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
    """Verify an official file, gzipped or extracted. Returns the SHA-256 of the published file."""
    official = OFFICIAL.checksums[file]
    if path.suffix == ".gz":
        kind, found, expected = "MD5", md5_of(path), official.md5
    else:
        kind, found, expected = "SHA-256", sha256_of(path), official.unpacked
    if found != expected:
        raise SourceError(
            f"{path}: found {kind} {found}, expected the official {expected}. The file is damaged, or from another "
            f"dataset, which needs a {SOURCE} (see docs/data.md)"
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
            raise SourceError(f"{files[file]}: found SHA-256 {digest}, {path.name} expects {expected}")
    try:
        preparation_of(declared.contract)
    except SettingsError as error:
        raise SourceError(f"{path}: {error}") from error
    if declared.contract.embedding:
        raise SourceError(f"{path}: the contract has a network, which takes photos, but the archives contain pixels")
    if declared.name == OFFICIAL.contract.name:
        raise SourceError(f"{path}: the name {declared.name!r} is reserved for the official files")
    difference = OFFICIAL.contract.difference(declared.contract)
    if declared.contract.name == OFFICIAL.contract.name and difference:
        raise SourceError(
            f"{path}: the contract {declared.contract.name!r} is reserved for the official files; {difference}"
        )
    return declared


def declare_source(folder: Path, name: str, licence: str, contract: DataContract | None = None) -> None:
    """Write `source.json` for the four archives in `folder`, with a contract if they start a custom catalogue.

    Raises:
        SettingsError: the contract names an unknown preparation.
    """
    digests = {path.name: sha256_of(path) for path in find_archives(folder).values()}
    declared = {"name": name, "licence": licence, "sha256": digests}
    if contract:
        preparation_of(contract)
        declared["contract"] = contract.fields()
    write_whole(folder / SOURCE, json.dumps(declared, indent=2).encode() + b"\n")


def write_archives(folder: Path, splits: Mapping[Split, tuple[Images, Labels]]) -> None:
    """Write images, uint8 (n, height, width[, 3]), and labels, (n,) from 0 to 255, as the four archives."""
    for split, (images, labels) in splits.items():
        write_whole(folder / ARCHIVES[split].images, encode_idx(images))
        write_whole(folder / ARCHIVES[split].labels, encode_idx(labels.astype(np.uint8)))


def write_sample(folder: Path, train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS, seed: int = 0) -> Path:
    """Generate the synthetic sample and write it as the four IDX archives with a `source.json`.

    The output is deterministic.

    Args:
        folder: created if missing; existing archives are replaced.
        train_rows: images in the train split, at least one per class.
        test_rows: images in the test split, at least one per class.
        seed: random seed.

    Returns:
        `folder`.
    """
    generator = np.random.default_rng(seed)
    write_archives(folder, {"train": draw(train_rows, generator), "test": draw(test_rows, generator)})
    declare_source(folder, SAMPLE, "CC0-1.0, drawn by this project")
    return folder


def md5_of(path: Path) -> str:
    """MD5 of a file, hex: the checksum that the dataset's authors publish."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
