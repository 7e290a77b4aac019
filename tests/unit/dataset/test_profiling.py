"""Profiling: the first version of a custom catalogue that passes sets the bounds of later ones."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from awkward import AWKWARD
from scipy.ndimage import gaussian_filter

from components.catalogues import catalogue_of
from components.catalogues.catalogue import ValidationBounds
from components.catalogues.fashion_mnist import CONTRACT, VALIDATION
from components.contract import SPLITS, Dataset, Images, Labels, Split, Validated
from components.dataset.archives import declare_source, write_archives
from components.dataset.ingest import ingest
from components.dataset.manifest import current_dataset
from components.dataset.profiling import (
    bounds_path,
    describe_bounds,
    measure_jumps,
    profile_bounds,
    read_bounds,
    write_bounds,
)
from components.dataset.validate import bounds_of, to_frame, validate
from components.errors import DatasetError, ValidationError
from components.readers.images.statistics import EVERY
from components.settings import Settings

Rows = dict[Split, tuple[Images, Labels]]
SHARES = (0.6, 0.3, 0.1)  # of the classes, which are usually imbalanced


def draw_photos(rows: int, seed: int, shares: Sequence[float] = SHARES) -> tuple[Images, Labels]:
    """Draw smooth dark shapes on a bright background, uint8 (rows, 20, 24, 3), and labels, uint16 (rows,)."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * rows).astype(int)).astype(np.uint16)
    background = generator.normal((220, 210, 180), 15, (len(labels), 1, 1, 3))
    thing = generator.normal(0, 1, (len(labels), 14, 16, 3))
    thing = 90 + 220 * gaussian_filter(thing, 2, axes=(1, 2)) + generator.normal(0, 15, (len(labels), 1, 1, 1))
    images = np.broadcast_to(background, (len(labels), 20, 24, 3)) + generator.normal(0, 4, (len(labels), 20, 24, 3))
    images[:, 3:17, 4:20] = thing
    return np.clip(images, 0, 255).astype(np.uint8), labels


def draw_version() -> Rows:
    return {"train": draw_photos(400, 1), "test": draw_photos(100, 2)}


def ingest_rows(settings: Settings, rows: Rows, name: str) -> Dataset:
    folder = settings.data_dir / f"archives of {name}"
    write_archives(folder, rows)
    declare_source(folder, name, "MIT", AWKWARD)
    return ingest(str(folder), settings=settings).dataset


def validate_rows(settings: Settings, rows: Rows, name: str) -> Validated:
    return validate(ingest_rows(settings, rows, name), settings=settings)


def broken_by(settings: Settings, rows: Rows, name: str) -> set[tuple[str, str]]:
    """The failed expectations of a version, by split."""
    with pytest.raises(ValidationError) as error:
        validate_rows(settings, rows, name)
    return {(item.where, item.expectation) for item in error.value.broken}


@pytest.fixture
def profiled(awkward_settings: Settings) -> Settings:
    """A first version that passed."""
    validate_rows(awkward_settings, draw_version(), "first")
    return awkward_settings


# --- the first version ---


def test_the_first_version_is_profiled_and_logged(awkward_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    dataset = ingest_rows(awkward_settings, draw_version(), "first")
    assert bounds_of(dataset) == ValidationBounds()
    with caplog.at_level(logging.INFO):
        first = validate(dataset, settings=awkward_settings)
    stored = json.loads(bounds_path(awkward_settings.datasets_dir, AWKWARD).read_text(encoding="utf-8"))
    assert stored["contract"] == AWKWARD.fingerprint
    assert stored["version"] == dataset.version
    assert bounds_of(dataset) == profile_bounds(to_frame(dataset), AWKWARD)
    assert describe_bounds(bounds_of(dataset)) in caplog.text
    again = validate(dataset, settings=awkward_settings)
    assert again.expectations > first.expectations
    assert json.loads(bounds_path(awkward_settings.datasets_dir, AWKWARD).read_text(encoding="utf-8")) == stored


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 60, 60)])
def test_a_flat_image_fails_validation(awkward_settings: Settings, colour: tuple[int, int, int]) -> None:
    rows = draw_version()
    rows["train"][0][7] = colour
    found = broken_by(awkward_settings, rows, "first")
    assert ("train", "expect_column_values_to_be_between(contrast)") in found
    assert read_bounds(awkward_settings.datasets_dir, AWKWARD) is None


def test_a_first_version_may_be_small(awkward_settings: Settings) -> None:
    rows: Rows = {"train": draw_photos(10, 1), "test": draw_photos(10, 2)}
    assert rows["test"][1].tolist().count(2) == 1
    dataset = validate_rows(awkward_settings, rows, "first").dataset
    assert validate(dataset, settings=awkward_settings).dataset == dataset


def test_the_built_in_catalogue_keeps_its_own_bounds(validated: Validated) -> None:
    assert bounds_of(validated.dataset) is VALIDATION is catalogue_of(CONTRACT).validation
    assert not (validated.dataset.path.parent / "bounds").exists()


# --- later versions ---


def test_an_unchanged_and_a_grown_version_pass(profiled: Settings) -> None:
    rows = draw_version()
    grown = draw_photos(40, 3)
    train = tuple(np.concatenate(both) for both in zip(rows["train"], grown, strict=True))
    validate_rows(profiled, {**rows, "train": train}, "grown")  # type: ignore[dict-item]
    validate_rows(profiled, {"train": draw_photos(600, 4), "test": draw_photos(80, 5)}, "others")


BETWEEN, MEAN = "expect_column_values_to_be_between", "expect_column_mean_to_be_between"


def test_inverted_and_dark_images_fail(profiled: Settings) -> None:
    rows = draw_version()
    (train, labels), (test, test_labels) = rows["train"], rows["test"]
    found = broken_by(profiled, {"train": (255 - train, labels), "test": (test // 2, test_labels)}, "worse")
    assert {("train", f"{BETWEEN}(edge)"), ("train", f"{MEAN}(edge)"), ("train", f"{MEAN}(warmth)")} <= found
    assert {("test", f"{MEAN}(mean)"), ("test", f"{MEAN}(peak)"), ("test", f"{BETWEEN}(peak)")} <= found


def test_swapped_channels_and_bright_images_fail(profiled: Settings) -> None:
    rows = draw_version()
    (train, labels), (test, test_labels) = rows["train"], rows["test"]
    bright = np.minimum(test, 195) + np.uint8(60)
    found = broken_by(profiled, {"train": (train[..., ::-1], labels), "test": (bright, test_labels)}, "worse")
    assert {name for split, name in found if split == "train"} == {f"{MEAN}(warmth)"}
    assert ("test", f"{MEAN}(mean)") in found


def test_a_missing_class_and_a_jump_of_a_class_share_fail(profiled: Settings) -> None:
    images, labels = draw_version()["test"]
    jumped = draw_photos(400, 6, (0.2, 0.3, 0.5))
    found = broken_by(profiled, {"train": jumped, "test": (images[labels < 2], labels[labels < 2])}, "worse")
    assert {name for split, name in found if split == "train"} == {f"{BETWEEN}(class_jump)"}
    assert ("test", "expect_column_distinct_values_to_equal_set(label)") in found


def test_a_version_with_too_few_rows_fails(profiled: Settings) -> None:
    rows = draw_version()
    train = rows["train"][0][::3], rows["train"][1][::3]
    assert broken_by(profiled, {**rows, "train": train}, "fewer") == {("train", "expect_table_row_count_to_be_between")}
    accepted = current_dataset(profiled.datasets_dir)
    assert accepted is not None
    assert accepted.source == "first"


def test_the_error_explains_how_to_profile_again(profiled: Settings) -> None:
    rows = draw_version()
    dataset = ingest_rows(profiled, {**rows, "train": (255 - rows["train"][0], rows["train"][1])}, "inverted")
    path = bounds_path(profiled.datasets_dir, AWKWARD)
    with pytest.raises(ValidationError, match=rf"If this data is right, remove {path} and validate again"):
        validate(dataset, settings=profiled)
    path.unlink()
    assert validate(dataset, settings=profiled).dataset == dataset
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == dataset.version


# --- the file ---


def test_bounds_round_trip(tmp_path: Path) -> None:
    assert read_bounds(tmp_path, AWKWARD) is None
    bounds = ValidationBounds(
        mean=(10.0, 200.5),
        mostly={"train": 0.98, "test": 0.9},
        split_means={split: dict.fromkeys(EVERY, (0.0, 12.25)) for split in SPLITS},
        class_counts={split: dict(zip(AWKWARD.classes, (60, 30, 10), strict=True)) for split in SPLITS},
        rows={"train": (200, None), "test": (50, None)},
    )
    path = write_bounds(tmp_path, AWKWARD, bounds, "0123456789abcdef")
    assert path == bounds_path(tmp_path, AWKWARD)
    assert read_bounds(tmp_path, AWKWARD) == bounds


def test_another_contract_has_its_own_bounds(tmp_path: Path) -> None:
    write_bounds(tmp_path, AWKWARD, ValidationBounds())
    more = replace(AWKWARD, classes=(*AWKWARD.classes, "Hat"))
    assert read_bounds(tmp_path, more) is None
    bounds_path(tmp_path, AWKWARD).rename(bounds_path(tmp_path, more))
    with pytest.raises(
        DatasetError, match=r"found bounds of the contract [0-9a-f]{64}, expected .*; remove it to profile"
    ):
        read_bounds(tmp_path, more)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('{"contract": "x"}', "contract: "),
        (None, "class_counts.test: expected a count for each class"),
    ],
)
def test_a_damaged_file_is_named(content: str | None, message: str, tmp_path: Path) -> None:
    path = write_bounds(tmp_path, AWKWARD, ValidationBounds(class_counts={"test": {"10": 1}}))
    if content:
        path.write_text(content)
    with pytest.raises(DatasetError, match=rf"{path}: {message}.*; remove it to profile the next version that passes"):
        read_bounds(tmp_path, AWKWARD)


def rows_of(counts: Sequence[int]) -> pd.DataFrame:
    labels = np.repeat(np.arange(len(counts)), counts)
    return pd.DataFrame({"label": labels}, index=range(100, 100 + len(labels)))


def test_chance_in_a_small_class_is_not_a_jump() -> None:
    rows = rows_of((85, 9, 6))
    jumps = measure_jumps(rows, {"10": 90, "Kids 2-6": 3, "3": 7}, AWKWARD)
    assert jumps.index.equals(rows.index)
    assert jumps.loc[[100, 190, 199]].round(3).tolist() == [0.947, 1.75, 0.917]


def test_chance_in_a_small_first_version_is_not_a_jump() -> None:
    jumps = measure_jumps(rows_of((2_500, 400, 100)), {"10": 15, "Kids 2-6": 11, "3": 4}, AWKWARD)
    assert jumps.between(0.5, 1.6).all()
    many = measure_jumps(rows_of((2_500, 400, 100)), {"10": 1_500, "Kids 2-6": 1_100, "3": 400}, AWKWARD)
    assert many.min() < 1 / 3
