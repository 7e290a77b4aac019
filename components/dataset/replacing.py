"""One dataset version in the place of another: nobody else replaces it meanwhile, and it passes validation first."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from components.contract import Dataset
from components.dataset.manifest import current_dataset, dataset_lock, make_current
from components.dataset.validate import validate
from components.errors import DatasetError
from components.files import require_writable
from components.settings import Settings

WAIT = 600  # seconds for another import, or another change of the classes, to end


@contextmanager
def replacing(settings: Settings) -> Iterator[Dataset | None]:
    """Yield the dataset in use, None where there is none, and keep whoever else wants to replace it waiting."""
    folder = settings.datasets_dir
    require_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".import.lock", timeout=WAIT):
        yield current_dataset(folder)


def take_into_use(dataset: Dataset, base: Dataset, settings: Settings) -> None:
    """Validate a version that was written, and only then use it. The caller is within `replacing`.

    Raises:
        ValidationError: it breaks an expectation; `base` stays in use.
        DatasetError: an ingest took another dataset into use meanwhile.
    """
    folder = settings.datasets_dir
    validate(dataset, settings=settings)
    with dataset_lock(folder):
        if current_dataset(folder) != base:
            raise DatasetError("another dataset was taken into use meanwhile; run the same command again")
        make_current(dataset)
