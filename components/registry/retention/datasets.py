"""Find datasets and networks that no model, no pointer and no revertible change of the classes refers to."""

from collections.abc import Iterator
from pathlib import Path

from components.dataset.classes.journal import last_standing
from components.dataset.manifest import VERSION, read_manifest, versions_in_use
from components.files import age_of
from components.networks.embedder import FOLDER, kept_path
from components.registry.retention.unreferenced import Unreferenced
from components.settings import Settings


def find_unreferenced_datasets(settings: Settings, trained_on: set[str], grace: float) -> list[Unreferenced]:
    """Find unreferenced manifests, and the receipts, parts and Data Docs of no other version.

    The caller holds `dataset_lock`.

    Args:
        settings: where the datasets are.
        trained_on: versions that a model needs.
        grace: seconds since a version was written or last passed validation, in which a training run may read it.

    Raises:
        DatasetError: a pointer, the class journal or a needed manifest cannot be read.
    """
    folder = settings.datasets_dir
    needed = trained_on | versions_in_use(folder)
    if last := last_standing(folder):
        needed.add(last.before)  # needed to revert that change of the classes
    manifests = {path.stem: path for path in folder.glob("*.json") if VERSION.fullmatch(path.stem)}
    gone = {version for version in manifests.keys() - needed if _age_of(folder, version) >= grace}
    stays = manifests.keys() - gone
    kept = [read_manifest(manifests[version]) for version in stays]
    parts = {part.file for one in kept for part in one.parts}
    networks = {kept_path(one.contract.embedding, folder) for one in kept if one.contract.embedding}
    return [
        *(Unreferenced("dataset", version, manifests[version]) for version in sorted(gone)),
        *_find_rest(settings, stays, parts),
        *_find_networks(folder, networks, grace),
    ]


def _find_networks(folder: Path, needed: set[Path], grace: float) -> Iterator[Unreferenced]:
    for path in sorted((folder / FOLDER).glob("*.onnx")):
        if path not in needed and age_of(path) >= grace:
            yield Unreferenced("network", path.name, path)


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
    """Return the seconds since it was written or last passed validation, the first step of every training run."""
    files = [folder / f"{version}.json", folder / "receipts" / f"{version}.json"]
    return min(age_of(path) for path in files if path.exists())
