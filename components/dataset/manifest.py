"""Datasets on disk: immutable Parquet parts, and the manifest that lists them.

    data/datasets/parts/train-1f0c....parquet   named by the SHA-256 of its content, shared between versions
    data/datasets/0a1b2c3d4e5f6071.json         a manifest, named by the SHA-256 of its content: the version
    data/datasets/current                       the current version
    data/datasets/accepted                      the version that passed validation last
    data/datasets/receipts/0a1b2c3d4e5f6071.json  when a version passed validation, and how many expectations

The synthetic sample has its own pointers (current-sample, accepted-sample), so that it never replaces real data. A
version that fails validation stays on disk, but `current` is rolled back to the accepted one. A manifest is
deterministic: the same input gives the same version.
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

from components.catalogues.fashion_mnist import FIRST_CONTRACT
from components.catalogues.preparation import preparation_of
from components.contract import (
    SAMPLE,
    DataContract,
    Dataset,
    Images,
    Labels,
    Positive,
    Revision,
    Sha256,
    Split,
    Time,
    Validated,
    pictures_of,
    schema_of,
)
from components.errors import DatasetError, SettingsError
from components.files import sha256_of, write_whole
from components.networks.embedder import kept_path, remember
from components.records import read_file, read_record
from components.revisions import Lineage

VERSION_DIGITS = 16
VERSION = re.compile(f"[0-9a-f]{{{VERSION_DIGITS}}}")
METADATA = b"contract"  # metadata key of a part: the contract of its labels, as JSON
UNKNOWN = np.iinfo(np.uint16).max  # marks a class that is not in the contract
LOCK_TIMEOUT = 120  # seconds to wait for another writer


@dataclass(frozen=True)
class DatasetPart:
    """One Parquet file: rows of one split from one source."""

    file: str  # relative to the datasets folder, see `part_file`
    split: Split
    rows: Positive
    sha256: Sha256  # of the Parquet file
    content: Sha256  # of its rows, independent of the Parquet writer
    inputs: dict[str, str]  # raw file name -> its SHA-256


@dataclass(frozen=True)
class Manifest:
    """The content of a dataset version."""

    source: Annotated[str, Field(min_length=1)]
    licence: str
    parts: Annotated[tuple[DatasetPart, ...], Field(min_length=1)]
    contract: DataContract = FIRST_CONTRACT  # the default of manifests older than contracts
    revisions: tuple[Revision, ...] = ()  # class changes; omitted if empty

    def of(self, split: Split) -> tuple[DatasetPart, ...]:
        """The parts of one split, oldest first."""
        return tuple(part for part in self.parts if part.split == split)

    def rows(self, split: Split) -> int:
        """How many images a split has."""
        return sum(part.rows for part in self.of(split))

    def split_version(self, split: Split) -> str:
        """Identify the content of a split: 16 hex digits, equal if and only if the rows and their order are."""
        return digest("\n".join(part.content for part in self.of(split)).encode())

    def encode(self) -> bytes:
        """The file's bytes, whose hash is the version."""
        fields = {**asdict(self), "contract": self.contract.fields()}
        if not self.revisions:
            del fields["revisions"]  # keeps the versions of datasets older than revisions
        return json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True)
class Receipt:
    """The record of a passed validation."""

    expectations: Positive  # number of expectations met
    docs: Annotated[str, Field(min_length=1)]  # the validation page
    checked_at: Time  # UTC


@dataclass(frozen=True)
class Examples:
    """The rows of a split, in memory."""

    ids: list[str]  # (n,)
    images: Images  # (n,), read-only
    labels: Labels  # uint16 (n,), read-only
    contract: DataContract  # of the images and labels


def digest(content: bytes) -> str:
    """The first 16 hex digits of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]


def part_file(split: Split, sha256: str) -> str:
    """The path of a part, relative to the datasets folder."""
    return f"parts/{split}-{sha256[:VERSION_DIGITS]}.parquet"


def dataset_lock(folder: Path) -> FileLock:
    """The lock to hold while writing parts, manifests or pointers."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock", timeout=LOCK_TIMEOUT)


def content_hash(table: pa.Table, contract: DataContract) -> str:
    """SHA-256 of the ids, labels and images of a part's table, hex; labels are uint8 for at most 256 classes."""
    found = hashlib.sha256("\n".join(table["id"].to_pylist()).encode())
    found.update(table["label"].to_numpy().astype("u1" if len(contract.classes) <= 256 else "<u2").tobytes())
    found.update(to_images(table, contract).tobytes())
    return found.hexdigest()


def write_manifest(folder: Path, manifest: Manifest, use: bool = True) -> Dataset:
    """Write a manifest and, with `use`, make it the current one. Its parts must be written first."""
    content = manifest.encode()
    path = folder / f"{digest(content)}.json"
    write_whole(path, content)
    dataset = describe(path, manifest)
    if use:
        make_current(dataset)
    return dataset


def make_current(dataset: Dataset) -> None:
    """Make a dataset the current one. The caller holds `dataset_lock`."""
    _point("current", dataset)


def accept(validated: Validated) -> None:
    """Record that a dataset passed validation, and write its receipt."""
    dataset = validated.dataset
    receipt = Receipt(validated.expectations, str(validated.docs), validated.checked_at)
    with dataset_lock(dataset.path.parent):
        write_whole(receipt_path(dataset), json.dumps(asdict(receipt), indent=2).encode() + b"\n")
        _point("accepted", dataset)


def receipt_path(dataset: Dataset) -> Path:
    """The path of a dataset's receipt."""
    return dataset.path.parent / "receipts" / dataset.path.name


def check_receipt(dataset: Dataset) -> Validated:
    """Read the receipt of a dataset, and verify every byte of the dataset.

    Raises:
        DatasetError: the dataset never passed validation, or changed since.
    """
    path = receipt_path(dataset)
    try:
        receipt = read_record(Receipt, read_file(path, DatasetError), path, DatasetError)
    except (FileNotFoundError, DatasetError) as error:
        damage = f" ({error})" if isinstance(error, DatasetError) else ""
        raise DatasetError(
            f"{dataset.version}: no receipt of a passed validation{damage}; run 'fashion validate'"
        ) from error
    for part in read_manifest(dataset).parts:
        check_part(dataset.path.parent, part)
    return Validated(dataset, receipt.expectations, Path(receipt.docs), receipt.checked_at)


def dataset_of(folder: Path, version: str) -> Dataset:
    """Look up a dataset by version.

    Raises:
        DatasetError: the version does not exist, or changed since it was written.
    """
    if not VERSION.fullmatch(version):
        raise DatasetError(f"{version!r} is not a dataset version; expected {VERSION_DIGITS} hex digits")
    path = folder / f"{version}.json"
    return describe(path, read_manifest(path))


def refuse(dataset: Dataset) -> None:
    """Roll back to the last accepted dataset if `dataset` is the current one."""
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
    """The current and accepted versions, of real data and of the sample.

    Raises:
        DatasetError: a pointer cannot be read.
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
        raise DatasetError(
            f"{path}: not a dataset version; run 'fashion ingest --source ...' with the archives to repair it"
        )
    return version


def describe(path: Path, manifest: Manifest) -> Dataset:
    """Summarize a manifest as a `Dataset`."""
    rows = sum(part.rows for part in manifest.parts)
    return Dataset(path=path, version=path.stem, rows=rows, source=manifest.source, contract=manifest.contract)


def read_manifest(dataset: Dataset | Path) -> Manifest:
    """Read a manifest.

    Raises:
        DatasetError: the manifest is missing, its content does not match its name, a field is invalid, or its contract
            differs from the dataset's or names an unknown preparation.
    """
    path = dataset if isinstance(dataset, Path) else dataset.path
    try:
        content = read_file(path, DatasetError)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such dataset; run 'fashion ingest --source ...' with the archives to rebuild it"
        ) from error
    if digest(content) != path.stem:
        raise DatasetError(
            f"{path}: changed since it was written; run 'fashion ingest --source ...' with the archives to rebuild it"
        )
    manifest = read_record(Manifest, content, path, DatasetError)
    for number, part in enumerate(manifest.parts):
        if part.file != (expected := part_file(part.split, part.sha256)):
            raise DatasetError(f"{path}: parts.{number}.file: found {part.file[:100]!r}, expected {expected!r}")
    if problem := Lineage(manifest.contract.classes, manifest.revisions).find_misfit():
        raise DatasetError(f"{path}: {problem}")
    if isinstance(dataset, Dataset) and (difference := dataset.contract.difference(manifest.contract)):
        raise DatasetError(f"{path}: contract: {difference}")
    if manifest.contract.embedding:
        remember(kept_path(manifest.contract.embedding, path.parent), manifest.contract.embedding)
    try:
        preparation_of(manifest.contract)
    except SettingsError as error:
        raise DatasetError(f"{path}: contract: {error}") from error
    return manifest


def current_dataset(folder: Path, sample: bool | None = None) -> Dataset | None:
    """The current dataset, or None if nothing was ingested.

    Args:
        folder: the datasets folder.
        sample: True for the synthetic sample, False for real data, None for real data, else the sample.

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
    """Read one split and verify every byte against the manifest.

    Raises:
        DatasetError: a part is missing or changed since it was written.
    """
    manifest = read_manifest(dataset)
    schema = schema_of(manifest.contract)
    tables = [read_part(dataset.path.parent, part, manifest.contract) for part in manifest.of(split)]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    images = to_images(table, manifest.contract)
    examples = Examples(table["id"].to_pylist(), images, table["label"].to_numpy(), manifest.contract)
    examples.images.flags.writeable = examples.labels.flags.writeable = False
    return examples


def check_part(folder: Path, part: DatasetPart) -> None:
    """Verify every byte of a part against the manifest.

    Raises:
        DatasetError: the part is missing, changed since it was written, or a symbolic link.
    """
    path = folder / part.file
    if os.path.realpath(path) != f"{os.path.realpath(folder)}/{part.file}":
        raise DatasetError(f"{path}: a symbolic link, expected the file itself; copy it here")
    if not path.is_file():
        raise DatasetError(f"{path}: missing; run 'fashion ingest --source ...' with its source to restore it")
    found = sha256_of(path)
    if found != part.sha256:
        raise DatasetError(
            f"{path}: changed since it was written (found SHA-256 {found[:16]}..., expected {part.sha256[:16]}...); "
            f"run 'fashion ingest --source ...' with its source to restore it"
        )


def read_part(folder: Path, part: DatasetPart, contract: DataContract) -> pa.Table:
    """Read one part, verify every byte, and map its labels and contract metadata to the given contract.

    Raises:
        DatasetError: the part is missing, changed since it was written, or has images or classes that the contract
            does not have.
    """
    check_part(folder, part)
    path = folder / part.file
    table = pq.read_table(path, page_checksum_verification=True)
    schema = schema_of(contract)
    if table.schema.names != schema.names or table.num_rows != part.rows:
        raise DatasetError(f"{path}: found {table.num_rows} rows of {table.schema.names}, expected {part.rows} rows")
    labels = _map_labels(table, contract, path)
    table = table.set_column(table.schema.get_field_index("label"), "label", labels)
    try:
        metadata = {**(table.schema.metadata or {}), METADATA: encode_contract(contract)}
        return table.cast(schema.with_metadata(metadata))
    except (pa.ArrowException, ValueError) as error:
        raise DatasetError(f"{path}: {str(error).splitlines()[0]}") from error


def _map_labels(table: pa.Table, contract: DataContract, path: Path) -> pa.Array:
    """Map the labels of a part from the contract it was written with to the given one, by class name."""
    labels = table["label"].to_numpy()
    written = written_with(table.schema, path)
    if written.image != contract.image:
        raise DatasetError(f"{path}: found images of {written.image}, expected {contract.image}")
    for what, how in (("preparation", "prepared"), ("embedding", "embedded")):
        found, expected = str(getattr(written, what))[:60], str(getattr(contract, what))[:60]
        if found != expected:
            raise DatasetError(f"{path}: found images {how} by {found!r}, expected {expected!r}")
    names = written.classes
    places = np.array([UNKNOWN if (label := contract.label_of(name)) is None else label for name in names], np.uint16)
    if len(labels) and labels.max() >= len(names):
        raise DatasetError(f"{path}: found label {labels.max()}, expected 0 to {len(names) - 1}")
    mapped = places[labels]
    if (mapped == UNKNOWN).any():
        missing = names[labels[mapped == UNKNOWN][0]]
        raise DatasetError(f"{path}: found examples of {missing!r}, which is not a class of {contract.name}")
    return pa.array(mapped)


def encode_contract(contract: DataContract) -> bytes:
    """Encode a contract as JSON for a part's metadata."""
    return json.dumps(contract.fields(), sort_keys=True).encode()


def written_with(schema: pa.Schema, path: Path) -> DataContract:
    """Read the contract from a part's metadata; Fashion-MNIST's if the part is older than contracts.

    Raises:
        DatasetError: the contract cannot be read.
    """
    content = (schema.metadata or {}).get(METADATA)
    if content is None:
        return FIRST_CONTRACT
    return read_record(DataContract, content, f"{path}: contract", DatasetError)


def to_images(table: pa.Table, contract: DataContract) -> Images:
    """The images of a part's table, (n,): uint8 without a copy if the column is one chunk, or records."""
    size = contract.image.size
    column = _in_one_chunk(table["pixels"])
    flat = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    start = column.offset * size
    pictures = flat[start : start + len(column) * size].reshape(-1, *contract.image.shape)
    if contract.embedding is None:
        return pictures
    images = np.empty(len(pictures), contract.dtype)
    images["picture"] = pictures
    images["vector"] = _in_one_chunk(table["vector"]).flatten().to_numpy().reshape(-1, contract.embedding.size)
    return images


def _in_one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def to_table(
    ids: Iterable[str],
    split: Split,
    labels: Labels,
    images: Images,
    contract: DataContract,
    source: str = "",
    licence: str = "",
) -> pa.Table:
    """Build the Arrow table of a part from rows of one split: the reverse of reading.

    The table's metadata contain the contract, the source and the licence.
    """
    size = contract.image.size
    flat = np.ascontiguousarray(pictures_of(images)).reshape(len(images), size)
    pixels = pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(images), [None, pa.py_buffer(flat)])
    columns = [pa.array(ids, pa.string()), pa.repeat(split, len(images)), pa.array(labels, pa.uint16()), pixels]
    schema = schema_of(contract)
    if contract.embedding:
        values = pa.array(images["vector"].reshape(-1), pa.float32())
        columns.append(pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type))
    metadata = {METADATA: encode_contract(contract), b"source": source, b"licence": licence}
    return pa.table(columns, schema=schema.with_metadata(metadata))
