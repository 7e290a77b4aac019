"""The index of a model's own training images, built from its dataset when it is first needed."""

import logging
from pathlib import Path

from filelock import FileLock

from components.contract import pictures_of, require_equal
from components.dataset.manifest import dataset_of, read_manifest, read_split
from components.errors import DatasetError, NeighboursError
from components.model.classifier import Classifier
from components.neighbours.index import Items, NeighbourIndex, hide, read_index, require_size, write_index
from components.settings import Settings

log = logging.getLogger(__name__)

KEPT = 3  # indexes of training images: of the live model, the one before it, and another
LOCK_TIMEOUT = 600  # seconds to wait for another worker that builds the same index


def index_path(model: str, settings: Settings) -> Path:
    """The file with the training images of a model, by its exact tag."""
    return settings.neighbours_dir / f"{model.replace(':', '-')}.arrow"


def can_open_training_index(model: Classifier, settings: Settings) -> bool:
    """Whether there is an index of a model's training images, or the dataset to build it from. Does not verify them."""
    dataset = settings.datasets_dir / f"{model.card.dataset_version}.json"
    return index_path(model.tag, settings).exists() or dataset.exists()


def open_training_index(model: Classifier, settings: Settings) -> NeighbourIndex:
    """Open the index of a model's training images. Build it if it is missing or damaged, which takes seconds.

    Raises:
        DatasetError: there is no index yet, and the model's dataset is missing or damaged.
        NeighboursError: the index would be too large.
        OSError: it cannot be written.
    """
    path = index_path(model.tag, settings)
    if not path.exists():
        dataset_of(settings.datasets_dir, model.card.dataset_version)  # before anything is created
    settings.neighbours_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.neighbours_dir / ".lock", timeout=LOCK_TIMEOUT):  # several workers need the same index
        try:
            return read_index(path, model)
        except FileNotFoundError:
            pass
        except NeighboursError as error:
            log.warning("%s; building it again", error)
        write_index(path, collect_training_items(model, settings.datasets_dir), model, model.card.dataset_version)
        _trim(settings.neighbours_dir, path)
        return read_index(path, model)


def collect_training_items(model: Classifier, datasets: Path) -> Items:
    """The labelled training images of a model, with their last hidden layers.

    Raises:
        DatasetError: the dataset is missing, damaged, or not that of the model.
        NeighboursError: there are too many.
    """
    dataset = dataset_of(datasets, model.card.dataset_version)
    require_equal(model.contract, dataset.contract, f"dataset {dataset.version}", DatasetError)
    require_size(read_manifest(dataset).rows("train"), model, f"dataset {dataset.version}")
    examples = read_split(dataset, "train")
    return Items(examples.ids, examples.labels, pictures_of(examples.images), hide(model, examples.images))


def _trim(folder: Path, newest: Path) -> None:
    """Remove all but the last indexes of training images; they can be built again."""
    others = [path for path in folder.glob("*-mlp-*.arrow") if path != newest]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEPT - 1 :]:
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink()
