"""Every kind of source that can start a catalogue, in the formats that common tools write."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from photos import draw_photo, encode_photo, write_photos

from components.contract import Images, ImageSpec
from components.dataset.own.rows import SourceRow, SourceRows, order_names
from components.dataset.own.sources import read_source
from components.dataset.own.tables import TableOptions
from components.errors import SettingsError, SourceError
from components.readers.images.idx import encode_idx

NAMES = ("hat", "10", "NaN")
COUNTS = dict.fromkeys(NAMES, 4)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", COUNTS)


def read(path: Path, **options: Any) -> SourceRows:
    return read_source(path, TableOptions(**options))


def counts(source: SourceRows) -> dict[tuple[str | None, str], int]:
    return dict(Counter((row.split, row.label) for row in source.rows))


def images_of(rows: Iterable[SourceRow]) -> Images:
    return np.array([row.picture for row in rows])


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows in the format of the suffix."""
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


# --- tables of paths ---


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("path", "label"), [("path", "label"), ("file_name", "class"), ("image", "category")])
def test_a_table_of_paths(photos: Path, suffix: str, path: str, label: str) -> None:
    rows = [
        {
            path: f"{file.parent.name}/{file.name}",
            label: file.parent.name,
            "split": "train" if file.stem != "003" else "test",
        }
        for file in sorted(photos.rglob("*.png"))
    ]
    source = read(write_rows(photos / f"labels{suffix}", rows))
    assert counts(source) == {(split, name): times for name in NAMES for split, times in (("train", 3), ("test", 1))}
    assert (source.classes, source.root, source.has_test_split) == (("10", "NaN", "hat"), photos, True)
    assert read(photos).rows == source.rows, "the folder and its table give the same rows"


def test_paths_are_relative_to_the_given_root(photos: Path, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "labels.csv", [{"path": "hat/000.png", "label": "hat"}])
    assert read(table, root=photos).root == photos


def test_rows_have_the_group_of_their_column(photos: Path) -> None:
    rows = [{"path": f"hat/{number:03}.png", "label": "hat", "seller": f"s{number % 2}"} for number in range(4)]
    table = write_rows(photos / "labels.csv", rows)
    assert [row.group for row in read(table, group="seller").rows] == ["s0", "s1", "s0", "s1"]
    assert [row.group for row in read(table).rows] == [""] * 4
    with pytest.raises(SourceError, match="expected a group column 'maker', found path, label"):
        read(table, group="maker")


@pytest.mark.parametrize("path", ["../hat/000.png", "/etc/passwd", "https://shop/hat.png", ""])
def test_a_path_outside_the_root_is_rejected(photos: Path, path: str) -> None:
    rows = [{"path": path, "label": "hat"}, {"path": "10/000.png", "label": "10"}, {"path": "10/001.png", "label": " "}]
    source = read(write_rows(photos / "labels.csv", rows))
    assert (len(source.rows), len(source.rejected)) == (1, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"path": "hat/000.png"}], "expected a column label, found path"),
        ([{"label": "hat", "price": "3"}], r"no path column \(path, file_name, filename, \.\.\.\)\. .*--image"),
        ([{"path": "a", "label": "hat", "split": "holdout"}], "row 1: found split 'holdout', expected train or test"),
        ([{"path": "a", "label": "hat", "split": "test"}], "found a test split only"),
        (
            [{"path": "a", "label": "hat", "split": "test"}, {"path": "b", "label": "hat", "split": ""}],
            r"row 2 \(b\) has no split, but other rows do",
        ),
    ],
)
def test_an_unreadable_table_raises(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(write_rows(tmp_path / "labels.csv", rows))


# --- pictures in Parquet ---


@pytest.mark.parametrize("are_named", [True, False])
def test_hugging_face_parquet_is_read(tmp_path: Path, are_named: bool) -> None:
    declared = ["hat", "10", "NaN", "never seen"]
    pictures = [
        {"bytes": encode_photo(draw_photo(label, number)), "path": None} for label in (2, 0) for number in range(3)
    ]
    table = pa.table({"image": pictures, "label": pa.array([2, 2, 2, 0, 0, 0], pa.int64())})
    if are_named:
        features = {"label": {"names": declared, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for split in ("train", "test"):
        pq.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    source = read(tmp_path)
    names = ("NaN", "hat") if are_named else ("2", "0")
    assert counts(source) == {(split, name): 3 for split in ("train", "test") for name in names}
    assert source.classes == (("10", "NaN", "hat", "never seen") if are_named else ("0", "2"))


def test_pictures_in_parquet_may_have_groups(tmp_path: Path) -> None:
    pictures = [encode_photo(draw_photo(row % 2, row)) for row in range(4)]
    table = pa.table({"image": pictures, "label": ["a", "b"] * 2, "seller": [7, 7, None, 9]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert [row.group for row in read(tmp_path, group="seller").rows] == ["7", "7", "", "9"]
    with pytest.raises(SourceError, match="expected a group column 'maker', found image, label, seller"):
        read(tmp_path, group="maker")


def test_pictures_in_parquet_may_have_a_split(tmp_path: Path) -> None:
    pictures = [encode_photo(draw_photo(row % 2, row)) for row in range(6)]
    splits = ["train", "train", "Test", "test", "val", "training"]
    pq.write_table(pa.table({"image": pictures, "label": ["a", "b"] * 3, "split": splits}), tmp_path / "rows.parquet")
    source = read(tmp_path)
    assert [row.split for row in source.rows] == ["train", "train", "test", "test", "train"]
    assert [(one.name, one.label) for one in source.rejected] == [("row 5", "a")]
    assert source.rejected[0].reason.startswith("validation row")


# --- pixels ---


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_pixels_of_any_size(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8 * 9), np.uint8)
    table = pd.DataFrame(pixels, columns=[f"pixel{number}" for number in range(1, 73)])
    table.insert(0, "label", ["b", "a", "b", "a", "b", "a"])
    path = tmp_path / f"rows{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    source = read(path, image=ImageSpec(8, 9))
    assert (source.image, source.classes) == (ImageSpec(8, 9), ("a", "b"))
    assert np.array_equal(images_of(row for row in source.rows), pixels.reshape(6, 8, 9))
    assert [row.label for row in source.rows] == ["b", "a"] * 3
    table["seller"] = "s"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    with pytest.raises(SourceError, match="--group works for tables of paths or pictures, not of pixels"):
        read(path, image=ImageSpec(8, 9), group="seller")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_pixels_may_have_a_split_column(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"

    def write(splits: list[str]) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (6, 64), np.uint8)
        table = pd.DataFrame(pixels, columns=[f"pixel{number}" for number in range(1, 65)])
        table.insert(0, "label", ["a", "b"] * 3)
        table["split"] = splits
        table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)

    write(["train", "train", "Test", "test", "val", "training"])
    source = read(path, image=ImageSpec(8, 8))
    assert [row.split for row in source.rows] == ["train", "train", "test", "test", "train"]
    assert [one.label for one in source.rejected] == ["a"]
    write(["train"] * 5 + ["holdout"])
    with pytest.raises(SourceError, match="split 'holdout', expected train or test"):
        read(path, image=ImageSpec(8, 8))
    write(["train"] * 5 + [""])
    with pytest.raises(SourceError, match="has no split, but other rows do"):
        read(path, image=ImageSpec(8, 8))


# --- arrays ---


def arrays(rows: int, shape: tuple[int, ...]) -> tuple[Images, Images]:
    generator = np.random.default_rng(rows)
    return generator.integers(0, 256, (rows, *shape), np.uint8), (np.arange(rows) % 12).astype(np.uint8)


@pytest.mark.parametrize("shape", [(8, 8), (20, 24, 3)])
@pytest.mark.parametrize(
    "form", ["train-{}-idx{}-ubyte.gz", "emnist-letters-train-{}-idx{}-ubyte.gz", "train-{}.idx{}-ubyte.gz"]
)
def test_idx_files_of_any_name_and_size(tmp_path: Path, form: str, shape: tuple[int, ...]) -> None:
    for split, rows in (("train", 24), ("test", 12)):
        images, labels = arrays(rows, shape)
        name = form.replace("train", "t10k" if split == "test" else "train")
        (tmp_path / name.format("images", images.ndim)).write_bytes(encode_idx(images))
        (tmp_path / name.format("labels", 1)).write_bytes(encode_idx(labels))
    source = read(tmp_path)
    assert source.classes == tuple(map(str, range(12))), "numbers by value: 2 before 10"
    assert counts(source) == {(split, str(label)): n for split, n in (("train", 2), ("test", 1)) for label in range(12)}
    assert np.array_equal(images_of(row for row in source.rows if row.split == "test"), arrays(12, shape)[0])


@pytest.mark.parametrize("dimensions", [(), (1,), (3,)])
def test_an_npz_in_the_keras_layout(tmp_path: Path, dimensions: tuple[int, ...]) -> None:
    (x, y), (x_test, y_test) = arrays(24, (9, 8, *dimensions)), arrays(12, (9, 8, *dimensions))
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y[:, None], x_test=x_test, y_test=y_test)
    source = read(tmp_path / "mnist.npz")
    assert source.image == ImageSpec(9, 8, 3 if dimensions == (3,) else 1)
    assert counts(source)["train", "11"] == 2
    assert read(tmp_path).rows[0].name == source.rows[0].name


GREY = arrays(4, (9, 8))[0]


def save(**named: Any) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "a.npz", **named)


def touch(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).write_bytes(b"") for name in names]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (save(x_train=GREY / 255, y_train=np.arange(4)), r"train images are float64 \(4, 9, 8\), expected uint8"),
        (save(x_train=GREY), "expected x_train and y_train, found x_train"),
        (save(images=GREY), "expected x_train and y_train, found neither"),
        (save(x_train=GREY, y_train=np.arange(3)), "4 train images but 3 labels"),
        (save(x_train=np.array([{}], object), y_train=np.arange(1)), "not an .npz file, or damaged: Object arrays"),
        (save(x_train=arrays(4, (200, 8))[0], y_train=np.arange(4)), "expected sides of 8 to 128 pixels"),
        (lambda folder: (folder / "a.npz").write_bytes(b"PK\3\4 torn"), "not an .npz file, or damaged"),
        (touch("a-train-images-idx3-ubyte", "b-train-images-idx3-ubyte"), r"files of 2 datasets \(a-, b-\)"),
        (touch("train-images-idx3-ubyte"), "the labels of the train split are missing"),
        (touch("a.csv", "b.csv"), "several tables, but the name of a.csv starts with neither train nor test"),
    ],
)
def test_unreadable_arrays_raise(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    write(tmp_path)
    with pytest.raises(SourceError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "a.docx"])
def test_a_path_that_is_not_a_source_raises(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.docx").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"one folder of pictures per class, a table"):
        read(tmp_path / name)


@pytest.mark.parametrize("options", [{"group": "seller"}, {"root": Path()}])
def test_table_options_are_rejected_for_a_folder(photos: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"--root and --group are for tables, but images:photos is not one"):
        read(photos, **options)


def test_class_names_are_ordered() -> None:
    assert order_names(["10", "9", "1"]) == ["1", "9", "10"]
    assert order_names(["b", "10", "9"]) == ["10", "9", "b"]
