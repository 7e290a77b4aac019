"""Class changes create new versions and keep pixels, ids and splits."""

import base64
import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from handed_in import base, ready  # noqa: F401, fixtures
from PIL import Image

from components.catalogues.fashion_mnist import CLASSES
from components.catalogues.sample import draw
from components.contract import SPLITS, Dataset, Split
from components.dataset.classes.changing import (
    add_class,
    merge_classes,
    remove_class,
    rename_class,
    split_class,
    undo_change,
)
from components.dataset.classes.journal import read_journal
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.labels.inbox import empty_inbox
from components.dataset.labels.reading import read_label_input
from components.dataset.manifest import current_dataset, read_manifest, read_split
from components.dataset.profiling import read_bounds
from components.errors import DatasetError, InputError, UnknownClass, ValidationError
from components.settings import Settings

WHY = "the buyers asked"


@pytest.fixture
def hats(tmp_path: Path) -> Path:
    """Forty different pictures of triangles, and a text file named like a picture."""
    folder = tmp_path / "hats" / "deep"
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    for number in range(40):
        pixels = np.zeros((28, 28), np.uint8)
        for row in range(4, 24):
            wide = 1 + (row * (3 + number % 7)) // 10
            pixels[row, max(2, 14 - wide) : min(26, 14 + wide)] = random.integers(90, 255)
        pixels[6 + number % 12, 4:24] = random.integers(60, 255, 20)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "read.txt.png").write_text("no picture")
    return tmp_path / "hats"


def named(dataset: Dataset, split: Split) -> dict[str, str]:
    """Map ids to class names."""
    examples = read_split(dataset, split)
    return {
        row_id: examples.contract.classes[label] for row_id, label in zip(examples.ids, examples.labels, strict=True)
    }


def pixels_of(dataset: Dataset) -> dict[str, bytes]:
    return {
        row_id: image.tobytes()
        for split in SPLITS
        for examples in [read_split(dataset, split)]
        for row_id, image in zip(examples.ids, examples.images, strict=True)
    }


def test_an_added_class_gets_its_own_test_split(base: Dataset, hats: Path, settings: Settings) -> None:
    done = add_class("hat", hats, WHY)
    assert done.dataset == current_dataset(settings.datasets_dir)
    assert done.dataset.contract.classes == (*CLASSES, "hat")
    for split in SPLITS:
        before, now = named(base, split), named(done.dataset, split)
        assert {row_id: now[row_id] for row_id in before} == before
        assert set(Counter(now[row_id] for row_id in now.keys() - before.keys())) == {"hat"}
    counts = [Counter(named(done.dataset, split).values())["hat"] for split in SPLITS]
    assert sum(counts) + sum(done.rejected.values()) == 41
    assert counts[1] >= 5
    assert list(done.rejected) == ["not a PNG, JPEG, WEBP, GIF or BMP picture"]
    assert done.rejects
    assert done.rejects.is_file()
    (revision,) = read_manifest(done.dataset).revisions
    assert revision.before == CLASSES
    assert revision.became == tuple((name,) for name in CLASSES)


def test_renaming_keeps_pixels_ids_labels_and_the_test_split(base: Dataset) -> None:
    done = rename_class("Bag", "Handbag", WHY)
    assert pixels_of(done.dataset) == pixels_of(base)
    assert {name.replace("Handbag", "Bag") for name in named(done.dataset, "test").values()} == set(CLASSES)
    assert read_manifest(done.dataset).split_version("test") == read_manifest(base).split_version("test")
    assert done.dataset.version != base.version
    assert done.moved == {}


def test_merging_reports_renumbered_classes(base: Dataset) -> None:
    done = merge_classes(["Pullover", "Shirt"], "Top", WHY)
    assert done.dataset.contract.classes[2] == "Top"
    assert done.dataset.contract.classes[6] == "Ankle boot"
    assert done.moved == {"Ankle boot": (9, 6)}
    for split in SPLITS:
        merged = {"Pullover": "Top", "Shirt": "Top"}
        assert named(done.dataset, split) == {row: merged.get(name, name) for row, name in named(base, split).items()}
    assert pixels_of(done.dataset) == pixels_of(base)


def test_a_removed_class_is_in_no_split(base: Dataset) -> None:
    done = remove_class("Bag", WHY)
    for split in SPLITS:
        assert named(done.dataset, split) == {row: name for row, name in named(base, split).items() if name != "Bag"}
    assert (
        done.dataset.rows == base.rows - Counter([*named(base, "train").values(), *named(base, "test").values()])["Bag"]
    )


def test_a_class_is_split_by_a_table_of_ids(base: Dataset, tmp_path: Path) -> None:
    rows = {row: name for split in SPLITS for row, name in named(base, split).items() if name == "Sandal"}
    new_names = {row: "Slipper" if number % 2 else "Sandal" for number, row in enumerate(rows)}
    with (tmp_path / "sandals.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *new_names.items()])
    done = split_class("sandal", tmp_path / "sandals.csv", WHY)
    assert done.dataset.contract.classes == (*CLASSES, "Slipper")
    for split in SPLITS:
        assert named(done.dataset, split) == {row: new_names.get(row, name) for row, name in named(base, split).items()}


def test_changes_accumulate_and_can_be_undone(base: Dataset, hats: Path, settings: Settings) -> None:
    first = add_class("hat", hats, WHY)
    second = rename_class("hat", "headwear", WHY)
    assert len(read_manifest(second.dataset).revisions) == 2
    assert undo_change("no").dataset == first.dataset
    assert undo_change("no").dataset == base
    assert current_dataset(settings.datasets_dir) == base
    with pytest.raises(DatasetError, match="no class change to undo"):
        undo_change("no")
    entries = read_journal(settings.datasets_dir)
    assert [one.change for one in entries] == [
        "add 'hat'",
        "rename 'hat' to 'headwear'",
        "undo: rename 'hat' to 'headwear'",
        "undo: add 'hat'",
    ]
    assert {one.why for one in entries} == {WHY, "no"}
    assert all(one.who for one in entries)


def test_undo_refuses_to_lose_later_imports_without_force(base: Dataset, hats: Path, tmp_path: Path) -> None:
    add_class("hat", hats, WHY)
    folder = tmp_path / "more" / "hat"
    folder.mkdir(parents=True)
    pixels = np.zeros((28, 28), np.uint8)
    pixels[5:20, 5:20] = np.random.default_rng(8).integers(90, 255, (15, 15))
    Image.fromarray(pixels).save(folder / "new.png")
    assert import_labels(folder.parent).added == {"hat": 1}
    with pytest.raises(DatasetError, match="cannot undo add 'hat': labels were imported since"):
        undo_change("no")
    assert undo_change("no", force=True).dataset == base


def test_ingesting_the_archives_again_keeps_the_changed_classes(
    base: Dataset, ready: Path, hats: Path, settings: Settings
) -> None:
    changed = add_class("hat", hats, WHY).dataset
    merge_classes(["Pullover", "Shirt"], "Top", WHY)
    done = ingest(str(ready / "acme"), settings=settings)
    assert not done.written
    assert done.dataset.contract.classes[2] == "Top"
    assert done.dataset.contract.label_of("hat") is not None
    assert changed != done.dataset


def test_a_changed_version_has_its_own_bounds_and_a_broken_batch_fails(
    base: Dataset, hats: Path, tmp_path: Path, settings: Settings
) -> None:
    done = add_class("hat", hats, WHY)
    bounds = read_bounds(settings.datasets_dir, done.dataset.contract)
    assert bounds
    assert bounds.class_counts["train"]["hat"] == Counter(named(done.dataset, "train").values())["hat"]
    folder = tmp_path / "many" / "hat"
    folder.mkdir(parents=True)
    for number in range(300):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[3:25, 3:25] = np.random.default_rng(number).integers(90, 255, (22, 22))
        Image.fromarray(pixels).save(folder / f"{number}.png")
    with pytest.raises(ValidationError, match="class_jump"):
        import_labels(folder.parent)
    assert current_dataset(settings.datasets_dir) == done.dataset


def test_too_few_pictures_or_a_missing_folder_change_nothing(
    base: Dataset, hats: Path, tmp_path: Path, settings: Settings
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in ("01.png", "02.png", "04.png"):
        (few / name).write_bytes((hats / "deep" / name).read_bytes())
    (few / "copy.png").write_bytes((few / "01.png").read_bytes())
    with pytest.raises(DatasetError, match=r"found 3 usable pictures.*expected at least 10\. Use --allow-small"):
        add_class("hat", few, WHY)
    with pytest.raises(InputError, match="no such folder"):
        add_class("hat", tmp_path / "none", WHY)
    assert current_dataset(settings.datasets_dir) == base
    assert not read_journal(settings.datasets_dir)
    assert add_class("hat", few, WHY, allow_small=True).dataset.rows == base.rows + 3


def test_pictures_of_existing_classes_cannot_form_a_new_class(base: Dataset, tmp_path: Path) -> None:
    examples = read_split(base, "train")
    folder = tmp_path / "again"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(examples.images[number]).save(folder / f"{number}.png")
    with pytest.raises(DatasetError, match=r"found 0 usable pictures, 20 rejected.*of another class"):
        add_class("hat", folder, WHY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,label\n", "expected rows of id,label"),
        ("name,label\na,b\n", "expected rows of id,label"),
        ("id,label\ntrain-00000,\n", "row 2: expected an id and a label"),
        ("id,label\na,b\na,c\n", "row 3: a has two labels"),
    ],
)
def test_an_invalid_table_is_rejected(base: Dataset, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        split_class("Bag", tmp_path / "table.csv", WHY)


def test_each_part_of_a_split_class_needs_images_in_both_splits(base: Dataset, tmp_path: Path) -> None:
    rows = [row for row, name in named(base, "train").items() if name == "Bag"][:12]
    (tmp_path / "table.csv").write_text("id,label\n" + "".join(f"{row},Purse\n" for row in rows))
    with pytest.raises(DatasetError, match="'Purse' would have 12 pictures for training and 0 for testing"):
        split_class("Bag", tmp_path / "table.csv", WHY)


# --- labels of unknown classes ---


@pytest.fixture
def waiting(base: Dataset, settings: Settings) -> Settings:
    """Two inbox items with the class hat: a folder and a correction."""
    inbox = settings.labelled_dir
    pictures = draw(200, np.random.default_rng(91))[0]
    for name, picture in (("hat", pictures[0]), ("Bag", pictures[1])):
        (inbox / "folder" / name).mkdir(parents=True)
        Image.fromarray(picture).save(inbox / "folder" / name / "a.png")
    pixels = base64.b64encode(pictures[3].tobytes()).decode()
    correction = {"said": "Bag", "label": "HAT", "model": "m", "pixels": pixels}
    (inbox / "correction-1.json").write_text(json.dumps(correction))
    return settings


def test_labels_of_an_unknown_class_wait_until_it_exists(waiting: Settings, hats: Path, tmp_path: Path) -> None:
    emptied = empty_inbox(waiting)
    assert {one.waits_for[0].lower() for one in emptied} == {"hat"}
    assert len(emptied) == len(list((waiting.labelled_dir / "waiting").iterdir())) == 2
    assert sum(sum(one.imported.added.values()) for one in emptied if one.imported) == 1, "the bag is imported"
    assert empty_inbox(waiting) == []
    before = read_split(add_class("hat", hats, WHY).dataset, "train")
    again = empty_inbox(waiting)
    assert not [one for one in again if one.waits_for or not one.imported]
    dataset = current_dataset(waiting.datasets_dir)
    assert dataset
    hats_now = Counter(named(dataset, "train").values())["hat"]
    assert hats_now == Counter(before.labels.tolist())[10] + 2
    assert Counter(named(dataset, "train").values())["Bag"] == Counter(before.labels.tolist())[8]


def test_items_keep_waiting_for_a_class_that_is_never_added(waiting: Settings) -> None:
    empty_inbox(waiting)
    done = rename_class("Bag", "Handbag", WHY)
    assert len(done.called_back) == 2
    assert len(empty_inbox(waiting)) == 2
    assert len(list((waiting.labelled_dir / "waiting").iterdir())) == 2


@pytest.mark.parametrize("folder", [True, False])
def test_unknown_classes_are_reported_by_name(base: Dataset, tmp_path: Path, folder: bool) -> None:
    if folder:
        (tmp_path / "in" / "Hat").mkdir(parents=True)
        Image.new("L", (28, 28)).save(tmp_path / "in" / "Hat" / "b.png")
        with pytest.raises(UnknownClass, match="no folder is named after a class") as raised:
            read_label_input(tmp_path / "in", base.contract)
        assert raised.value.name == "Hat"
    else:
        (tmp_path / "table.csv").write_text("id,label\ntrain-00000,HAT\ntrain-00001,12\n")
        read = read_label_input(tmp_path / "table.csv", base.contract)
        assert [one.unknown for one in read.rejects] == ["HAT", ""]
