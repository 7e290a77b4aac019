"""Ingest raw examples: write them as immutable Parquet parts and a manifest."""

import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

from components.catalogues import OFFICIAL
from components.contract import SAMPLE, SPLITS, DataContract, Dataset, Split
from components.dataset.archives import SOURCE, Archives
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

OFFICIAL_SOURCES = ("auto", "download", "sample")  # these work for the built-in catalogue only


def ingest(
    source: str = "",
    *,
    sample_fallback: bool = False,
    settings: Settings | None = None,
    options: StartOptions | None = None,
    echo: Callable[[str], None] = log.info,
) -> Ingested:
    """Write a source as a dataset version and make it the current one. Does nothing if the source is already ingested.

    Args:
        source: see `find_source`, or `read_source` for a custom catalogue. Empty: `FASHION_SOURCE`. `auto` uses the
            current dataset if there is one, else looks for archives.
        sample_fallback: with `auto`, fall back to the synthetic sample if no mirror can be reached.
        settings: data paths and the catalogue's name. None: from the environment.
        options: how to start a custom catalogue. None: from the settings.
        echo: called with progress lines, see `ingest_own`.

    Raises:
        SettingsError, SourceError: see `find_source` and `ingest_own`.
        DatasetError: the source only adds examples but no dataset exists, or, with `auto`, the current dataset is
            damaged.
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
    if is_own and name in OFFICIAL_SOURCES:
        raise SettingsError(_wrong_source(name, settings))
    if not is_own and options not in (None, StartOptions()):
        raise SettingsError(
            "--image, --preparation, --network, --root, --group, --allow-small and --replace are for custom "
            f"catalogues, but the catalogue in use is {settings.catalogue!r}. "
            "Set FASHION_CATALOGUE=NAME to start your own"
        )
    path = Path(os.path.expanduser(name))  # noqa: PTH111, which fails for an unknown ~user
    if is_own and not (path / SOURCE).is_file():
        return ingest_own(
            path,
            settings,
            options or StartOptions(settings.image, settings.preparation, network=settings.network),
            echo,
        )
    raw = find_source(name, settings, _contract_in_use(settings.datasets_dir), sample_fallback)
    if raw.contract.name != settings.catalogue:
        raise SettingsError(
            f"{raw.name}: declares the catalogue {raw.contract.name!r}, but {settings.catalogue!r} is in use. "
            f"Set FASHION_CATALOGUE={raw.contract.name} to ingest it"
        )
    with dataset_lock(settings.datasets_dir):
        remove_leftovers(settings.datasets_dir)
        remove_leftovers(settings.datasets_dir / "parts")
        done = _ingest(raw, settings.datasets_dir)
    if raw.left_out:
        log.info("%s: ignored: %s", raw.name, ", ".join(raw.left_out[:10]))
    return replace(done, added=raw.extends, left_out=raw.left_out)


def check_source(settings: Settings | None = None) -> None:
    """Check that `FASHION_SOURCE` suits the catalogue and exists, without reading it.

    Raises:
        SettingsError: it does not.
    """
    settings = settings or load_settings()
    name = settings.source
    if name == "auto":
        return
    is_own = settings.catalogue != OFFICIAL.contract.name
    if is_own and name in OFFICIAL_SOURCES:
        raise SettingsError(_wrong_source(name, settings))
    path = Path(os.path.expanduser(name))  # noqa: PTH111, which fails for an unknown ~user
    if name not in OFFICIAL_SOURCES and not path.exists():
        raise SettingsError(
            f"FASHION_SOURCE or --source: no such file or folder: {path}; expected a path, auto, download or sample"
        )


def _wrong_source(name: str, settings: Settings) -> str:
    return (
        f"FASHION_SOURCE or --source: {name!r} works for {OFFICIAL.title} only; the catalogue "
        f"{settings.catalogue!r} needs a path, such as a folder with one folder of pictures per class"
    )


def _contract_in_use(folder: Path) -> DataContract:
    """The current dataset's contract; the official one if no dataset exists or it is damaged."""
    with contextlib.suppress(DatasetError):
        if dataset := current_dataset(folder):
            return dataset.contract
    return OFFICIAL.contract


def _ingest(raw: Source, folder: Path) -> Ingested:
    base = current_dataset(folder) if raw.extends else _find_base(raw, folder)
    if raw.extends and base is None:
        raise DatasetError(
            f"{raw.name}: has no test split, and there is no dataset to add its examples to. Ingest the archives "
            f"first, or put train and test next to each other"
        )
    if base and isinstance(raw, Archives):
        raw = raw.prepared_like(base.contract)
    if base and _contains(read_manifest(base), raw):
        return _repair(raw, base, folder)
    manifest = read_manifest(base) if raw.extends and base else Manifest(raw.name, raw.licence, (), raw.contract)
    if difference := manifest.contract.difference(raw.contract):
        raise DatasetError(f"{raw.name}: the current dataset's contract has changed: {difference}. Ingest again")
    parts = tuple(_write_part(raw, split, folder) for split in SPLITS if split in raw.digests)
    manifest = replace(manifest, parts=(*manifest.parts, *parts))
    return Ingested(write_manifest(folder, manifest), written=True)


def _find_base(raw: Source, folder: Path) -> Dataset | None:
    """The current dataset, or the newest accepted version that contains these archives.

    Such a version keeps the examples added to it and the labels corrected in it. A damaged dataset is ignored, so that
    the archives can be ingested again.
    """
    try:
        current = current_dataset(folder, sample=raw.name == SAMPLE)
    except DatasetError as error:
        log.warning("%s", error)
        return None
    if current and _contains(read_manifest(current), raw):
        return current
    newest = _newest_accepted(raw, folder)
    if newest:
        make_current(newest)
    return newest or current


def _newest_accepted(raw: Source, folder: Path) -> Dataset | None:
    """The intact version that contains these archives and passed validation most recently."""
    for receipt in sorted(folder.glob("receipts/*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with contextlib.suppress(DatasetError):
            dataset = dataset_of(folder, receipt.stem)
            if _contains(read_manifest(dataset), raw):
                check_receipt(dataset)
                return dataset
    return None


def _contains(manifest: Manifest, raw: Source) -> bool:
    """Whether a version contains all of the source, even if its classes have changed since."""
    then = manifest.revisions[0].before if manifest.revisions else manifest.contract.classes
    if replace(manifest.contract, classes=then, aliases=()).difference(raw.contract):
        return False
    return _inputs_of(raw.digests) <= _inputs_of(*({part.split: part.inputs} for part in manifest.parts))


def _inputs_of(*digests: dict[Split, dict[str, str]]) -> set[tuple[str, str, str]]:
    """Each raw file's split, folder (for a picture: its class) and SHA-256, regardless of where it was read from."""
    return {
        (split, str(PurePath(file).parent), sha256)
        for files_of in digests
        for split, files in files_of.items()
        for file, sha256 in files.items()
    }


def _repair(raw: Source, base: Dataset, folder: Path) -> Ingested:
    """Rewrite the parts that came from this source and are missing or changed. The dataset has all of its examples."""
    manifest = read_manifest(base)
    if manifest.revisions:  # the labels of its parts differ from the source's
        for part in manifest.parts:
            check_part(folder, part)
        return Ingested(base, written=False)
    rewritten = {
        part.file: _write_part(raw, part.split, folder)
        for part in manifest.parts
        if _inputs_of({part.split: part.inputs}) <= _inputs_of(raw.digests) and _is_damaged(part, folder)
    }
    for part in manifest.parts:
        if part.file not in rewritten:
            check_part(folder, part)  # from another source, which alone can repair it
    if not rewritten:
        return Ingested(base, written=False)
    parts = tuple(rewritten.get(part.file, part) for part in manifest.parts)
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
