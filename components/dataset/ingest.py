"""Raw examples -> immutable Parquet parts and a manifest."""

import contextlib
import hashlib
import io
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from components.catalogues import OFFICIAL
from components.contract import SAMPLE, SPLITS, DataContract, Dataset, Split
from components.dataset.manifest import (
    DatasetPart,
    Manifest,
    check_part,
    check_receipt,
    content_hash,
    current_dataset,
    dataset_lock,
    dataset_of,
    digest,
    make_current,
    part_file,
    read_manifest,
    to_table,
    write_manifest,
)
from components.dataset.sources import Source, find_source
from components.errors import DatasetError, SourceError
from components.files import demand_writable, remove_leftovers, write_whole
from components.settings import Settings, load_settings

log = logging.getLogger(__name__)

ROW_GROUP = 4096  # rows: 3.2 MB of pixels, so that a reader can stream with little memory and still read at full pace


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    dataset: Dataset
    written: bool  # False: the same input was ingested before, nothing was written
    added: bool = False  # the source has no test split: its examples are in the training split of the one in use
    left_out: tuple[str, ...] = ()  # names in the source that are not read


def ingest(source: str = "", *, sample_fallback: bool = False, settings: Settings | None = None) -> Ingested:
    """Write a source as a dataset version and make it the current one; a source ingested before is a no-op.

    Args:
        source: see `find_source`; empty: `FASHION_SOURCE`. `auto` takes what is already ingested before it looks
            for archives.
        sample_fallback: with `auto`, take the drawn sample where nothing can be reached.
        settings: where data lives; None: from the environment.

    Raises:
        SettingsError, SourceError: see `find_source`.
        DatasetError: examples to add, and no dataset to add them to; with `auto`, the dataset in use is damaged.
    """
    settings = settings or load_settings()
    name = source or settings.source
    if name == "auto":
        current = current_dataset(settings.datasets_dir, sample=False)
        if current:
            for part in read_manifest(current).parts:
                check_part(settings.datasets_dir, part)
            return Ingested(current, written=False)
    demand_writable(settings.datasets_dir)
    raw = find_source(name, settings, _contract_in_use(settings.datasets_dir), sample_fallback)
    with dataset_lock(settings.datasets_dir):
        remove_leftovers(settings.datasets_dir)
        remove_leftovers(settings.datasets_dir / "parts")
        done = _ingest(raw, settings.datasets_dir)
    if raw.left_out:
        log.info("%s: not read: %s", raw.name, ", ".join(raw.left_out[:10]))
    return replace(done, added=raw.extends, left_out=raw.left_out)


def _contract_in_use(folder: Path) -> DataContract:
    """Of the dataset in use; where there is none, or a damaged one, that of the official archives."""
    with contextlib.suppress(DatasetError):
        if dataset := current_dataset(folder):
            return dataset.contract
    return OFFICIAL.contract


def _ingest(raw: Source, folder: Path) -> Ingested:
    base = current_dataset(folder) if raw.extends else _own_base(raw, folder)
    if raw.extends and base is None:
        raise DatasetError(
            f"{raw.name}: it has no test split, and there is nothing to add these examples to; ingest the archives "
            f"first, or put train and test beside each other"
        )
    if base and _holds(read_manifest(base), raw):
        return _write_damaged_anew(raw, base, folder)
    manifest = read_manifest(base) if raw.extends and base else Manifest(raw.name, raw.licence, (), raw.contract)
    if difference := manifest.contract.difference(raw.contract):
        raise DatasetError(f"{raw.name}: read by another contract than the dataset's in use: {difference}; try again")
    parts = tuple(_write_part(raw, split, folder) for split in SPLITS if split in raw.digests)
    manifest = replace(manifest, parts=(*manifest.parts, *parts))
    return Ingested(write_manifest(folder, manifest), written=True)


def _own_base(raw: Source, folder: Path) -> Dataset | None:
    """The dataset in use, which may hold these archives already; a damaged one is no reason not to write them anew.

    Where other archives are in use, these come back with what was added to them and corrected in them since.
    """
    try:
        current = current_dataset(folder, sample=raw.name == SAMPLE)
    except DatasetError as error:
        log.warning("%s", error)
        return None
    if current and _holds(read_manifest(current), raw):
        return current
    newest = _newest_accepted(raw, folder)
    if newest:
        make_current(newest)
    return newest or current


def _newest_accepted(raw: Source, folder: Path) -> Dataset | None:
    """Of the whole versions that hold these archives and passed validation, the one that passed last."""
    for receipt in sorted(folder.glob("receipts/*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with contextlib.suppress(DatasetError):
            dataset = dataset_of(folder, receipt.stem)
            if _holds(read_manifest(dataset), raw):
                check_receipt(dataset)
                return dataset
    return None


def _holds(manifest: Manifest, raw: Source) -> bool:
    if manifest.contract.difference(raw.contract):
        return False
    return _inputs_of(raw.digests) <= _inputs_of(*({part.split: part.inputs} for part in manifest.parts))


def _inputs_of(*digests: dict[Split, dict[str, str]]) -> set[tuple[str, str, str]]:
    """Each raw file's split, folder (a picture's is its class) and SHA-256: what it is, wherever it was read from."""
    return {
        (split, str(PurePath(file).parent), sha256)
        for files_of in digests
        for split, files in files_of.items()
        for file, sha256 in files.items()
    }


def _write_damaged_anew(raw: Source, base: Dataset, folder: Path) -> Ingested:
    """Every example is held already; write those parts again that this source gave and that are missing or changed."""
    manifest = read_manifest(base)
    anew = {
        part.file: _write_part(raw, part.split, folder)
        for part in manifest.parts
        if _inputs_of({part.split: part.inputs}) <= _inputs_of(raw.digests) and _is_damaged(part, folder)
    }
    for part in manifest.parts:
        if part.file not in anew:
            check_part(folder, part)  # another source's; only that can mend it
    if not anew:
        return Ingested(base, written=False)
    parts = tuple(anew.get(part.file, part) for part in manifest.parts)
    return Ingested(write_manifest(folder, replace(manifest, parts=parts)), written=True)


def _is_damaged(part: DatasetPart, folder: Path) -> bool:
    try:
        check_part(folder, part)
    except DatasetError:
        return True
    return False


def _write_part(raw: Source, split: Split, folder: Path) -> DatasetPart:
    images, labels = raw.read(split)
    if not len(images):
        raise SourceError(f"{raw.name}: the {split} split is empty")
    inputs = raw.digests[split]
    infix = f"-{digest(json.dumps(inputs, sort_keys=True).encode())[:8]}" if raw.extends else ""
    ids = [f"{split}{infix}-{number:05d}" for number in range(len(images))]
    table = to_table(ids, split, labels, images, raw.contract, raw.name, raw.licence)
    return store_part(table, split, folder, inputs, raw.contract)


def store_part(
    table: pa.Table, split: Split, folder: Path, inputs: dict[str, str], contract: DataContract
) -> DatasetPart:
    """Write a table of `to_table` as a part named by the SHA-256 of its content, known only once it is written."""
    content = io.BytesIO()
    pq.write_table(
        table,
        content,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=["split", "label"],
        write_page_checksum=True,
    )
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    file = part_file(split, sha256)
    write_whole(folder / file, content.getbuffer())
    return DatasetPart(file, split, table.num_rows, sha256, content_hash(table, contract), inputs)
