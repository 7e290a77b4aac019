"""Datasets that nothing refers to: no model, no pointer, no change of the classes that can be taken back."""

from collections.abc import Iterator
from pathlib import Path

from components.dataset.classes.journal import last_standing
from components.dataset.manifest import VERSION, read_manifest, versions_in_use
from components.files import age_of
from components.registry.retention.unreferenced import Unreferenced
from components.settings import Settings


def find_unreferenced_datasets(settings: Settings, trained_on: set[str], grace: float) -> list[Unreferenced]:
    """Manifests, then what only they refer to: receipts, parts, Data Docs. The caller holds `dataset_lock`.

    Args:
        settings: where they are.
        trained_on: versions that a model needs.
        grace: seconds since a version was written, or passed validation last, in which a training may be reading it.

    Raises:
        DatasetError: a pointer, the journal of the classes or a manifest that is needed cannot be read.
    """
    folder = settings.datasets_dir
    needed = trained_on | versions_in_use(folder)
    if last := last_standing(folder):
        needed.add(last.before)  # or that change of the classes could not be taken back
    manifests = {path.stem: path for path in folder.glob("*.json") if VERSION.fullmatch(path.stem)}
    gone = {version for version in manifests.keys() - needed if _age_of(folder, version) >= grace}
    stays = manifests.keys() - gone
    parts = {part.file for version in stays for part in read_manifest(manifests[version]).parts}
    return [
        *(Unreferenced("dataset", version, manifests[version]) for version in sorted(gone)),
        *_find_rest(settings, stays, parts),
    ]


def _find_rest(settings: Settings, versions: set[str], parts: set[str]) -> Iterator[Unreferenced]:
    folder = settings.datasets_dir
    for path in sorted(folder.glob("receipts/*.json")):
        if path.stem not in versions:
            yield Unreferenced("receipt", path.stem, path)
    for path in sorted(folder.glob("parts/*.parquet")):
        if path.relative_to(folder).as_posix() not in parts:
            yield Unreferenced("part", path.name, path)
    for path in sorted(settings.validation_dir.glob("*-*")):
        version = path.name.partition("-")[0]
        if VERSION.fullmatch(version) and version not in versions:
            yield Unreferenced("Data Docs", path.name, path)


def _age_of(folder: Path, version: str) -> float:
    """Seconds since it was written, or passed validation last: every training begins with that."""
    files = [folder / f"{version}.json", folder / "receipts" / f"{version}.json"]
    return min(age_of(path) for path in files if path.exists())
