"""A dataset, and newly labelled images to import."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from readings import PIXEL_COLUMNS

from components.catalogues.sample import draw
from components.contract import Dataset, Images, Labels
from components.dataset.archives import declare_source, write_sample
from components.dataset.ingest import ingest
from components.dataset.labels.adding import Imported
from components.dataset.manifest import current_dataset
from components.dataset.validate import validate
from components.settings import Settings

New = tuple[Images, Labels]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a small validated dataset that is declared as real, and its source archives."""
    folder = tmp_path_factory.mktemp("ready")
    write_sample(folder / "acme", train_rows=600, test_rows=200, seed=1)
    declare_source(folder / "acme", "acme", "CC-BY-4.0")
    settings = Settings(data_dir=folder / "data")
    validate(ingest(str(folder / "acme"), settings=settings).dataset, settings=settings)
    return folder


@pytest.fixture
def base(ready: Path, settings: Settings) -> Dataset:
    """A copy of the dataset in the test's data folder."""
    shutil.copytree(ready / "data", settings.data_dir)
    current = current_dataset(settings.datasets_dir)
    assert current
    return current


@pytest.fixture
def new() -> New:
    """Eight images of eight classes that are not in the dataset."""
    images, labels = draw(200, np.random.default_rng(77))
    rows = [int(np.flatnonzero(labels == label)[0]) for label in range(8)]
    return images[rows].copy(), labels[rows].copy()


def write_pixels(path: Path, images: Images, labels: object, extra: str = "") -> Path:
    rows = [",".join(map(str, (label, *image.ravel()))) for image, label in zip(images, labels, strict=True)]  # type: ignore[call-overload]
    path.write_text("\n".join([",".join(("label", *PIXEL_COLUMNS)), *rows]) + "\n" + extra)
    return path


def counted(done: Imported) -> tuple[int, int, int, int, int]:
    """The counts of added, relabelled, known, unchanged and rejected images."""
    rejected = sum(done.rejected.values())
    found = sum(done.added.values()), len(done.relabelled), done.known, done.unchanged, rejected
    assert done.read == sum(found)
    return found
