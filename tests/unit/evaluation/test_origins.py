"""Where training images and their labels come from: archives, label imports, corrections."""

import csv
from pathlib import Path

import numpy as np
import pytest

from components.catalogues.fashion_mnist import CLASSES
from components.catalogues.sample import draw
from components.contract import Dataset
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import read_split
from components.dataset.validate import validate
from components.evaluation.origins import CORRECTED, FIRST, IMPORTED, LATER, LOST, find_origins
from components.readers.images.photos import write_png
from components.settings import Settings


@pytest.fixture
def first(archives: Path, settings: Settings) -> Dataset:
    return validate(ingest(str(archives)).dataset).dataset


def correct_labels(dataset: Dataset, path: Path, rows: range) -> Dataset:
    """Give training rows the next class, as a person does with a CSV of id,label."""
    train = read_split(dataset, "train")
    with path.open("w", newline="") as file:
        lines = [(train.ids[row], CLASSES[(train.labels[row] + 1) % len(CLASSES)]) for row in rows]
        csv.writer(file).writerows([("id", "label"), *lines])
    return import_labels(path).dataset


def add_pictures(folder: Path, count: int) -> Dataset:
    """Import new labelled pictures from a folder for each class."""
    images, labels = draw(count, np.random.default_rng(41))
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        (folder / str(label) / f"{number}.png").write_bytes(write_png(image))
    return import_labels(folder).dataset


def values_of(dataset: Dataset) -> dict[str, list[str]]:
    """The value of each training image, by attribute."""
    origins = find_origins(dataset, read_split(dataset, "train"))
    assert origins.notes == ()
    return {one.name: [(one.names or ())[place] for place in one.values] for one in origins.attributes}


def test_images_of_one_source_have_no_origins_to_compare(first: Dataset) -> None:
    assert values_of(first) == {}


def test_labels_that_people_import_and_correct_are_listed_by_image(first: Dataset, tmp_path: Path) -> None:
    train = read_split(first, "train")
    corrected = correct_labels(first, tmp_path / "corrected.csv", range(40))
    assert values_of(corrected) == {"label source": [CORRECTED] * 40 + [first.source] * 560}
    grown = add_pictures(tmp_path / "photos", 30)
    added = len(read_split(grown, "train").ids) - len(train.ids)
    assert added > 20
    assert values_of(grown) == {
        "label source": [CORRECTED] * 40 + [first.source] * 560 + [IMPORTED] * added,
        "data": [FIRST] * 600 + [LATER] * added,
    }


def test_a_version_that_did_not_pass_validation_is_not_the_first(first: Dataset, tmp_path: Path) -> None:
    corrected = correct_labels(first, tmp_path / "corrected.csv", range(40))
    (first.path.parent / "receipts" / first.path.name).unlink()
    origins = find_origins(corrected, read_split(corrected, "train"))
    assert (origins.attributes, origins.notes) == ((), (LOST,))


@pytest.mark.parametrize("kept", [0, 1])
def test_without_the_first_version_the_notes_say_that_corrections_are_not_listed(
    first: Dataset, tmp_path: Path, kept: int
) -> None:
    corrected = correct_labels(first, tmp_path / "corrected.csv", range(40))
    grown = add_pictures(tmp_path / "photos", 30)
    for gone in (first, corrected)[: 2 - kept]:
        gone.path.unlink()
    origins = find_origins(grown, read_split(grown, "train"))
    values = {one.name: one.names for one in origins.attributes}
    assert values == {"label source": (IMPORTED, first.source), **({"data": (LATER, FIRST)} if kept else {})}
    assert origins.notes == (LOST,)
