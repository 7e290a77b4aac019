"""Raw examples -> immutable Parquet parts and a manifest."""

import hashlib
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.contract import CLASSES, IMAGE_SHAPE, SAMPLE, SPLITS, Dataset, Split
from components.dataset.sources import Source, find_source
from components.errors import DatasetError, SourceError
from components.files import remove_leftovers, sha256_of, write_whole
from components.manifest import (
    Manifest,
    Part,
    current_dataset,
    dataset_lock,
    digest,
    read_manifest,
    to_table,
    write_manifest,
)
from components.settings import Settings, load_settings

log = logging.getLogger(__name__)

ROW_GROUP = 4096  # rows: 3.2 MB of pixels, so that a reader can stream with little memory and still read at full pace


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    dataset: Dataset
    written: bool  # False: the same input was ingested before, nothing was written


def ingest(source: str = "", *, sample_fallback: bool = False, settings: Settings | None = None) -> Ingested:
    """Write a source as a dataset version and make it the current one; a source ingested before is a no-op.

    Args:
        source: see `find_source`; empty: `FASHION_SOURCE`. `auto` takes what is already ingested before it looks
            for archives.
        sample_fallback: with `auto`, take the drawn sample where nothing can be reached.
        settings: where data lives; None: from the environment.

    Raises:
        SettingsError, SourceError: see `find_source`.
        DatasetError: examples to add, and no dataset to add them to.
    """
    settings = settings or load_settings()
    name = source or settings.source
    if name == "auto":
        current = current_dataset(settings.datasets_dir)
        if current and current.source != SAMPLE:
            return Ingested(current, written=False)
    raw = find_source(name, settings, sample_fallback)
    with dataset_lock(settings.datasets_dir):
        remove_leftovers(settings.datasets_dir)
        remove_leftovers(settings.datasets_dir / "parts")
        return _ingest(raw, settings.datasets_dir)


def _ingest(raw: Source, folder: Path) -> Ingested:
    base = current_dataset(folder) if raw.extends else _own_base(raw, folder)
    manifest = read_manifest(base) if base else None
    if base and manifest and _holds(manifest, raw) and _is_whole(folder, manifest):
        return Ingested(base, written=False)
    if raw.extends and manifest is None:
        raise DatasetError(f"{raw.name}: nothing to add these examples to; ingest the archives first")
    parts = tuple(_write_part(raw, split, folder) for split in SPLITS if split in raw.digests)
    if raw.extends and manifest:
        manifest = Manifest(manifest.source, manifest.licence, (*manifest.parts, *parts))
    else:
        manifest = Manifest(raw.name, raw.licence, parts)
    return Ingested(write_manifest(folder, manifest), written=True)


def _own_base(raw: Source, folder: Path) -> Dataset | None:
    """The dataset in use, which may hold these archives already; a damaged one is no reason not to write them anew."""
    try:
        return current_dataset(folder, sample=raw.name == SAMPLE)
    except DatasetError as error:
        log.warning("%s", error)
        return None


def _holds(manifest: Manifest, raw: Source) -> bool:
    """Whether each file of the source is, byte for byte, already in the dataset."""
    held = {(part.split, sha256) for part in manifest.parts for sha256 in part.inputs.values()}
    return all((split, sha256) in held for split, files in raw.digests.items() for sha256 in files.values())


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    paths = {folder / part.file: part.sha256 for part in manifest.parts}
    return all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in paths.items())


def _write_part(raw: Source, split: Split, folder: Path) -> Part:
    images, labels = raw.read(split)
    if not len(images):
        raise SourceError(f"{raw.name}: the {split} split is empty")
    inputs = raw.digests[split]
    infix = f"-{digest(json.dumps(inputs, sort_keys=True).encode())[:8]}" if raw.extends else ""
    ids = [f"{split}{infix}-{number:05d}" for number in range(len(images))]
    table = to_table(ids, split, labels, images).replace_schema_metadata(_metadata(raw))
    return _store(table, split, folder, inputs)


def _store(table: pa.Table, split: Split, folder: Path, inputs: dict[str, str]) -> Part:
    """Write a part under the SHA-256 of its content, which is known only once it is written."""
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
    file = f"parts/{split}-{sha256[:16]}.parquet"
    write_whole(folder / file, content.getbuffer())
    return Part(file, split, table.num_rows, sha256, inputs)


def _metadata(raw: Source) -> dict[str, str]:
    return {
        "classes": json.dumps(CLASSES),
        "image_shape": json.dumps(IMAGE_SHAPE),
        "source": raw.name,
        "licence": raw.licence,
    }
