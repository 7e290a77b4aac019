"""Validation with Great Expectations, on small datasets with known faults."""

import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from awkward import AWKWARD, draw_awkward, write_awkward
from networks import contract_with, draw_records, embedding_of, make_network, write_records
from readings import PIXEL_COLUMNS

from components.catalogues import OFFICIAL
from components.catalogues.sample import draw
from components.contract import SAMPLE, SPLITS, Dataset, Images, Labels, Split, Validated
from components.dataset.archives import ARCHIVES, declare_source, write_archives
from components.dataset.ingest import ingest
from components.dataset.manifest import current_dataset, dataset_lock, read_manifest, write_manifest
from components.dataset.validate import ROWS_SHOWN, validate
from components.errors import BrokenExpectation, DatasetError, FashionError, ValidationError
from components.readers.images.idx import encode_idx
from components.settings import Settings

Rows = dict[Split, tuple[Images, Labels]]
BETWEEN = "expect_column_values_to_be_between"
ROW_COUNT = "expect_table_row_count_to_be_between"


def good_rows() -> Rows:
    """300 and 200 synthetic images, balanced and writable."""
    generator = np.random.default_rng(0)
    rows: Rows = {"train": draw(300, generator), "test": draw(200, generator)}
    return {split: (images.copy(), labels.copy()) for split, (images, labels) in rows.items()}


def ingest_rows(settings: Settings, rows: Rows, name: str = "acme") -> Dataset:
    folder = settings.data_dir / f"archives of {name}"
    folder.mkdir(parents=True)
    for split, (images, labels) in rows.items():
        (folder / ARCHIVES[split].images).write_bytes(encode_idx(images))
        (folder / ARCHIVES[split].labels).write_bytes(encode_idx(labels))
    declare_source(folder, name, "MIT")
    return ingest(str(folder), settings=settings).dataset


def refused(dataset: Dataset, settings: Settings) -> dict[tuple[str, str], BrokenExpectation]:
    """Validate a bad dataset; its failed expectations, by split."""
    with pytest.raises(ValidationError) as error:
        validate(dataset, settings=settings)
    broken = error.value.broken
    message = str(error.value)
    assert message.startswith(
        f"dataset {dataset.version} breaks {len(broken)} expectation(s), so nothing was trained:\n"
    )
    assert all(f"  - {item}" in message for item in broken)
    found = {(item.where, item.expectation): item for item in broken}
    assert len(found) == len(broken) > 0
    return found


# --- passes ---


def test_the_receipt_records_the_expectations(validated: Validated, dataset: Dataset) -> None:
    assert validated.dataset == dataset
    assert validated.expectations == 46
    assert validated.checked_at.endswith("+00:00")


def test_the_data_docs_are_next_to_the_page_with_one_for_each_split(validated: Validated) -> None:
    assert validated.docs.name == "index.html"
    assert validated.docs.parent.name.startswith(validated.dataset.version)
    for split in SPLITS:
        (page,) = (validated.docs.parent / "data_docs").rglob(f"validations/{split}/**/*.html")
        text = page.read_text()
        assert "Succeeded" in text
        assert "duplicates_across" in text


def test_validating_again_gives_the_same_page(validated: Validated, shared_settings: Settings) -> None:
    folder = validated.docs.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = validate(validated.dataset, settings=shared_settings)
    assert dataclasses.replace(again, checked_at=validated.checked_at) == validated
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "no temporary folder is left"


def test_the_accepted_version_is_recorded(validated: Validated, shared_settings: Settings) -> None:
    folder = shared_settings.datasets_dir
    assert (folder / f"accepted-{SAMPLE}").read_text().strip() == validated.dataset.version
    assert current_dataset(folder) == validated.dataset


# --- failures ---


def test_every_fault_is_named_with_its_rows(settings: Settings) -> None:
    rows = good_rows()
    (images, labels), (test_images, _) = rows["train"], rows["test"]
    images[5] = 0
    images[6] = 255
    images[7] = 255 - np.minimum(images[labels == 6][-1], 254)
    images[9] = images[8]
    images[10] = images[10] > 0  # pixels from 0 to 1
    images[[20, 21, 22]] = images[19]
    test_images[3] = images[11]
    dataset = ingest_rows(settings, rows)
    found = refused(dataset, settings)
    assert {key: set(item.rows) for key, item in found.items()} == {
        ("train", f"{BETWEEN}(mean)"): {"train-00005", "train-00006", "train-00010"},
        ("train", f"{BETWEEN}(deviation)"): {"train-00005", "train-00006", "train-00010"},
        ("train", f"{BETWEEN}(ink)"): {"train-00005", "train-00006", "train-00007"},
        ("train", f"{BETWEEN}(edge)"): {"train-00006", "train-00007"},
        ("train", f"{BETWEEN}(peak)"): {"train-00005", "train-00010"},
        ("train", f"{BETWEEN}(duplicates_within)"): {f"train-{row:05d}" for row in (8, 9, 19, 20, 21, 22)},
        ("train", f"{BETWEEN}(duplicates_across)"): {"train-00011"},
        ("test", f"{BETWEEN}(duplicates_across)"): {"test-00003"},
    }
    edge = found["train", f"{BETWEEN}(edge)"]
    assert edge.expected == "min_value 0.0, max_value 150.0"
    assert edge.observed == "2 of 300 rows, such as 255.0, 255.0"
    copies = found["train", f"{BETWEEN}(duplicates_within)"]
    assert copies.observed.startswith("6 of 300 rows, such as ")
    assert current_dataset(settings.datasets_dir) is None


def test_at_most_ten_rows_are_named_and_all_are_counted(settings: Settings) -> None:
    rows = good_rows()
    rows["test"] = 255 - rows["test"][0], rows["test"][1]
    found = refused(ingest_rows(settings, rows), settings)
    assert {split for split, _ in found} == {"test"}
    assert float(found["test", "expect_column_mean_to_be_between(mean)"].observed) > 110
    edge = found["test", f"{BETWEEN}(edge)"]
    assert edge.observed.startswith("200 of 200 rows, such as 255.0")
    assert len(edge.rows) == len(set(edge.rows)) == ROWS_SHOWN == 10
    assert set(edge.rows) <= {f"test-{row:05d}" for row in range(200)}


def test_missing_classes_and_rows_fail(settings: Settings) -> None:
    """Train lacks dresses and has too many coats; test has 99 rows and too few bags."""
    rows = good_rows()
    images, labels = rows["train"]
    labels[labels == 3] = 4
    labels[np.flatnonzero(labels == 5)[:5]] = 4
    images, labels = rows["test"]
    kept = np.concatenate([np.flatnonzero(labels == label)[: 4 if label == 8 else 11] for label in range(10)])[:99]
    rows["test"] = images[kept], labels[kept]
    found = refused(ingest_rows(settings, rows), settings)
    missing = found["train", "expect_column_distinct_values_to_equal_set(label)"]
    assert missing.expected == "value_set [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    assert missing.observed == "missing [3]"
    share = found["train", f"{BETWEEN}(class_share)"]
    assert share.expected == "min_value 0.05, max_value 0.2"
    coats = np.flatnonzero(rows["train"][1] == 4)
    assert share.observed.startswith(f"{len(coats)} of 300 rows")
    assert {int(row.removeprefix("train-")) for row in share.rows} <= set(coats.tolist())
    few = found["test", ROW_COUNT]
    assert (few.expected, few.observed, few.rows) == ("min_value 100", "99", ())
    rare = found["test", f"{BETWEEN}(class_share)"]
    assert rare.observed.startswith("4 of 99 rows, such as 0.0404")
    assert {int(row.removeprefix("test-")) for row in rare.rows} == set(np.flatnonzero(labels[kept] == 8).tolist())
    assert len(found) == 4


@pytest.mark.parametrize("rows", [200, 10_001])
def test_the_official_test_split_has_10_000_rows(settings: Settings, rows: int) -> None:
    images, labels = good_rows()["test"]
    numbers = np.arange(rows, dtype=np.uint32)
    many = np.tile(images, (rows // 200 + 1, 1, 1))[:rows]
    many[:, 14, 12:16] = numbers.view(np.uint8).reshape(rows, 4)  # no two alike
    dataset = ingest_rows(settings, {"train": good_rows()["train"], "test": (many, np.tile(labels, 51)[:rows])})
    found = refused(under_the_official_name(dataset), settings)
    assert {key: (item.expected, item.observed) for key, item in found.items()} == {
        ("train", ROW_COUNT): ("min_value 60000", "300"),
        ("test", ROW_COUNT): ("min_value 10000, max_value 10000", str(rows)),
    }


def under_the_official_name(dataset: Dataset) -> Dataset:
    """The same parts, with Fashion-MNIST as their source."""
    manifest = dataclasses.replace(read_manifest(dataset), source=OFFICIAL.contract.name)
    with dataset_lock(dataset.path.parent):
        return write_manifest(dataset.path.parent, manifest)


def test_another_catalogue_has_its_own_labels_and_bounds(awkward_settings: Settings, tmp_path: Path) -> None:
    dataset = ingest(str(write_awkward(tmp_path / "shop")), settings=awkward_settings).dataset
    assert validate(dataset, settings=awkward_settings).expectations == 50


def test_a_class_missing_from_the_test_split_is_named(awkward_settings: Settings, tmp_path: Path) -> None:
    folder = write_awkward(tmp_path / "shop")
    images, labels = draw_awkward(120, 1)
    write_archives(folder, {"test": (images, labels % 2)})
    declare_source(folder, "an awkward shop", "MIT", AWKWARD)
    found = refused(ingest(str(folder), settings=awkward_settings).dataset, awkward_settings)
    assert {key: item.observed for key, item in found.items()} == {
        ("test", "expect_column_distinct_values_to_equal_set(label)"): "missing [2]"
    }


# --- rollback ---


def test_a_failed_addition_is_rolled_back(settings: Settings, tmp_path: Path) -> None:
    good = ingest_rows(settings, good_rows())
    validate(good, settings=settings)
    blank = tmp_path / "blank.csv"
    blank.write_text(",".join(("label", *PIXEL_COLUMNS)) + "\n" + ",".join(["0"] * 785) + "\n")
    bad = ingest(str(blank), settings=settings).dataset
    assert current_dataset(settings.datasets_dir) == bad
    found = refused(bad, settings)
    (row,) = found["train", f"{BETWEEN}(peak)"].rows
    assert re.fullmatch(r"train-[0-9a-f]{8}-00000", row)
    assert current_dataset(settings.datasets_dir) == good
    assert bad.path.is_file(), "it stays on disk"
    assert ingest("auto", settings=settings).dataset == good


def test_without_an_accepted_version_nothing_is_current(settings: Settings) -> None:
    rows = good_rows()
    rows["train"][0][5] = 0
    bad = ingest_rows(settings, rows)
    for _ in range(2):
        refused(bad, settings)
        assert current_dataset(settings.datasets_dir) is None
        assert not (settings.datasets_dir / "accepted").exists()


def test_a_failure_of_an_older_version_keeps_the_current_one(settings: Settings) -> None:
    rows = good_rows()
    rows["train"][0][5] = 0
    bad = ingest_rows(settings, rows, name="bad")
    newer = ingest_rows(settings, good_rows())
    refused(bad, settings)
    assert current_dataset(settings.datasets_dir) == newer


def test_data_changed_since_the_ingest_is_not_validated(settings: Settings) -> None:
    dataset = ingest_rows(settings, good_rows())
    path = dataset.path.parent / read_manifest(dataset).parts[1].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{path.name}: changed since it was written"):
        validate(dataset, settings=settings)
    assert not (settings.datasets_dir / "accepted").exists()


def test_a_validation_that_cannot_run_accepts_nothing(settings: Settings) -> None:
    """A file is in the place of the Data Docs folder."""
    rows = good_rows()
    rows["train"][0][5] = 0
    bad = ingest_rows(settings, rows)
    settings.validation_dir.write_text("in the way")
    with pytest.raises((FashionError, OSError)):
        validate(bad, settings=settings)
    assert not (settings.datasets_dir / "accepted").exists()


def test_concurrent_validations_both_pass(settings: Settings) -> None:
    """Neither finds Data Docs, and both write them."""
    dataset = ingest_rows(settings, good_rows())
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: validate(dataset, settings=settings), range(2))
    assert first.docs == second.docs
    assert first.docs.is_file()
    assert [path.name for path in settings.validation_dir.iterdir()] == [first.docs.parent.name]


# --- with a frozen network ---


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_of_zeros_or_not_finite_fails(awkward_settings: Settings, value: float) -> None:
    contract = contract_with(embedding_of(make_network()))
    records = draw_records(contract, 60)
    records["vector"][7] = value
    broken = refused(write_records(awkward_settings.datasets_dir, records, contract), awkward_settings)
    item = broken["train", f"{BETWEEN}(vector_norm)"]
    assert "train-7" in str(item)
