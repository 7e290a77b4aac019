"""Raw examples -> immutable Parquet parts and a manifest."""

import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

from components.catalogues import OFFICIAL
from components.contract import SAMPLE, SPLITS, DataContract, Dataset, Split
from components.dataset.archives import SOURCE
from components.dataset.manifest import (
    DatasetPart,
    Manifest,
    check_part,
    check_receipt,
    current_dataset,
    dataset_lock,
    dataset_of,
    digest,
    make_current,
    read_manifest,
    to_table,
    write_manifest,
)
from components.dataset.own.start import StartOptions, ingest_own
from components.dataset.parts import Ingested, store_part
from components.dataset.sources import Source, find_source
from components.errors import DatasetError, SettingsError, SourceError
from components.files import remove_leftovers, require_writable
from components.settings import Settings, load_settings

log = logging.getLogger(__name__)

WORDS = ("auto", "download", "sample")  # sources of the catalogue that ships


def ingest(
    source: str = "",
    *,
    sample_fallback: bool = False,
    settings: Settings | None = None,
    options: StartOptions | None = None,
    echo: Callable[[str], None] = log.info,
) -> Ingested:
    """Write a source as a dataset version and make it the current one; a source ingested before is a no-op.

    Args:
        source: see `find_source`, and for a catalogue of one's own `read_source`; empty: `FASHION_SOURCE`. `auto` takes
            what is already ingested before it looks for archives.
        sample_fallback: with `auto`, take the drawn sample where nothing can be reached.
        settings: where data lives, and which catalogue; None: from the environment.
        options: what a catalogue of one's own starts with; None: as the settings say.
        echo: called with lines for a person, see `ingest_own`.

    Raises:
        SettingsError, SourceError: see `find_source` and `ingest_own`.
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
    require_writable(settings.datasets_dir)
    is_own = settings.catalogue != OFFICIAL.contract.name
    if is_own and name in WORDS:
        raise SettingsError(
            f"FASHION_SOURCE or --source: {name!r} is {OFFICIAL.title}'s; the catalogue {settings.catalogue!r} needs a "
            f"path, such as that of a folder with a folder of pictures for each class"
        )
    if not is_own and options not in (None, StartOptions()):
        raise SettingsError(
            f"--image, --preparation, --root, --group, --allow-small and --replace are for a catalogue of your own; "
            f"{settings.catalogue!r} is in use, and FASHION_CATALOGUE=NAME begins another"
        )
    path = Path(os.path.expanduser(name))  # noqa: PTH111, which fails for an unknown ~user
    if is_own and not (path / SOURCE).is_file():
        return ingest_own(path, settings, options or StartOptions(settings.image, settings.preparation), echo)
    raw = find_source(name, settings, _contract_in_use(settings.datasets_dir), sample_fallback)
    if raw.contract.name != settings.catalogue:
        raise SettingsError(
            f"{raw.name}: it declares the catalogue {raw.contract.name!r}, and {settings.catalogue!r} is in use; "
            f"FASHION_CATALOGUE={raw.contract.name} takes it"
        )
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
    """Whether a version has all of it, be it that its classes were changed since."""
    then = manifest.revisions[0].before if manifest.revisions else manifest.contract.classes
    if replace(manifest.contract, classes=then, aliases=()).difference(raw.contract):
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
    if manifest.revisions:  # its parts have other labels than the source
        for part in manifest.parts:
            check_part(folder, part)
        return Ingested(base, written=False)
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
