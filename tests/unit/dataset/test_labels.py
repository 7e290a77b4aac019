"""Label imports: new labels create a version, known ones do not, and rejects are kept."""

import base64
import csv
import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from awkward import AWKWARD, draw_awkward, write_awkward
from handed_in import New, base, counted, new, ready, write_pixels  # noqa: F401, fixtures
from PIL import Image
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.sample import draw
from components.contract import Dataset, Images
from components.dataset.archives import declare_source, write_sample
from components.dataset.ingest import ingest
from components.dataset.labels.adding import Imported, import_labels
from components.dataset.labels.corrections import Correction, write_correction
from components.dataset.labels.inbox import empty_inbox
from components.dataset.labels.naming import hash_of
from components.dataset.labels.reading import read_label_input
from components.dataset.manifest import current_dataset, read_manifest, read_split
from components.errors import DatasetError, InputError, ValidationError
from components.readers.images.photos import write_png
from components.settings import Settings


def write_table(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def rejects_of(done: Imported) -> list[dict[str, str]]:
    assert done.rejects
    return [json.loads(line) for line in done.rejects.read_text().splitlines()]


def everything_in(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# --- additions ---


def test_new_pixels_create_a_validated_version(base: Dataset, new: New, tmp_path: Path, settings: Settings) -> None:
    images, labels = new
    done = import_labels(write_pixels(tmp_path / "new.csv", images, labels))
    assert counted(done) == (8, 0, 0, 0, 0)
    assert done.added == {CLASSES[label]: 1 for label in labels}
    assert current_dataset(settings.datasets_dir) == done.dataset != base
    train, before = read_split(done.dataset, "train"), read_split(base, "train")
    assert train.ids[:600] == before.ids
    assert np.array_equal(train.images[600:], images)
    assert np.array_equal(train.labels[600:], labels)
    old, manifest = read_manifest(base), read_manifest(done.dataset)
    assert manifest.split_version("test") == old.split_version("test")
    assert list(manifest.parts[-1].inputs) == ["labels/new.csv"]
    assert (settings.datasets_dir / "accepted").read_text().strip() == done.dataset.version


@pytest.mark.parametrize("names", [list(CLASSES), [name.lower().replace(" ", "-") for name in CLASSES]])
def test_a_class_may_be_given_by_its_name(base: Dataset, new: New, tmp_path: Path, names: list[str]) -> None:
    images, labels = new
    done = import_labels(write_pixels(tmp_path / "new.csv", images, [names[label] for label in labels]))
    assert counted(done)[0] == 8
    assert np.array_equal(read_split(done.dataset, "train").labels[600:], labels)


def test_a_grown_file_adds_only_its_new_rows(base: Dataset, new: New, tmp_path: Path) -> None:
    images, labels = new
    path = tmp_path / "new.csv"
    first = import_labels(write_pixels(path, images[:5], labels[:5]))
    again = import_labels(path)
    assert (counted(again), again.changed, again.dataset) == ((0, 0, 5, 0, 0), False, first.dataset)
    grown = import_labels(write_pixels(path, images, labels))
    assert counted(grown) == (3, 0, 5, 0, 0)
    assert len(set(read_split(grown.dataset, "train").ids)) == 608


def test_parquet_with_a_repeated_row(base: Dataset, new: New, tmp_path: Path) -> None:
    images, labels = new
    rows = [0, 1, 1]
    pixels = pa.array([images[row].tobytes() for row in rows], pa.binary(784))
    pq.write_table(pa.table({"label": labels[rows], "pixels": pixels}), tmp_path / "new.parquet")
    assert counted(import_labels(tmp_path / "new.parquet")) == (2, 0, 1, 0, 0)


def test_class_folders_and_a_table_of_paths(base: Dataset, new: New, tmp_path: Path) -> None:
    images, _ = new
    for place, name in ((0, "0"), (1, "trouser"), (2, "hat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.png").write_bytes(write_png(images[place]))
    (tmp_path / "photos" / "0" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "photos" / "bag").symlink_to("/etc")
    done = import_labels(tmp_path / "photos")
    assert counted(done) == (2, 0, 0, 0, 3)
    rejects = {one["position"]: one for one in rejects_of(done)}
    assert rejects["bag"]["reason"] == "outside the folder"
    assert rejects["hat/a.png"]["reason"] == "not in a folder named after a class"
    assert done.rejects
    assert (done.rejects.parent / rejects["0/broken.jpg"]["file"]).read_bytes() == b"\xff\xd8 no picture"
    table = write_table(
        tmp_path / "paths.csv",
        ("path", "label"),
        ("0/a.png", "0"),
        ("hat/a.png", "Pullover"),
        ("../paths.csv", "1"),
        ("none.png", "1"),
    )
    done = import_labels(table, root=tmp_path / "photos")
    assert counted(done) == (1, 0, 1, 0, 2)
    out, missing = rejects_of(done)
    assert out["reason"] == "outside the folder"
    assert missing["reason"] == "cannot be read: No such file or directory"
    assert out["row"] == "../paths.csv,1"


def test_system_files_are_ignored_and_not_rejected(base: Dataset, new: New, tmp_path: Path) -> None:
    images, _ = new
    litter = [".DS_Store", "Thumbs.db", "coat/desktop.ini", "coat/.ipynb_checkpoints/a.png", "__MACOSX/coat/._a.png"]
    for name in ("coat/a.png", *litter):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(write_png(images[0]))
    done = import_labels(tmp_path / "photos")
    assert counted(done) == (1, 0, 0, 0, 0)
    assert done.left_out == (".DS_Store", "Thumbs.db", "__MACOSX", "coat/.ipynb_checkpoints", "coat/desktop.ini")


def test_a_link_to_another_class_folder_is_read(base: Dataset, new: New, tmp_path: Path) -> None:
    images, _ = new
    (tmp_path / "photos" / "unsorted").mkdir(parents=True)
    (tmp_path / "photos" / "unsorted" / "a.png").write_bytes(write_png(images[0]))
    (tmp_path / "photos" / "coat").symlink_to("unsorted")
    (tmp_path / "photos" / "bag").symlink_to(".")
    done = import_labels(tmp_path / "photos")
    assert done.added == {"Coat": 1}
    assert {one["position"] for one in rejects_of(done)} == {"bag", "unsorted/a.png"}


@pytest.mark.parametrize("names", [CLASSES, sorted(CLASSES, reverse=True)])
def test_pictures_in_parquet_have_the_class_names_of_their_schema(
    base: Dataset, new: New, tmp_path: Path, names: list[str]
) -> None:
    images, labels = new
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows: list[dict[str, bytes | str | None]] = [{"bytes": write_png(image), "path": None} for image in images]
    rows += [{"bytes": b"no picture", "path": None}, {"bytes": None, "path": "a.png"}, rows[0]]
    numbers = [list(names).index(CLASSES[label]) for label in labels]
    pq.write_table(pa.table([rows, [*numbers, 0, 0, 17]], schema=schema), tmp_path / "new.parquet")
    done = import_labels(tmp_path / "new.parquet")
    assert counted(done) == (8, 0, 0, 0, 3)
    assert done.added == {CLASSES[label]: 1 for label in labels}
    damaged, missing, strange = rejects_of(done)
    assert "not a PNG" in damaged["reason"]
    assert "no picture bytes" in missing["reason"]
    assert "found '17', expected 0 to 9 or one of" in strange["reason"]


def test_a_photo_is_prepared_as_for_the_model(base: Dataset, new: New, tmp_path: Path) -> None:
    large = Image.fromarray(new[0][1]).resize((280, 280), Image.Resampling.NEAREST).convert("RGB")
    (tmp_path / "p" / "trouser").mkdir(parents=True)
    large.save(tmp_path / "p" / "trouser" / "photo.jpg", quality=95)
    done = import_labels(tmp_path / "p")
    assert done.added == {"Trouser": 1}
    assert read_split(done.dataset, "train").images[-1].shape == (28, 28)


# --- corrections ---


def test_only_the_label_of_the_given_id_changes(base: Dataset, tmp_path: Path) -> None:
    train = read_split(base, "train")
    other = CLASSES[(train.labels[3] + 1) % 10]
    table = write_table(
        tmp_path / "audit.csv",
        ("id", "given", "suggested", "score", "label"),
        (train.ids[3], CLASSES[train.labels[3]], other, "0.01", other),
        (train.ids[4], CLASSES[train.labels[4]], other, "0.02", CLASSES[train.labels[4]]),
    )
    done = import_labels(table)
    assert counted(done) == (0, 1, 0, 1, 0)
    after = read_split(done.dataset, "train")
    assert np.flatnonzero(after.labels != train.labels).tolist() == [3]
    assert CLASSES[after.labels[3]] == other
    assert (after.ids, done.dataset.rows) == (train.ids, base.rows)
    assert np.array_equal(after.images, train.images)
    assert counted(import_labels(table)) == (0, 0, 1, 1, 0)


def test_a_row_may_be_named_by_its_hash_in_the_prediction_log(base: Dataset, tmp_path: Path) -> None:
    train = read_split(base, "train")
    other = int(train.labels[3] + 1) % 10
    done = import_labels(
        write_table(tmp_path / "h.csv", ("hash", "label"), (hash_of(train.images[3].tobytes()), other))
    )
    assert done.relabelled == {train.ids[3]: CLASSES[other]}


@pytest.mark.parametrize("by", ["id", "hash", "pixels"])
def test_labels_of_the_test_split_never_change(base: Dataset, tmp_path: Path, settings: Settings, by: str) -> None:
    test = read_split(base, "test")
    before = everything_in(settings.datasets_dir)
    other = (test.labels[0] + 1) % 10
    if by == "pixels":
        path = write_pixels(tmp_path / "t.csv", test.images[:1], [other])
    else:
        path = write_table(
            tmp_path / "t.csv",
            (by, "label"),
            ({"id": test.ids[0], "hash": hash_of(test.images[0].tobytes())}[by], other),
        )
    done = import_labels(path)
    assert (counted(done), done.changed) == ((0, 0, 0, 0, 1), False)
    assert rejects_of(done)[0]["reason"] == f"in the test split, whose labels imports never change: {test.ids[0]}"
    assert everything_in(settings.datasets_dir) == before


def test_only_corrected_rows_of_scored_output_are_imported(base: Dataset, new: New, tmp_path: Path) -> None:
    """A prediction is not a label: rows that were not edited are not imported."""
    images, labels = new
    scored_from = write_pixels(tmp_path / "in.csv", images, labels)
    header = ("id", "label", "name", "confidence", "known", "familiarity")
    given = ((1, labels[0]), (2, 9), (99, 3))
    rows = [(row, label, CLASSES[9], 0.5, "no", 0.01) for row, label in given]
    done = import_labels(write_table(tmp_path / "out.csv", header, *rows), images=scored_from)
    assert counted(done) == (1, 0, 0, 1, 1)
    assert rejects_of(done)[0]["reason"] == "not in in.csv: 99"
    after = read_split(done.dataset, "train")
    assert np.array_equal(after.images[-1], images[0])
    assert after.labels[-1] == labels[0]


# --- rejects ---


def jpeg(image: Images, quality: int) -> Images:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("how", ["shifted", "compressed", "darker", "shifted and compressed"])
def test_a_near_duplicate_of_a_test_image_is_rejected(base: Dataset, tmp_path: Path, how: str) -> None:
    image = read_split(base, "test").images[5]
    shifted = np.roll(image, (1, -1), (0, 1))
    changed = {
        "shifted": shifted,
        "compressed": jpeg(image, 90),
        "darker": (image * 0.6).astype(np.uint8),
        "shifted and compressed": jpeg(shifted, 90),
    }[how]
    done = import_labels(write_pixels(tmp_path / "copy.csv", changed[None], [3]))
    assert done.rejected == {"near-duplicate of a test image": 1}
    assert "test-00005" in rejects_of(done)[0]["reason"]


def test_every_reject_has_its_position_reason_and_row(base: Dataset, new: New, tmp_path: Path) -> None:
    images, labels = new
    images[1] = 0
    label = ["Hat", *labels[1:4].tolist()]
    path = write_pixels(tmp_path / "new.csv", images[:4], label, extra='5,1,2\n"7\xff",' + ",".join(["0"] * 784) + "\n")
    lines = path.read_bytes().split(b"\n")
    done = import_labels(path)
    assert counted(done) == (2, 0, 0, 0, 4)
    rejects = {one["position"]: one for one in rejects_of(done)}
    assert set(rejects) == {"line 2", "line 3", "line 6", "line 7"}
    assert "'Hat'" in rejects["line 2"]["reason"]
    assert rejects["line 3"]["reason"].startswith("outside the dataset's bounds: mean 0, expected 2 to 215")
    for position, one in rejects.items():
        row = one["row"].encode() if "row" in one else base64.b64decode(one["row_base64"])
        assert row == lines[int(position.removeprefix("line ")) - 1]


def test_rejects_are_counted_by_reason_and_not_by_column(base: Dataset, new: New, tmp_path: Path) -> None:
    images, labels = new[0].astype(int), ["Hat", 10, *new[1][2:4].tolist()]
    images[2, 0, 0], images[3, 0, 5] = 256, 300
    done = import_labels(write_pixels(tmp_path / "new.csv", images[:4], labels))
    assert done.rejected == {
        "... is not a whole number from 0 to 9, nor the name of a class": 2,
        "... is not a whole number from 0 to 255": 2,
    }


def test_names_and_cells_that_are_not_utf_8_are_handled_like_others(base: Dataset, new: New, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    (folder / "coat").mkdir(parents=True)
    pictures = {b"caf\xe9.png": write_png(new[0][0]), b"th\xe9.png": write_png(new[0][1]), b"\xe9.png": b"no picture"}
    for name, content in pictures.items():
        (folder / "coat" / os.fsdecode(name)).write_bytes(content)
    done = import_labels(folder)
    assert counted(done) == (2, 0, 0, 0, 1)
    assert rejects_of(done)[0]["position"] == "coat/\\udce9.png"
    assert list(read_manifest(done.dataset).parts[-1].inputs) == [
        "labels/coat/caf\\udce9.png",
        "labels/coat/th\\udce9.png",
    ]
    (folder / "paths.csv").write_bytes(b"path,label\ncoat/caf\xe9.png,Coat\ncoat/\xe8.png,Coat\n")
    done = import_labels(folder / "paths.csv")
    assert counted(done) == (0, 0, 1, 0, 1)
    assert base64.b64decode(rejects_of(done)[0]["row_base64"]) == b"coat/\xe8.png,Coat"
    (folder / "ids.csv").write_bytes(b"id,label\ncaf\xe9,Coat\n")
    assert "no such row in the dataset: caf\\udce9" in rejects_of(import_labels(folder / "ids.csv"))[0]["reason"]


def test_only_files_of_added_images_are_recorded_as_inputs(base: Dataset, new: New, tmp_path: Path) -> None:
    (tmp_path / "p" / "coat").mkdir(parents=True)
    copy = read_split(base, "test").images[5]
    for name, image in (("new", new[0][0]), ("copy", copy)):
        (tmp_path / "p" / "coat" / f"{name}.png").write_bytes(write_png(image))
    done = import_labels(tmp_path / "p")
    assert counted(done) == (1, 0, 0, 0, 1)
    assert list(read_manifest(done.dataset).parts[-1].inputs) == ["labels/coat/new.png"]


def test_a_row_with_a_wrong_number_of_cells_is_rejected_alone(base: Dataset, tmp_path: Path) -> None:
    train = read_split(base, "train")
    other = (train.labels[:3] + 1) % 10
    rows = [(train.ids[0],), (train.ids[1], other[1], other[1]), (train.ids[2], other[2])]
    done = import_labels(write_table(tmp_path / "ids.csv", ("id", "label"), *rows))
    assert done.relabelled == {train.ids[2]: CLASSES[other[2]]}
    assert done.rejected == {"the number of cells differs from that of the columns": 2}


def test_only_csv_line_ends_separate_rows(base: Dataset, new: New, tmp_path: Path) -> None:
    name = "a\u2028b\x0cc.png"
    (tmp_path / name).write_bytes(write_png(new[0][0]))
    assert counted(import_labels(write_table(tmp_path / "t.csv", ("path", "label"), (name, 0)))) == (1, 0, 0, 0, 0)


def test_an_image_with_conflicting_classes_is_rejected(base: Dataset, new: New, tmp_path: Path) -> None:
    images, _ = new
    done = import_labels(write_pixels(tmp_path / "two.csv", images[[0, 0]], [3, 4]))
    assert done.rejected == {"conflicting classes for one image": 2}
    train = read_split(base, "train")
    done = import_labels(write_pixels(tmp_path / "other.csv", train.images[:1], [(train.labels[0] + 1) % 10]))
    assert done.rejected == {"duplicate of a training image of another class": 1}


def test_an_import_that_fails_validation_changes_nothing(base: Dataset, tmp_path: Path, settings: Settings) -> None:
    images, labels = draw(4000, np.random.default_rng(5))
    coats = images[labels == 4]
    before = current_dataset(settings.datasets_dir)
    with pytest.raises(ValidationError, match="class_share"):
        import_labels(write_pixels(tmp_path / "coats.csv", coats, [4] * len(coats)))
    assert current_dataset(settings.datasets_dir) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", "expected .csv, .parquet, .json or a folder"),
        ("a.csv", "id,class\n1,2\n", "columns id, class; expected label and one of path, id, hash"),
        ("a.csv", "", "columns none; expected label and one of path, id, hash"),
        ("a.csv", "id,label,label\n1,2,3\n", "columns id, label, label; expected each once"),
        ("a.csv", ",".join(PIXEL_COLUMNS) + "\n" + ",".join(["0"] * 784) + "\n", "no column label"),
        ("a.parquet", "x", "not a Parquet file"),
        ("none.csv", None, "no such file or folder"),
    ],
)
def test_an_invalid_input_raises(base: Dataset, tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        import_labels(tmp_path / name)


def test_an_import_without_a_dataset_raises(new: New, tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(DatasetError, match="Ingest the archives first"):
        import_labels(write_pixels(tmp_path / "new.csv", *new))


# --- the archives again ---


def test_ingesting_the_archives_again_keeps_imports_and_corrections(
    base: Dataset, ready: Path, new: New, tmp_path: Path, settings: Settings
) -> None:
    """As in a scheduled training with FASHION_SOURCE, even after other archives were in use."""
    train = read_split(base, "train")
    import_labels(write_pixels(tmp_path / "new.csv", *new))
    done = import_labels(write_table(tmp_path / "fix.csv", ("id", "label"), (train.ids[0], (train.labels[0] + 1) % 10)))
    assert ingest(str(ready / "acme")).dataset == done.dataset
    write_sample(tmp_path / "beta", train_rows=200, test_rows=100, seed=9)
    declare_source(tmp_path / "beta", "beta", "MIT")
    assert ingest(str(tmp_path / "beta")).dataset.source == "beta"
    assert ingest(str(ready / "acme")).dataset == done.dataset
    assert current_dataset(settings.datasets_dir) == done.dataset


# --- the inbox ---


def test_each_inbox_item_is_imported_once(base: Dataset, new: New, settings: Settings) -> None:
    images, labels = new
    folder = settings.labelled_dir
    folder.mkdir(parents=True)
    write_pixels(folder / "new.csv", images[:3], labels[:3])
    (folder / "notes.txt").write_text("not a table")
    (folder / "odd" / "a.json").mkdir(parents=True)
    (folder / ".half.csv").write_text("being written")
    for place in (3, 4):
        write_correction(
            folder, Correction(images[place].tobytes(), int(labels[place]), 9, "fashion-mlp:abc"), CONTRACT
        )
    (folder / "made-up.json").write_bytes(orjson.dumps({"label": "Hat"}))
    (folder / "large.json").write_bytes(b"{" + b" " * 5000)
    write_pixels(folder / "hats.csv", images[:2], ["Hat", "Hat"])
    emptied = {one.name.partition("-")[0]: one for one in empty_inbox()}
    assert emptied["notes.txt"].imported is None
    assert emptied["notes.txt"].moved_to.with_name("notes.txt.error.txt").is_file()
    assert "all rows were rejected" in emptied["odd"].error
    assert "all rows were rejected" in emptied["hats.csv"].error
    taken = {name: one.imported for name, one in emptied.items() if one.imported}
    assert {name: counted(done) for name, done in taken.items()} == {
        "new.csv": (3, 0, 0, 0, 0),
        "corrections": (2, 0, 0, 0, 2),
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        ".half.csv",
        ".lock",
        "done",
        "failed",
        "rejects",
        "working",
    ]
    assert list((folder / "working").iterdir()) == []
    assert empty_inbox() == []
    current = current_dataset(settings.datasets_dir)
    assert current
    assert current.rows == base.rows + 5


def test_a_file_being_written_is_left_for_the_next_run(base: Dataset, new: New, settings: Settings) -> None:
    folder = settings.labelled_dir
    (folder / "coat").mkdir(parents=True)
    write_pixels(folder / "new.csv", *new)
    (folder / "coat" / "a.png").write_bytes(b"the beginning of a picture")
    os.utime(folder / "coat", (0, 0))
    assert empty_inbox(settle=60) == []
    os.utime(folder / "new.csv", (0, 0))
    assert [one.name for one in empty_inbox(settle=60)] == ["new.csv"]
    assert (folder / "coat" / "a.png").is_file()


def test_the_import_of_a_killed_run_is_resumed(base: Dataset, new: New, settings: Settings) -> None:
    working = settings.labelled_dir / "working"
    working.mkdir(parents=True)
    write_pixels(working / "new.csv", *new)
    (one,) = empty_inbox()
    assert one.imported
    assert counted(one.imported)[0] == 8


def test_an_irregular_inbox_item_fails_alone(base: Dataset, new: New, settings: Settings, tmp_path: Path) -> None:
    """Links are not followed, pipes do not block, and names may contain any bytes."""
    folder = settings.labelled_dir
    (folder / "pictures" / "Bag").mkdir(parents=True)
    (folder / "notes").mkdir()
    write_pixels(tmp_path / "outside.csv", *new)
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "link.json").symlink_to(tmp_path / "outside.csv")
    for pipe in ("pipe.csv", "pipe.json", "pictures/Bag/pipe.png", "notes/pipe.json"):
        os.mkfifo(folder / pipe)
    write_pixels(folder / os.fsdecode(b"bad\xff\n.csv"), *new)
    long = "n" * 251 + ".txt"
    (folder / long).write_text("not a table")
    found = {one.name: one for one in empty_inbox()}
    assert found.pop("bad\\udcff\\n.csv").imported
    assert {name: one.error.removeprefix(f"{name}: ").partition(";")[0] for name, one in found.items()} == {
        "link.csv": "a link",
        "link.json": "a link",
        "pipe.csv": "not a regular file or folder",
        "pipe.json": "not a regular file or folder",
        "pictures": "all rows were rejected",
        "notes": "all rows were rejected",
        long: "expected .csv, .parquet, .json or a folder",
    }
    assert not [path.name for path in (folder / "working").iterdir()]
    assert (folder / "failed" / f"{long[:200]}.error.txt").is_file()


def test_an_existing_file_is_not_overwritten_even_with_a_long_name(base: Dataset, new: New, settings: Settings) -> None:
    folder = settings.labelled_dir
    folder.mkdir(parents=True)
    for rows in (2, 3):
        write_pixels(folder / ("x" * 251 + ".csv"), new[0][:rows], new[1][:rows])
        assert len(empty_inbox()) == 1
    assert len(list((folder / "done").iterdir())) == 2


def test_an_item_that_kills_every_worker_finally_fails(base: Dataset, new: New, settings: Settings) -> None:
    working = settings.labelled_dir / "working"
    working.mkdir(parents=True)
    for name in ("a.csv", "b.csv", "c.csv", "d.csv", "e.csv"):
        write_pixels(working / name, *new)
    (working / ".attempt").write_text(json.dumps({"name": "a.csv", "attempts": 3}))
    first, *others = empty_inbox()
    assert first.error == "a.csv: its worker died 3 times"
    assert [one.name for one in others] == ["b.csv", "c.csv", "d.csv", "e.csv"]
    assert all(one.imported for one in others)
    assert not list(working.iterdir())


def test_interrupted_imports_of_an_earlier_release_are_resumed(base: Dataset, new: New, settings: Settings) -> None:
    """Items of the earlier layout of `working`: batched corrections, pictures, and a name that looks like a claim."""
    images, labels = new
    working = settings.labelled_dir / "working"
    for place in (0, 1):
        (working / "corrections-20261101T000000").mkdir(parents=True, exist_ok=True)
        write_correction(
            working / "corrections-20261101T000000",
            Correction(images[place].tobytes(), int(labels[place]), 9, "x:y"),
            CONTRACT,
        )
    (working / "photos" / "coat").mkdir(parents=True)
    (working / "photos" / "coat" / "a.png").write_bytes(write_png(images[2]))
    write_pixels(working / "20261101T000000-abcdef-new.csv", images[3:], labels[3:])
    (working / ".attempt").write_text("{")
    found = {one.name: one.imported and counted(one.imported) for one in empty_inbox()}
    assert found == {
        "20261101T000000-abcdef-new.csv": (5, 0, 0, 0, 0),
        "corrections-20261101T000000": (2, 0, 0, 0, 0),
        "photos": (1, 0, 0, 0, 0),
    }
    assert not list(working.iterdir())
    assert {path.name for path in (settings.labelled_dir / "done").iterdir()} == found.keys()


@pytest.mark.parametrize(("attempts", "error"), [(2, ""), (3, "new.csv: its worker died 3 times")])
def test_attempts_are_counted_in_the_claim(
    base: Dataset, new: New, settings: Settings, attempts: int, error: str
) -> None:
    claim = settings.labelled_dir / "working" / "20261101T000000-abcdef-new.csv"
    (claim / "input").mkdir(parents=True)
    write_pixels(claim / "input" / "new.csv", *new)
    note = {"claimed_at": "2026-11-01T00:00:00+00:00", "attempts": attempts}
    (claim / "claim.json").write_text(json.dumps(note))
    (one,) = empty_inbox()
    assert (one.name, one.error) == ("new.csv", error)
    assert one.moved_to.parent.name == ("failed" if error else "done")
    assert not list((settings.labelled_dir / "working").iterdir())


def test_the_time_of_one_run_is_limited(base: Dataset, new: New, settings: Settings) -> None:
    settings.labelled_dir.mkdir(parents=True)
    write_pixels(settings.labelled_dir / "new.csv", *new)
    assert empty_inbox(enough=0) == []
    assert [one.name for one in empty_inbox()] == ["new.csv"]


def test_a_file_that_changes_while_it_is_read_is_rejected(base: Dataset, new: New, tmp_path: Path) -> None:
    path, read = tmp_path / "growing.csv", threading.Event()
    write_pixels(path, new[0].repeat(50, 0), new[1].repeat(50))

    def grow() -> None:
        with path.open("ab") as file:
            while not read.is_set():
                file.write(b"9")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    with pytest.raises(InputError, match="changed while it was read"):
        read_label_input(path, CONTRACT)
    read.set()
    writer.join()


# --- other catalogues ---


@pytest.mark.usefixtures("awkward_settings")
def test_another_catalogue_has_its_own_class_names(tmp_path: Path) -> None:
    ours = ingest(str(write_awkward(tmp_path / "shop"))).dataset
    images, _ = draw_awkward(2, 7)
    folder = tmp_path / "corrections"
    for image in images:
        write_correction(folder, Correction(image.tobytes(), 2, 0, "awkward-mlp:abc"), AWKWARD)
    assert {json.loads(file.read_bytes())["label"] for file in folder.iterdir()} == {"3"}
    assert import_labels(folder).added == {"3": 2}
    table = write_table(
        tmp_path / "labels.csv", ("id", "label"), ("train-00000", "3"), ("train-00001", "KIDS  2-6"), ("train-00002", 0)
    )
    done = import_labels(table)
    assert done.relabelled == {"train-00000": "3"}
    assert (done.known, done.rejected) == (1, {"found ..., expected one of 10, Kids 2-6, 3": 1})
    labels = read_split(done.dataset, "train").labels.tolist()
    assert labels == [2, *read_split(ours, "train").labels[1:].tolist(), 2, 2]
    assert done.dataset.contract == AWKWARD


@pytest.mark.usefixtures("awkward_settings")
def test_a_flat_image_is_rejected_in_any_catalogue(tmp_path: Path) -> None:
    ingest(str(write_awkward(tmp_path / "shop")))
    flat = np.broadcast_to(np.array([200, 60, 60], np.uint8), AWKWARD.image.shape)
    write_correction(tmp_path / "corrections", Correction(flat.tobytes(), 2, 0, "awkward-mlp:abc"), AWKWARD)
    done = import_labels(tmp_path / "corrections")
    assert done.rejected == {"outside the dataset's bounds": 1}


@pytest.mark.usefixtures("awkward_settings")
def test_a_correction_with_another_image_shape_is_rejected(tmp_path: Path) -> None:
    ingest(str(write_awkward(tmp_path / "shop")))
    images, _ = draw(1, np.random.default_rng(0))
    write_correction(tmp_path / "corrections", Correction(images.tobytes(), 2, 0, "fashion-mlp:abc"), CONTRACT)
    done = import_labels(tmp_path / "corrections")
    assert (done.changed, sum(done.rejected.values())) == (False, 1)
