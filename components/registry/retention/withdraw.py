"""Move models out of the store atomically."""

from collections.abc import Collection, Iterable
from pathlib import Path

from components.files import flush_folder, temporary_name, write_whole
from components.registry.store import home, stored_folder


def withdraw(tags: Collection[str], others: Iterable[str]) -> dict[str, Path]:
    """Rename model folders out of the store, after pointing BentoML's `latest` to a model that stays.

    The caller holds `store_lock`.

    Args:
        tags: exact tags to withdraw.
        others: models that stay, newest first.

    Returns:
        Exact tag -> new folder, which the caller removes.

    Raises:
        ModelNotFound: no such tag.
    """
    folders = {tag: stored_folder(tag) for tag in tags}
    if not folders:
        return {}
    stores = {folder.parent for folder in folders.values()}
    for store in stores:
        _update_latest(store, {folder.name for folder in folders.values()}, others)
    staging = home() / "staging"
    staging.mkdir(exist_ok=True)
    withdrawn = {tag: folder.rename(staging / temporary_name("pruned")) for tag, folder in folders.items()}
    for store in stores:
        flush_folder(store)
    return withdrawn


def _update_latest(store: Path, leaving: set[str], others: Iterable[str]) -> None:
    latest = store / "latest"
    staying = {path.name for path in store.iterdir() if path.is_dir()} - leaving
    if latest.is_file() and latest.read_text().strip() in staying:
        return
    newest = next((version for tag in others if (version := tag.partition(":")[2]) in staying), None)
    if newest:
        write_whole(latest, newest.encode())
    else:
        latest.unlink(missing_ok=True)
