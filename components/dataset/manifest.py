"""A dataset on disk: immutable Parquet parts and the manifest that lists them.

    data/datasets/parts/train-1f0c....parquet   named by the SHA-256 of its content, shared between versions
    data/datasets/0a1b2c3d4e5f6071.json         a manifest, named by the SHA-256 of its content: the version
    data/datasets/current                       the version in use: what was ingested last and not refused
    data/datasets/accepted                      the version that passed validation last
    data/datasets/receipts/0a1b2c3d4e5f6071.json  of a version that passed: what it met, and when

The drawn sample has pointers of its own (current-sample, accepted-sample), so that it never takes the place of real
data. A version that fails validation stays on disk, but `current` goes back to the accepted one. A manifest
holds nothing that differs between two ingests of the same input, so the same input is the same version.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from pydantic import Field

from components.catalogues import OFFICIAL
from components.catalogues.preparation import preparation_of
from components.contract import (
    SAMPLE,
    DataContract,
    Dataset,
    Images,
    ImageSpec,
    Labels,
    Positive,
    Revision,
    Sha256,
    Split,
    Time,
    Validated,
    schema_of,
)
from components.errors import DatasetError, SettingsError
from components.files import sha256_of, write_whole
from components.records import read_file, read_record
from components.revisions import Lineage

VERSION_DIGITS = 16
VERSION = re.compile(f"[0-9a-f]{{{VERSION_DIGITS}}}")
METADATA = b"contract"  # of a part: the contract that its labels were written with, as JSON
UNKNOWN = np.iinfo(np.uint16).max  # stands for a class that the contract has not
LOCK_TIMEOUT = 120  # seconds to wait for another writer


@dataclass(frozen=True)
class DatasetPart:
    """One Parquet file: rows of one split from one source."""

    file: str  # relative to the datasets folder, see `part_file`
    split: Split
    rows: Positive
    sha256: Sha256  # of the Parquet file
    content: Sha256  # of its rows, whatever version of Parquet's writer wrote them
    inputs: dict[str, str]  # raw file name -> its SHA-256


@dataclass(frozen=True)
class Manifest:
    """What a dataset version is made of."""

    source: Annotated[str, Field(min_length=1)]
    licence: str
    parts: Annotated[tuple[DatasetPart, ...], Field(min_length=1)]
    contract: DataContract = OFFICIAL.contract  # a manifest of before there were contracts is of Fashion-MNIST
    revisions: tuple[Revision, ...] = ()  # of the classes; not written where there are none

    def of(self, split: Split) -> tuple[DatasetPart, ...]:
        """The parts of one split, oldest first."""
        return tuple(part for part in self.parts if part.split == split)

    def rows(self, split: Split) -> int:
        """How many images a split has."""
        return sum(part.rows for part in self.of(split))

    def split_version(self, split: Split) -> str:
        """Equal for two datasets exactly when this split holds the same rows in the same order: 16 hex digits."""
        return digest("\n".join(part.content for part in self.of(split)).encode())

    def encode(self) -> bytes:
        """The bytes that are written, and that the version is the hash of."""
        said = asdict(self)
        if not self.revisions:
            del said["revisions"]  # or each dataset of before there were any would be another version
        return json.dumps(said, indent=2, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True)
class Receipt:
    """What is kept of a passed validation."""

    expectations: Positive  # how many were met
    docs: Annotated[str, Field(min_length=1)]  # the Data Docs page
    checked_at: Time  # UTC


@dataclass(frozen=True)
class Examples:
    """The rows of a split, in memory."""

    ids: list[str]  # (n,)
    images: Images  # uint8 (n, height, width[, 3]), read-only
    labels: Labels  # uint16 (n,), read-only
    contract: DataContract  # what these are by


def digest(content: bytes) -> str:
    """The first 16 hex digits of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]


def part_file(split: Split, sha256: str) -> str:
    """Where a part is, relative to the datasets folder."""
    return f"parts/{split}-{sha256[:VERSION_DIGITS]}.parquet"


def dataset_lock(folder: Path) -> FileLock:
    """Held while parts, manifests or pointers are written."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock", timeout=LOCK_TIMEOUT)


def content_hash(table: pa.Table, contract: DataContract) -> str:
    """SHA-256 of the ids, labels and pixels of a part's table, hex; a label is a byte where 256 classes are enough."""
    found = hashlib.sha256("\n".join(table["id"].to_pylist()).encode())
    found.update(table["label"].to_numpy().astype("u1" if len(contract.classes) <= 256 else "<u2").tobytes())
    found.update(to_images(table["pixels"], contract.image).tobytes())
    return found.hexdigest()


def write_manifest(folder: Path, manifest: Manifest, use: bool = True) -> Dataset:
    """Write a manifest and, with `use`, make it the current one. Its parts must be in place."""
    content = manifest.encode()
    path = folder / f"{digest(content)}.json"
    write_whole(path, content)
    dataset = describe(path, manifest)
    if use:
        make_current(dataset)
    return dataset


def make_current(dataset: Dataset) -> None:
    """Take a dataset into use. The caller holds `dataset_lock`."""
    _point("current", dataset)


def accept(validated: Validated) -> None:
    """Remember that a dataset passed validation, and keep its receipt."""
    dataset = validated.dataset
    receipt = Receipt(validated.expectations, str(validated.docs), validated.checked_at)
    with dataset_lock(dataset.path.parent):
        write_whole(receipt_path(dataset), json.dumps(asdict(receipt), indent=2).encode() + b"\n")
        _point("accepted", dataset)


def receipt_path(dataset: Dataset) -> Path:
    """Where the receipt of a dataset is, if it ever passed validation."""
    return dataset.path.parent / "receipts" / dataset.path.name


def check_receipt(dataset: Dataset) -> Validated:
    """The receipt of a dataset that passed validation and is unchanged since, every byte of it.

    Raises:
        DatasetError: it never passed, or changed.
    """
    path = receipt_path(dataset)
    try:
        receipt = read_record(Receipt, read_file(path, DatasetError), path, DatasetError)
    except (FileNotFoundError, DatasetError) as error:
        damage = f" ({error})" if isinstance(error, DatasetError) else ""
        raise DatasetError(
            f"{dataset.version}: no receipt of a passed validation{damage}; 'fashion validate'"
        ) from error
    for part in read_manifest(dataset).parts:
        check_part(dataset.path.parent, part)
    return Validated(dataset, receipt.expectations, Path(receipt.docs), receipt.checked_at)


def dataset_of(folder: Path, version: str) -> Dataset:
    """The dataset with this version.

    Raises:
        DatasetError: it is not in the folder, or changed since it was written.
    """
    if not VERSION.fullmatch(version):
        raise DatasetError(f"{version!r} is not the version of a dataset; expected {VERSION_DIGITS} hex digits")
    path = folder / f"{version}.json"
    return describe(path, read_manifest(path))


def refuse(dataset: Dataset) -> None:
    """Put the last accepted dataset back in use where `dataset` is the current one."""
    folder, sample = dataset.path.parent, dataset.source == SAMPLE
    with dataset_lock(folder):
        if _read_pointer(folder, "current", sample) != dataset.version:
            return
        accepted = _read_pointer(folder, "accepted", sample)
        pointer = folder / _pointer("current", sample)
        if accepted and accepted != dataset.version:
            write_whole(pointer, accepted.encode() + b"\n")
        else:
            pointer.unlink(missing_ok=True)


def versions_in_use(folder: Path) -> set[str]:
    """The versions that a pointer names: ingested or accepted last, of real data and of the sample.

    Raises:
        DatasetError: a pointer that cannot be read.
    """
    pointers = itertools.product(("current", "accepted"), (False, True))
    return {version for name, sample in pointers if (version := _read_pointer(folder, name, sample))}


def _point(name: str, dataset: Dataset) -> None:
    path = dataset.path.parent / _pointer(name, dataset.source == SAMPLE)
    write_whole(path, dataset.version.encode() + b"\n")


def _pointer(name: str, sample: bool) -> str:
    return f"{name}-{SAMPLE}" if sample else name


def _read_pointer(folder: Path, name: str, sample: bool) -> str | None:
    path = folder / _pointer(name, sample)
    try:
        version = read_file(path, DatasetError).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    if not VERSION.fullmatch(version):
        raise DatasetError(f"{path}: not a dataset's version; 'fashion ingest --source ...' with the archives mends it")
    return version


def describe(path: Path, manifest: Manifest) -> Dataset:
    """A manifest's short form."""
    rows = sum(part.rows for part in manifest.parts)
    return Dataset(path=path, version=path.stem, rows=rows, source=manifest.source, contract=manifest.contract)


def read_manifest(dataset: Dataset | Path) -> Manifest:
    """Read a manifest.

    Raises:
        DatasetError: it is missing, its content does not fit its name, a field is none of a manifest's, or its contract
            is not the dataset's or names a preparation that there is not.
    """
    path = dataset if isinstance(dataset, Path) else dataset.path
    try:
        content = read_file(path, DatasetError)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such dataset; 'fashion ingest --source ...' with the archives makes it anew"
        ) from error
    if digest(content) != path.stem:
        raise DatasetError(
            f"{path}: changed since it was written; 'fashion ingest --source ...' with the archives makes it anew"
        )
    manifest = read_record(Manifest, content, path, DatasetError)
    for number, part in enumerate(manifest.parts):
        if part.file != (expected := part_file(part.split, part.sha256)):
            raise DatasetError(f"{path}: parts.{number}.file: found {part.file[:100]!r}, expected {expected!r}")
    if problem := Lineage(manifest.contract.classes, manifest.revisions).find_misfit():
        raise DatasetError(f"{path}: {problem}")
    if isinstance(dataset, Dataset) and (difference := dataset.contract.difference(manifest.contract)):
        raise DatasetError(f"{path}: contract: {difference}")
    try:
        preparation_of(manifest.contract)
    except SettingsError as error:
        raise DatasetError(f"{path}: contract: {error}") from error
    return manifest


def current_dataset(folder: Path, sample: bool | None = None) -> Dataset | None:
    """The dataset in use, or None where nothing was ingested.

    Args:
        folder: the datasets folder.
        sample: True for the drawn sample, False for real data, None for real data or else the sample.

    Raises:
        DatasetError: the pointer names a dataset that is missing or changed.
    """
    if sample is None:
        return current_dataset(folder, sample=False) or current_dataset(folder, sample=True)
    version = _read_pointer(folder, "current", sample)
    if version is None:
        return None
    return dataset_of(folder, version)


def read_split(dataset: Dataset, split: Split) -> Examples:
    """Read one split, every byte checked against the manifest.

    Raises:
        DatasetError: a part is missing or changed since it was written.
    """
    manifest = read_manifest(dataset)
    schema = schema_of(manifest.contract.image)
    tables = [read_part(dataset.path.parent, part, manifest.contract) for part in manifest.of(split)]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    images = to_images(table["pixels"], manifest.contract.image)
    examples = Examples(table["id"].to_pylist(), images, table["label"].to_numpy(), manifest.contract)
    examples.images.flags.writeable = examples.labels.flags.writeable = False
    return examples


def check_part(folder: Path, part: DatasetPart) -> None:
    """Compare a part with its manifest, every byte.

    Raises:
        DatasetError: it is missing, changed since it was written, or a link.
    """
    path = folder / part.file
    if os.path.realpath(path) != f"{os.path.realpath(folder)}/{part.file}":
        raise DatasetError(f"{path}: a symbolic link, expected the file itself; copy it here")
    if not path.is_file():
        raise DatasetError(f"{path}: missing; 'fashion ingest --source ...' with its source writes it anew")
    found = sha256_of(path)
    if found != part.sha256:
        raise DatasetError(
            f"{path}: changed since it was written (SHA-256 {found[:16]}..., the manifest says "
            f"{part.sha256[:16]}...); 'fashion ingest --source ...' with its source writes it anew"
        )


def read_part(folder: Path, part: DatasetPart, contract: DataContract) -> pa.Table:
    """One part, every byte checked, its labels those of the contract; the metadata are the part's own but for them.

    Raises:
        DatasetError: it is missing, changed since it was written, or has images or classes that the contract has not.
    """
    check_part(folder, part)
    path = folder / part.file
    table = pq.read_table(path, page_checksum_verification=True)
    schema = schema_of(contract.image)
    if table.schema.names != schema.names or table.num_rows != part.rows:
        raise DatasetError(f"{path}: found {table.num_rows} rows of {table.schema.names}, expected {part.rows} rows")
    labels = _map_labels(table, contract, path)
    table = table.set_column(table.schema.get_field_index("label"), "label", labels)
    try:
        said = {**(table.schema.metadata or {}), METADATA: encode_contract(contract)}
        return table.cast(schema.with_metadata(said))
    except (pa.ArrowException, ValueError) as error:
        raise DatasetError(f"{path}: {str(error).splitlines()[0]}") from error


def _map_labels(table: pa.Table, contract: DataContract, path: Path) -> pa.Array:
    """The labels of a part, whose metadata say what they were written with, as labels of the contract: by name."""
    labels = table["label"].to_numpy()
    written = written_with(table.schema, path)
    if written.image != contract.image:
        raise DatasetError(f"{path}: images of {written.image}, expected {contract.image}")
    if written.preparation != contract.preparation:
        found, expected = written.preparation[:60], contract.preparation[:60]
        raise DatasetError(f"{path}: images prepared as {found!r}, expected {expected!r}")
    names = written.classes
    places = np.array([UNKNOWN if (label := contract.label_of(name)) is None else label for name in names], np.uint16)
    if len(labels) and labels.max() >= len(names):
        raise DatasetError(f"{path}: label {labels.max()}, but it names {len(names)} classes")
    mapped = places[labels]
    if (mapped == UNKNOWN).any():
        missing = names[labels[mapped == UNKNOWN][0]]
        raise DatasetError(f"{path}: examples of the class {missing!r}, which is none of {contract.name}")
    return pa.array(mapped)


def encode_contract(contract: DataContract) -> bytes:
    """As a part's metadata have it."""
    return json.dumps(asdict(contract), sort_keys=True).encode()


def written_with(schema: pa.Schema, path: Path) -> DataContract:
    """The contract in a part's metadata; Fashion-MNIST's of a part of before there were contracts.

    Raises:
        DatasetError: it cannot be read.
    """
    said = (schema.metadata or {}).get(METADATA)
    return OFFICIAL.contract if said is None else read_record(DataContract, said, f"{path}: contract", DatasetError)


def to_images(pixels: pa.ChunkedArray, image: ImageSpec) -> Images:
    """fixed_size_binary -> uint8 (n, height, width[, 3]), without a copy where the column is one chunk."""
    column = pixels.combine_chunks() if pixels.num_chunks != 1 else pixels.chunk(0)
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    start = column.offset * image.size
    return flat[start : start + len(column) * image.size].reshape(-1, *image.shape)


def to_table(
    ids: Iterable[str],
    split: Split,
    labels: Labels,
    images: Images,
    contract: DataContract,
    source: str = "",
    licence: str = "",
) -> pa.Table:
    """The reverse of reading: the rows of one split as the Arrow table of a part.

    Its metadata say what the labels mean, where the rows are from and under which licence.
    """
    size = contract.image.size
    flat = np.ascontiguousarray(images).reshape(len(images), size)
    pixels = pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(images), [None, pa.py_buffer(flat)])
    columns = [pa.array(ids, pa.string()), pa.repeat(split, len(images)), pa.array(labels, pa.uint16()), pixels]
    metadata = {METADATA: encode_contract(contract), b"source": source, b"licence": licence}
    return pa.table(columns, schema=schema_of(contract.image).with_metadata(metadata))
