"""Finding raw examples by name, or in folders with common layouts and other files in them."""

import gzip
import io
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mirrors import downloading, mirror, sample_is_official  # noqa: F401, fixtures
from PIL import Image
from readings import PIXEL_COLUMNS

from components.catalogues import OFFICIAL
from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.sample import draw
from components.contract import SAMPLE, Images, Labels
from components.dataset.archives import (
    FILES,
    declare_source,
)
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.dataset.parts import Ingested
from components.dataset.sources import Source, find_source
from components.errors import DatasetError, SettingsError, SourceError, SourceUnreachable
from components.settings import Settings

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES
HF_NAMES = [name if name != "T-shirt/top" else "T - shirt / top" for name in CLASSES]
ROWS = {"train": 200, "test": 120}


@pytest.fixture(scope="module")
def splits() -> dict[str, tuple[Images, Labels]]:
    generator = np.random.default_rng(5)
    return {split: draw(rows, generator) for split, rows in ROWS.items()}


def source_of(path: Path) -> Source:
    return find_source(str(path), Settings(), CONTRACT)


def assert_holds(source: Source, splits: dict[str, tuple[Images, Labels]], *names: str) -> None:
    """Check that a source has exactly these splits, with the same images in the same order."""
    assert set(source.digests) == set(names)
    assert source.extends == ("test" not in names)
    for split in ("train", "test"):
        if split in names:
            images, labels = source.read(split)
            assert np.array_equal(images, splits[split][0])
            assert np.array_equal(labels, splits[split][1])


# --- IDX files ---


def put_archives(archives: Path, folder: Path, kind: str) -> Path:
    """Copy the four files gzipped, extracted, both, mixed, or extracted under Kaggle's names."""
    folder.mkdir(parents=True)
    for number, file in enumerate(FILES):
        extracted = file.removesuffix(".gz").replace("-idx", ".idx" if kind == "dots" else "-idx")
        if kind in ("gzipped", "both") or (kind == "mixed" and number % 2):
            shutil.copy(archives / file, folder / file)
        if kind in ("extracted", "both", "dots") or (kind == "mixed" and not number % 2):
            (folder / extracted).write_bytes(gzip.decompress((archives / file).read_bytes()))
    return folder


@pytest.mark.usefixtures("sample_is_official")
@pytest.mark.parametrize("kind", ["extracted", "both", "mixed", "dots"])
def test_extracted_and_gzipped_files_give_the_same_version(archives: Path, tmp_path: Path, kind: str) -> None:
    folders = [put_archives(archives, tmp_path / name, name) for name in ("gzipped", kind)]
    gzipped, other = (ingest(str(folder), settings=Settings(data_dir=tmp_path / "data")) for folder in folders)
    assert other.dataset == gzipped.dataset
    assert (gzipped.written, other.written, other.dataset.source) == (True, False, OFFICIAL.contract.name)
    assert len(other.left_out) == (4 if kind == "both" else 0)


@pytest.mark.usefixtures("sample_is_official")
@pytest.mark.parametrize(
    "place",
    [
        "",
        "raw",
        "FashionMNIST/raw",
        "datasets/fashion-mnist",
        "fashion-mnist",
        "data/fashion",
    ],
)
def test_files_are_found_in_the_folders_of_common_tools(archives: Path, tmp_path: Path, place: str) -> None:
    """The folders of torchvision, Keras and the dataset's own repository."""
    put_archives(archives, tmp_path / "root" / place, "both")
    assert source_of(tmp_path / "root").name == OFFICIAL.contract.name


@pytest.mark.usefixtures("sample_is_official")
def test_a_changed_extracted_file_is_named(archives: Path, tmp_path: Path) -> None:
    folder = put_archives(archives, tmp_path / "raw", "extracted")
    path = folder / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"t10k-images-idx3-ubyte: found SHA-256 .*expected the official"):
        source_of(folder)


def test_extracted_files_of_another_set_declare_themselves(archives: Path, tmp_path: Path) -> None:
    folder = put_archives(archives, tmp_path / "acme", "extracted")
    declare_source(folder, "acme", "MIT")
    assert set(json.loads((folder / "source.json").read_bytes())["sha256"]) == {f.removesuffix(".gz") for f in FILES}
    source = source_of(folder)
    assert (source.name, len(source.read("train")[0])) == ("acme", 600)


def test_a_missing_extracted_file_is_named(archives: Path, tmp_path: Path) -> None:
    folder = put_archives(archives, tmp_path / "raw", "extracted")
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(SourceError, match=r"missing train-labels-idx1-ubyte\.gz$"):
        source_of(folder)


# --- Hugging Face's Parquet ---


def encode(image: Images, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return content.getvalue()


def write_hf(path: Path, images: Images, labels: Labels, names: list[str]) -> Path:
    """Write Parquet like Hugging Face `datasets`: the label is an index into the schema's names."""
    numbers = [[name.replace(" ", "") for name in names].index(CLASSES[label].replace(" ", "")) for label in labels]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [{"bytes": encode(image), "path": None} for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table([rows, numbers], schema=schema), path)
    return path


@pytest.mark.parametrize("place", ["", "data", "fashion_mnist", "snapshots/0a1b2c/fashion_mnist"])
def test_hugging_face_parquet_is_a_dataset(
    tmp_path: Path, splits: dict[str, tuple[Images, Labels]], place: str
) -> None:
    for split, (images, labels) in splits.items():
        write_hf(tmp_path / "fm" / place / f"{split}-00000-of-00001.parquet", images, labels, HF_NAMES)
    (tmp_path / "fm" / place / "README.md").write_text("a card")
    source = source_of(tmp_path / "fm")
    assert_holds(source, splits, "train", "test")
    assert (source.name, source.left_out) == ("parquet:fm", ("README.md",))


def test_classes_are_matched_by_name_and_not_by_position(
    tmp_path: Path, splits: dict[str, tuple[Images, Labels]]
) -> None:
    for split, (images, labels) in splits.items():
        write_hf(tmp_path / f"{split}.parquet", images, labels, sorted(HF_NAMES))
    assert_holds(source_of(tmp_path), splits, "train", "test")


def test_an_unknown_class_is_named(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    images, labels = splits["train"]
    path = write_hf(tmp_path / "train.parquet", images, labels, HF_NAMES)
    schema = pq.read_schema(path)
    meta = schema.metadata[b"huggingface"].replace(b'"Bag"', b'"Hat"')
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"huggingface": meta}), path)
    message = r"train\.parquet: 20 bad row\(s\), nothing was ingested: row \d+: found label 'Hat'"
    with pytest.raises(SourceError, match=message):
        source_of(path).read("train")


def test_a_missing_shard_is_reported(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    images, labels = splits["train"]
    for number in (0, 2):
        write_hf(tmp_path / f"train-{number:05}-of-00003.parquet", images[number::3], labels[number::3], HF_NAMES)
    with pytest.raises(SourceError, match="expected 3 shards for the train split, found train-00000-of-00003"):
        source_of(tmp_path)
    write_hf(tmp_path / "train-00001-of-00003.parquet", images[1::3], labels[1::3], HF_NAMES)
    found, _ = source_of(tmp_path).read("train")
    assert np.array_equal(found, np.concatenate([images[number::3] for number in range(3)]))


def test_a_row_without_a_picture_is_named(tmp_path: Path) -> None:
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.string())])
    rows = [{"bytes": None, "path": "/etc/passwd"}]
    pq.write_table(pa.table([rows, ["Coat"]], schema=schema), tmp_path / "train.parquet")
    with pytest.raises(SourceError, match="row 1: no picture bytes; paths in the image column are not read"):
        source_of(tmp_path / "train.parquet").read("train")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"label,pixel1\n"])
def test_an_invalid_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"train\.parquet: not a Parquet file, or damaged"):
        source_of(tmp_path / "train.parquet").read("train")


# --- Kaggle's CSV ---


def write_csv(path: Path, images: Images, labels: Labels) -> None:
    header = ",".join(["label", *PIXEL_COLUMNS])
    rows = (",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True))
    path.write_text("\n".join([header, *rows]) + "\n")


def test_two_kaggle_csv_files_are_a_dataset(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    for split, examples in splits.items():
        write_csv(tmp_path / f"fashion-mnist_{split}.csv", *examples)
    assert_holds(source_of(tmp_path), splits, "train", "test")


@pytest.mark.usefixtures("sample_is_official")
def test_the_official_files_of_a_kaggle_folder_are_preferred(
    archives: Path, tmp_path: Path, splits: dict[str, tuple[Images, Labels]]
) -> None:
    folder = put_archives(archives, tmp_path / "kaggle", "extracted")
    for split, examples in splits.items():
        write_csv(folder / f"fashion-mnist_{split}.csv", *examples)
    source = source_of(folder)
    assert source.name == OFFICIAL.contract.name
    assert source.left_out == ("fashion-mnist_test.csv", "fashion-mnist_train.csv")


def test_two_files_for_one_split_are_both_named(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    for name in ("train.csv", "fashion-mnist_train.csv"):
        write_csv(tmp_path / name, *splits["train"])
    with pytest.raises(SourceError, match=r"2 files match the train split: fashion-mnist_train\.csv, train\.csv"):
        source_of(tmp_path)


def test_a_test_split_without_a_train_split_is_rejected(
    tmp_path: Path, splits: dict[str, tuple[Images, Labels]]
) -> None:
    write_csv(tmp_path / "test.csv", *splits["test"])
    with pytest.raises(SourceError, match=r"found test\.csv, but no \.csv file for the train split"):
        source_of(tmp_path)


# --- class folders ---


def write_folders(root: Path, images: Images, labels: Labels, suffix: str = ".png") -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / CLASSES[label].replace("/", "_") / f"{number:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image, {".png": "PNG", ".webp": "WEBP"}[suffix.lower()]))


def in_folder_order(images: Images, labels: Labels) -> tuple[Images, Labels]:
    names = np.array([CLASSES[label].replace("/", "_") for label in labels])
    order = np.argsort(names, kind="stable")
    return images[order], labels[order]


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "TESTING")])
def test_train_and_test_folders_are_a_dataset(
    tmp_path: Path, splits: dict[str, tuple[Images, Labels]], names: tuple[str, str]
) -> None:
    for name, examples in zip(names, splits.values(), strict=True):
        write_folders(tmp_path / "shop" / name, *examples)
    ordered = {split: in_folder_order(*examples) for split, examples in splits.items()}
    assert_holds(source_of(tmp_path / "shop"), ordered, "train", "test")


def test_pictures_are_the_same_input_with_and_without_a_train_folder(
    tmp_path: Path, splits: dict[str, tuple[Images, Labels]]
) -> None:
    write_folders(tmp_path / "one" / "train", *splits["train"])
    write_folders(tmp_path / "other", *splits["train"])
    assert source_of(tmp_path / "one").digests == source_of(tmp_path / "other").digests


LITTER = (
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "Coat/.DS_Store",
    "Coat/._000.png",
    "Coat/Thumbs.db",
    ".ipynb_checkpoints/000-checkpoint.png",
    "Coat/.ipynb_checkpoints/000-checkpoint.png",
    "__MACOSX/Coat/._000.png",
)


def test_system_files_are_ignored_and_listed(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    write_folders(tmp_path, *splits["train"])
    for name in LITTER:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"litter")
    source = source_of(tmp_path)
    assert_holds(source, {"train": in_folder_order(*splits["train"])}, "train")
    tops = {".ipynb_checkpoints", "__MACOSX", "Coat/.ipynb_checkpoints"}
    assert set(source.left_out) == {name for name in LITTER if "ipynb" not in name and "MACOSX" not in name} | tops


@pytest.mark.parametrize("suffix", [".webp", ".WEBP", ".PNG"])
def test_webp_and_upper_case_suffixes_are_read(
    tmp_path: Path, splits: dict[str, tuple[Images, Labels]], suffix: str
) -> None:
    write_folders(tmp_path, *splits["train"], suffix)
    images, labels = source_of(tmp_path).read("train")
    expected = in_folder_order(*splits["train"])
    assert np.array_equal(labels, expected[1])
    assert images.shape == expected[0].shape
    if suffix == ".PNG":
        assert np.array_equal(images, expected[0])


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_within_the_folder_is_read(tmp_path: Path, splits: dict[str, tuple[Images, Labels]], what: str) -> None:
    images, labels = splits["train"]
    write_folders(tmp_path / "shop", images, labels)
    bag = tmp_path / "shop" / "Bag"
    if what == "file":
        (bag / "zzz.png").symlink_to(next(iter(bag.iterdir())))
    else:
        shutil.move(bag, tmp_path / "shop" / "8")
        bag.symlink_to("8")
    found = source_of(tmp_path / "shop").read("train")[1]
    assert (found == 8).sum() == (labels == 8).sum() * (1 if what == "file" else 2) + (what == "file")


def test_a_broken_link_is_named(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    write_folders(tmp_path, *splits["train"])
    (tmp_path / "Bag" / "zzz.png").symlink_to("missing.png")
    with pytest.raises(SourceError, match=r"Bag/zzz\.png: expected a picture"):
        source_of(tmp_path)


def test_a_link_outside_the_folder_is_named(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    write_folders(tmp_path / "shop", *splits["train"])
    (tmp_path / "outside.png").write_bytes(encode(splits["train"][0][0]))
    (tmp_path / "shop" / "Bag" / "zzz.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(SourceError, match=r"Bag/zzz\.png: links outside .*shop, which is not followed"):
        source_of(tmp_path / "shop")


def test_validation_folders_are_ignored_and_listed(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    for name in ("train", "val", "test"):
        write_folders(tmp_path / name, *splits["test" if name == "test" else "train"])
    assert source_of(tmp_path).left_out == ("val",)


def test_the_polarity_is_decided_for_the_whole_set(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    """A garment that fills its frame is not a negative if the other images have a dark background."""
    images, labels = splits["train"][0].copy(), splits["train"][1]
    images[0] = 200
    images[0, 5:20, 5:20] = 90
    write_folders(tmp_path, images, labels)
    assert np.array_equal(source_of(tmp_path).read("train")[0], in_folder_order(images, labels)[0])


# --- missing splits and unknown layouts ---


def test_examples_without_a_test_split_are_added_to_an_existing_dataset_only(
    tmp_path: Path, archives: Path, splits: dict[str, tuple[Images, Labels]]
) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    write_folders(tmp_path / "shop", *splits["train"])
    with pytest.raises(DatasetError, match=r"images:shop: has no test split, .*Ingest the archives first"):
        ingest(str(tmp_path / "shop"), settings=settings)
    base = ingest(str(archives), settings=settings)
    done: Ingested = ingest(str(tmp_path / "shop"), settings=settings)
    assert (base.added, done.added) == (False, True)
    assert done.dataset.rows == base.dataset.rows + ROWS["train"]


def test_a_source_with_a_test_split_is_a_full_dataset(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    for split, examples in splits.items():
        write_hf(tmp_path / "fm" / f"{split}-00000-of-00001.parquet", *examples, HF_NAMES)
    done = ingest(str(tmp_path / "fm"), settings=Settings(data_dir=tmp_path / "data"))
    assert (done.added, done.dataset.rows) == (False, sum(ROWS.values()))
    assert np.array_equal(read_split(done.dataset, "test").images, splits["test"][0])
    again = ingest(str(tmp_path / "fm"), settings=Settings(data_dir=tmp_path / "data"))
    assert (again.written, again.dataset) == (False, done.dataset)


def nothing(folder: Path) -> None:
    pass


def some_files(folder: Path) -> None:
    for name in ("a.npz", "b.pkl", "hat/1.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(("fill", "found"), [(nothing, "found nothing"), (some_files, r"found a\.npz, b\.pkl, hat/")])
def test_an_unknown_layout_raises(tmp_path: Path, fill: Callable[[Path], None], found: str) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    fill(folder)
    message = rf"odd: {found}; expected the four IDX archives, one folder of pictures per class, or Parquet or CSV"
    with pytest.raises(SourceError, match=message):
        source_of(folder)


def test_tables_next_to_class_folders_raise(tmp_path: Path, splits: dict[str, tuple[Images, Labels]]) -> None:
    write_csv(tmp_path / "train.csv", *splits["train"])
    write_folders(tmp_path, *splits["train"])
    with pytest.raises(SourceError, match=r"found tables \(train\.csv\) and class folders"):
        source_of(tmp_path)


# --- source names ---


@pytest.fixture
def offline(downloading: Settings) -> Settings:
    return downloading.model_copy(update={"mirrors": ("http://127.0.0.1:1",), "download_attempts": 1})


@pytest.mark.parametrize("name", ["nowhere", "/nowhere/at/all", "~nosuchuser/archives", "smaple", "a\0b"])
def test_an_unknown_source_name_raises(offline: Settings, name: str) -> None:
    with pytest.raises(
        SettingsError, match=r"no such file or folder: .*; expected a path, auto, download or sample"
    ) as refused:
        find_source(name, offline, CONTRACT)
    assert name in str(refused.value)


def test_an_unsupported_file_raises(offline: Settings, archives: Path) -> None:
    with pytest.raises(SettingsError, match=r"expected a labelled \.csv or \.parquet file, or a folder"):
        find_source(str(archives / TRAIN_IMAGES), offline, CONTRACT)


def test_archives_in_the_raw_folder_need_no_network(offline: Settings, archives: Path) -> None:
    shutil.copytree(archives, offline.raw_dir, ignore=shutil.ignore_patterns("source.json"))
    assert find_source("auto", offline, CONTRACT).name == OFFICIAL.contract.name


@pytest.mark.parametrize("fallback", [True, False])
def test_damaged_archives_are_never_replaced_by_the_sample(offline: Settings, archives: Path, fallback: bool) -> None:
    shutil.copytree(archives, offline.raw_dir, ignore=shutil.ignore_patterns("source.json"))
    (offline.raw_dir / TRAIN_LABELS).write_bytes(b"damaged")
    with pytest.raises(SourceError, match=f"{TRAIN_LABELS}: found MD5 "):
        find_source("auto", offline, CONTRACT, sample_fallback=fallback)


def test_without_a_network_the_error_suggests_a_remedy(offline: Settings) -> None:
    with pytest.raises(SourceUnreachable) as refused:
        find_source("auto", offline, CONTRACT)
    assert f"Put the four archives into {offline.raw_dir}, or set FASHION_SOURCE" in str(refused.value)
    assert "http://127.0.0.1:1/train-images" in str(refused.value)
    assert not offline.sample_dir.exists()


@pytest.mark.parametrize("fallback", [True, False])
def test_only_auto_falls_back_to_the_sample(offline: Settings, fallback: bool) -> None:
    with pytest.raises(SourceUnreachable):
        find_source("download", offline, CONTRACT, sample_fallback=fallback)


def test_the_fallback_is_logged(offline: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "components"):
        source = find_source("auto", offline, CONTRACT, sample_fallback=True)
    assert source.name == SAMPLE
    first, second = caplog.messages
    assert first.startswith("Fashion-MNIST could not be reached (train-images-idx3-ubyte.gz could not be downloaded")
    assert second == "Using a synthetic sample instead. Everything made from it is marked 'sample'."
    assert len(source.read("train")[0]) == 4000
    assert len(source.read("test")[0]) == 1000
