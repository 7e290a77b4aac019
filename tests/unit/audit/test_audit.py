"""The audit finds planted label errors and near-duplicates, and its table can be imported."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from awkward import AWKWARD, draw_awkward
from pages import Page
from scipy.ndimage import gaussian_filter

from components.audit.audit import Audit, audit
from components.audit.labels import find_suspects
from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.sample import draw
from components.contract import Dataset, ImageSpec
from components.dataset.archives import ARCHIVES, declare_source
from components.dataset.duplicates import find_duplicates, find_duplicates_within
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import Examples, read_split
from components.readers.images.idx import encode_idx
from components.settings import Settings

WRONG = tuple(range(0, 600, 60))  # training rows whose label was moved by five
NAME = "<b>acme</b>"  # must be escaped


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Dataset]:
    """600 and 200 synthetic images with ten wrong labels and near-duplicates within and across the splits."""
    folder = tmp_path_factory.mktemp("planted")
    generator = np.random.default_rng(3)
    for split, rows in (("train", 600), ("test", 200)):
        images, labels = (array.copy() for array in draw(rows, generator))
        if split == "train":
            labels[list(WRONG)] = (labels[list(WRONG)] + 5) % 10
            images[31] = (images[30] * 0.9).astype(np.uint8)
            kept = images
        else:
            images[7] = np.roll(kept[40], (1, 1), (0, 1))
        (folder / ARCHIVES[split].images).write_bytes(encode_idx(images))  # type: ignore[index]
        (folder / ARCHIVES[split].labels).write_bytes(encode_idx(labels))  # type: ignore[index]
    declare_source(folder, NAME, "MIT")
    settings = Settings(data_dir=folder / "data")
    return settings, ingest(str(folder), settings=settings).dataset


@pytest.fixture(scope="module")
def found(planted: tuple[Settings, Dataset]) -> Audit:
    settings, dataset = planted
    return audit(dataset, "quick", settings=settings)


@pytest.fixture(scope="module")
def rows(found: Audit) -> list[dict[str, str]]:
    with found.corrections.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_most_label_errors_are_found_with_few_false_positives(found: Audit, rows: list[dict[str, str]]) -> None:
    named = {int(row["id"].removeprefix("train-")) for row in rows}
    assert len(named & set(WRONG)) >= 8
    assert len({int(row["id"].removeprefix("train-")) for row in rows[:10]} & set(WRONG)) >= 7
    assert found.suspects["train"] == len(rows) <= 100
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores)


@pytest.mark.slow
def test_near_duplicates_are_found_within_and_across_splits(found: Audit) -> None:
    with (found.page.parent / "duplicates.csv").open(newline="") as file:
        pairs = {(row["id"], row["other"]) for row in csv.DictReader(file)}
    assert ("train-00030", "train-00031") in pairs
    assert ("train-00040", "test-00007") in pairs
    assert len(pairs) == sum(found.copies.values())


@pytest.mark.slow
def test_the_page_shows_the_suspects_and_is_self_contained(found: Audit, rows: list[dict[str, str]]) -> None:
    page = Page(found.page)
    assert page.sections == ["train", "test", "copies", "outliers"]
    assert NAME in page.text
    assert all(row["id"] in page.text for row in rows[:60])
    assert [one for one in page.references if not one.startswith(("data:image/png;base64,", "#"))] == [
        "train-labels.csv",
        "test-labels.csv",
        "duplicates.csv",
    ]
    assert "script" not in page.tags


@pytest.mark.slow
def test_the_corrected_table_can_be_imported(
    planted: tuple[Settings, Dataset], rows: list[dict[str, str]], tmp_path: Path
) -> None:
    """In a copy of the data, so that other tests are not affected."""
    settings, dataset = planted
    shutil.copytree(settings.data_dir, tmp_path / "data")
    wrong = {f"train-{row:05d}" for row in WRONG}
    given = read_split(dataset, "train")
    table = tmp_path / "train-labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            place = int(row["id"].removeprefix("train-"))
            right = CLASSES[(int(given.labels[place]) + 5) % 10] if row["id"] in wrong else row["given"]
            writer.writerow({**row, "label": right})
    done = import_labels(table, settings=Settings(data_dir=tmp_path / "data"))
    assert set(done.relabelled) == wrong & {row["id"] for row in rows}
    assert done.unchanged == len(rows) - len(done.relabelled)
    after = read_split(done.dataset, "train")
    assert int(np.sum(after.labels != given.labels)) == len(done.relabelled)


def test_a_split_whose_labels_match_the_predictions_has_no_suspects() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 20)
    images = np.zeros((200, 28, 28), np.uint8)
    probabilities = np.full((200, 10), 0.01, np.float32)
    probabilities[np.arange(200), labels] = 0.91
    assert find_suspects(Examples([str(row) for row in range(200)], images, labels, CONTRACT), probabilities) == []


def test_blank_and_empty_inputs_have_no_duplicates() -> None:
    some = draw(5, np.random.default_rng(0))[0]
    none = np.empty((0, 28, 28), np.uint8)
    assert find_duplicates(none, some) == []
    assert find_duplicates(np.zeros((2, 28, 28), np.uint8), some) == []
    assert find_duplicates_within(some) == []


@pytest.mark.parametrize("image", [ImageSpec(20, 24, 3), ImageSpec(9, 16), ImageSpec(128, 70, 3)], ids=str)
def test_near_duplicates_are_found_in_images_of_any_size(image: ImageSpec) -> None:
    some, _ = draw_awkward(6, 0, replace(AWKWARD, image=image))
    smooth = gaussian_filter(some.astype(np.float32), 3, axes=(1, 2))
    some = np.interp(smooth, (smooth.min(), smooth.max()), (0, 200)).astype(np.uint8)
    moved = np.roll(some[[4, 1]], 1, axis=1) + 20
    assert [(copy.row, copy.other) for copy in find_duplicates(moved, some)] == [(0, 4), (1, 1)]
    pairs = find_duplicates_within(np.concatenate([some, some[:1] + 9]))
    assert [(pair.row, pair.other) for pair in pairs] == [(0, 6)]
