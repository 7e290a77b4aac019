"""Replace the current dataset version: under a lock, and only by a version that passes validation."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from components.contract import Dataset
from components.dataset.manifest import current_dataset, dataset_lock, make_current
from components.dataset.validate import validate
from components.errors import DatasetError
from components.files import require_writable
from components.settings import Settings

WAIT = 600  # seconds to wait for another import or class change to finish


@contextmanager
def replacement_lock(settings: Settings) -> Iterator[Dataset | None]:
    """Yield the current dataset, or None, and hold the lock that every replacement takes."""
    folder = settings.datasets_dir
    require_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".import.lock", timeout=WAIT):
        yield current_dataset(folder)


def validate_and_activate(dataset: Dataset, base: Dataset, settings: Settings) -> None:
    """Validate a written version, then make it current. Call it within `replacement_lock`.

    Raises:
        ValidationError: the version fails an expectation; `base` stays current.
        DatasetError: an ingest changed the current dataset in the meantime.
    """
    folder = settings.datasets_dir
    validate(dataset, settings=settings)
    with dataset_lock(folder):
        if current_dataset(folder) != base:
            raise DatasetError("the current dataset changed in the meantime; run the command again")
        make_current(dataset)
