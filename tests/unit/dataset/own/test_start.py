"""Custom catalogues, from the first source to a source that grows."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import embedding_of, make_network, write_network
from photos import draw_photo, encode_photo, write_photos
from PIL import Image
from sklearn.datasets import load_digits

from components.contract import Dataset, Embedding, Images, ImageSpec
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import current_dataset, read_split
from components.dataset.own import start as own_start
from components.dataset.own.rows import digest_of
from components.dataset.own.start import StartOptions, rejected_path
from components.dataset.parts import Ingested
from components.dataset.validate import validate
from components.errors import DatasetError, FashionError, SettingsError, SourceError
from components.networks.embedder import kept_path
from components.networks.sources import Network, is_kept
from components.readers.images.idx import encode_idx
from components.settings import Settings

COUNTS = {"hat": 20, "10": 12, "Kids 2-6": 14}


@pytest.fixture
def shop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FASHION_CATALOGUE", "shop")
    return Settings()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", COUNTS)


def start(path: Path, **options: Any) -> Ingested:
    return ingest(str(path), options=StartOptions(**options))


def rows_of(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """Map the digest in each row's id to its split and class name."""
    return {
        row_id.rpartition("-")[2]: (split, examples.contract.classes[label])
        for split in ("train", "test")
        for examples in [read_split(dataset, split)]
        for row_id, label in zip(examples.ids, examples.labels.tolist(), strict=True)
    }


def reasons(dataset: Dataset) -> dict[str, str]:
    lines = rejected_path(dataset).read_bytes().splitlines()
    return {one["name"]: one["reason"] for one in map(json.loads, lines)}


@pytest.mark.usefixtures("shop")
def test_class_folders_start_a_catalogue(photos: Path, shop: Settings) -> None:
    lines: list[str] = []
    done = ingest(str(photos), echo=lines.append)
    contract = done.dataset.contract
    assert (contract.name, contract.classes, str(contract.image)) == ("shop", ("10", "Kids 2-6", "hat"), "28 x 28 x 1")
    assert (done.written, done.dataset.rows, done.dataset.source) == (True, 46, "images:photos")
    assert done.dataset.path.is_relative_to(shop.data_dir / "catalogues" / "shop")
    found = list(rows_of(done.dataset).values())
    tests = {name: found.count(("test", name)) for name in contract.classes}
    assert tests == {"10": 2, "Kids 2-6": 2, "hat": 3}
    assert {name: tests[name] + found.count(("train", name)) for name in tests} == COUNTS
    assert (lines[0], lines[4]) == ("reading 46 pictures from images:photos", "  hat: 17 for training, 3 for testing")
    assert not start(photos).written


@pytest.mark.usefixtures("shop")
def test_the_split_depends_on_content_and_not_on_file_names(photos: Path, tmp_path: Path) -> None:
    before = rows_of(start(photos).dataset)
    other = tmp_path / "elsewhere"
    for folder in photos.iterdir():
        (other / folder.name / "deep" / "down").mkdir(parents=True)
        for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
            shutil.copy(path, other / folder.name / "deep" / "down" / f"z{number}.png")
    assert rows_of(start(other, replace=True).dataset) == before


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("text", "shape"), [("32x24x3", (32, 24, 3)), ("9X8", (9, 8))])
def test_the_image_option_sets_the_image_shape(photos: Path, text: str, shape: tuple[int, ...]) -> None:
    dataset = start(photos, image=ImageSpec.parse(text)).dataset
    assert read_split(dataset, "train").images.shape[1:] == shape


def test_the_environment_sets_the_image_shape(photos: Path, shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_IMAGE", "16x16x3")
    assert ingest(str(photos)).dataset.contract.image == ImageSpec(16, 16, 3)
    monkeypatch.setenv("FASHION_IMAGE", "16 by 16")
    with pytest.raises(SettingsError, match=r"FASHION_IMAGE: .*expected HEIGHTxWIDTHxCHANNELS"):
        ingest(str(photos))


@pytest.mark.usefixtures("shop")
def test_unreadable_files_are_rejected_with_reasons(photos: Path, tmp_path: Path) -> None:
    (photos / "hat" / "notes.txt").write_text("not a picture")
    (photos / "hat" / "torn.png").write_bytes((photos / "hat" / "000.png").read_bytes()[:150])
    (photos / "10" / ".DS_Store").write_bytes(b"")
    (photos / "stray.png").write_bytes(b"")
    (photos / "README.md").write_text("ours")
    (photos / "10" / "again.png").write_bytes((photos / "10" / "003.png").read_bytes())
    (photos / "hat" / "of 10.png").write_bytes((photos / "10" / "005.png").read_bytes())
    (tmp_path / "outside").mkdir()
    (photos / "10" / "link").symlink_to(tmp_path / "outside")
    done = start(photos)
    found = reasons(done.dataset)
    copy = found.keys() & {"10/again.png", "10/003.png"}
    assert len(copy) == 1
    named = {"hat/notes.txt", "hat/torn.png", "stray.png", "10/link", "10/005.png", "hat/of 10.png"}
    assert found.keys() == named | copy
    assert found["stray.png"] == "not in a class folder"
    assert "not a PNG" in found["hat/notes.txt"]
    assert found["10/link"] == "a link outside the source, which is not followed"
    assert found["10/005.png"] == found["hat/of 10.png"] == "duplicates under 10 and hat"
    assert set(done.left_out) == {"10/.DS_Store", "README.md"}
    assert done.dataset.rows == 46 - 1
    assert not start(photos).written


@pytest.mark.usefixtures("shop")
def test_the_splits_of_the_source_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_photos(root / "train", COUNTS)
    write_photos(root / "test", dict.fromkeys(COUNTS, 5), first=100)
    write_photos(root / "val", dict.fromkeys(COUNTS, 5), first=200)
    (root / "train" / "hat" / "leak.png").write_bytes((root / "test" / "hat" / "100.png").read_bytes())
    done = start(root)
    assert [len(read_split(done.dataset, split).ids) for split in ("train", "test")] == [46, 15]
    assert done.left_out == ("val",)
    assert reasons(done.dataset) == {"train/hat/leak.png": "duplicate of test/hat/100.png"}


@pytest.mark.usefixtures("shop")
def test_a_duplicate_across_splits_stays_in_the_test_split_only(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_photos(root / "test", dict.fromkeys(COUNTS, 5), first=100)
    write_photos(root / "train", COUNTS)
    same, other = root / "test" / "hat" / "100.png", root / "test" / "10" / "101.png"
    lossless = Image.open(same)
    lossless.save(root / "train" / "hat" / "a.bmp")  # other bytes, the same pixels, which validation would refuse
    (root / "train" / "hat" / "b.png").write_bytes(other.read_bytes())
    done = start(root)
    assert reasons(done.dataset) == {
        "train/hat/a.bmp": "duplicate of test/hat/100.png",
        "train/hat/b.png": "duplicates under 10 and hat",
        "test/10/101.png": "duplicates under 10 and hat",
    }
    assert validate(done.dataset).expectations == 50


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("options", [{"image": ImageSpec(32, 32)}, {"replace": True}, {"group": "seller"}])
def test_options_of_custom_catalogues_are_rejected_without_one(photos: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"are for custom catalogues, but the catalogue in use is 'fashion-mnist'"):
        start(photos, **options)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"hat": 12}, "1 classes; expected 2 to 1,000"),
        ({"hat": 12, "Hat ": 12}, "'Hat ' and 'hat' differ only in case"),
        ({"hat": 12, "cap": 9}, r"found fewer of cap \(9\)\. 'fashion ingest --allow-small' accepts"),
        ({"hat": 12, "cap": 0}, r"at least 10 pictures per class, found fewer of cap \(0\)"),
        ({}, "found no folder of pictures, expected one for each class, such as photos/shirts/1.jpg"),
    ],
)
def test_an_unsuitable_source_raises(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SourceError, match=message):
        start(write_photos(tmp_path / "photos", counts))
    assert current_dataset(Settings().datasets_dir) is None


@pytest.mark.usefixtures("shop")
def test_small_classes_are_allowed_by_option(tmp_path: Path) -> None:
    dataset = start(write_photos(tmp_path / "photos", {"hat": 12, "cap": 2}), allow_small=True).dataset
    assert sorted(rows_of(dataset).values()).count(("test", "cap")) == 1


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("word", ["auto", "download", "sample"])
def test_official_sources_are_rejected_for_a_custom_catalogue(word: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"'{word}' works for Fashion-MNIST only; the catalogue 'shop' needs a path"
    ):
        ingest(word)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("name", ["../up", "Shop", "a" * 41])
def test_a_catalogue_name_must_be_a_valid_folder_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_CATALOGUE", name)
    with pytest.raises(SettingsError, match="FASHION_CATALOGUE"):
        ingest("sample")


# --- a source that grows ---


@pytest.mark.usefixtures("shop")
def test_added_rows_go_to_the_training_split_and_no_row_moves(photos: Path) -> None:
    first = start(photos).dataset
    write_photos(photos, {"hat": 9, "10": 1}, first=500)
    second = start(photos).dataset
    before, after = rows_of(first), rows_of(second)
    assert before.items() <= after.items()
    assert sorted(after[row] for row in after.keys() - before.keys()) == [("train", "10"), *[("train", "hat")] * 9]
    assert np.array_equal(read_split(first, "test").images, read_split(second, "test").images)


@pytest.mark.usefixtures("shop")
def test_a_near_duplicate_of_a_test_image_is_left_out(photos: Path) -> None:
    first = start(photos).dataset
    tests = {row for row, (split, _) in rows_of(first).items() if split == "test"}
    path = next(path for path in sorted(photos.rglob("*.png")) if _digest(path) in tests)
    copy = path.with_name("copy.jpg")
    copy.write_bytes(encode_photo(_pixels(path), "JPEG"))
    second = start(photos).dataset
    assert rows_of(second) == rows_of(first)
    assert reasons(second) == {f"{path.parent.name}/copy.jpg": "near-duplicate of a test image"}


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("what", ["gone", "class", "none of a class", "image"])
def test_a_source_that_would_lose_data_needs_replace(photos: Path, tmp_path: Path, what: str) -> None:
    first = start(photos).dataset
    options: dict[str, Any] = {}
    if what == "gone":
        (photos / "hat" / "000.png").unlink()
        message = (
            r"lacks 1 of the 46 pictures of the current version \(images:photos\)\. To add pictures, use .*--replace"
        )
    elif what == "class":
        write_photos(photos, {"cap": 12}, first=900)
        message = r"'cap' is not a class of 'shop' \(10, Kids 2-6, hat\)\. To add .*--replace"
    elif what == "none of a class":
        shutil.rmtree(photos / "hat")
        message = r"has no class 'hat', but 'shop' does\. To add .*--replace"
    else:
        options["image"] = ImageSpec(32, 32)
        message = r"images: found 32 x 32 x 1, but 'shop' has 28 x 28 x 1\. To add .*--replace"
    with pytest.raises(FashionError, match=message):
        start(photos, **options)
    assert current_dataset(Settings().datasets_dir) == first
    assert start(photos, replace=True, **options).written


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("counts", [COUNTS, {"boot": 12, "sandal": 12}])
def test_a_different_source_is_named_with_both_choices(photos: Path, tmp_path: Path, counts: dict[str, int]) -> None:
    first = start(photos).dataset
    other = write_photos(tmp_path / "other ones", counts, first=500)
    with pytest.raises(SourceError) as found:
        start(other)
    assert str(found.value).endswith(
        "It is a different source: it shares no picture with images:photos, from which 'shop' was built. To keep "
        "'shop', set FASHION_CATALOGUE to another name; to make images:other ones the current dataset of 'shop' "
        f"instead, run: fashion ingest --source '{other}' --replace"
    )
    assert current_dataset(Settings().datasets_dir) == first
    assert start(other, replace=True).written


def test_imported_labels_are_kept_when_the_source_grows(photos: Path, shop: Settings, tmp_path: Path) -> None:
    validate(start(photos).dataset)
    labelled = write_photos(tmp_path / "more", {"hat": 3}, first=700)
    assert import_labels(labelled).added == {"hat": 3}
    write_photos(photos, {"hat": 2}, first=800)
    grown = start(photos).dataset
    assert grown.rows == 46 + 3 + 2
    assert not start(photos).written


def _digest(path: Path) -> str:
    return digest_of(path.read_bytes())[:16]


def _pixels(path: Path) -> Images:
    return draw_photo(list(COUNTS).index(path.parent.name), int(path.stem))


# --- names, faults and choices ---


@pytest.mark.usefixtures("shop")
def test_a_table_may_have_class_names_that_are_not_valid_folder_names(tmp_path: Path) -> None:
    names = ("Μπλούζα/Φούστα", "🎩", "..", "two  spaces", ".hidden")
    write_photos(tmp_path, {str(number): 12 for number in range(len(names))})
    rows = [f"{number}/{picture:03}.png,{name}" for number, name in enumerate(names) for picture in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    dataset = start(tmp_path / "labels.csv").dataset
    assert set(dataset.contract.classes) == set(names)
    validate(dataset)


@pytest.mark.usefixtures("shop")
def test_a_class_name_with_a_line_break_is_rejected(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", {"hat": 12, "a\nb": 12})
    with pytest.raises(SourceError, match=r"the class name 'a\\nb' contains a control character"):
        start(tmp_path / "photos")


@pytest.mark.usefixtures("shop")
def test_a_class_folder_that_links_outside_is_named(photos: Path, tmp_path: Path) -> None:
    (photos / "cap").symlink_to(write_photos(tmp_path / "elsewhere", {"cap": 12}) / "cap")
    with pytest.raises(SourceError, match=r"of cap \(0\).* cap: a link outside the source"):
        start(photos)


@pytest.mark.usefixtures("shop")
def test_a_broken_picture_in_each_folder_is_listed(photos: Path) -> None:
    for name in COUNTS:
        (photos / name / "broken.jpg").write_bytes(b"no picture")
    found = reasons(start(photos).dataset)
    assert found.keys() == {f"{name}/broken.jpg" for name in COUNTS}


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_class_without_test_pictures_raises_before_anything_is_written(
    shop: Settings, tmp_path: Path, has_folder: bool
) -> None:
    write_photos(tmp_path / "photos" / "train", {"hat": 12, "cap": 12})
    write_photos(tmp_path / "photos" / "test", {"hat": 5}, first=100)
    if has_folder:
        (tmp_path / "photos" / "test" / "cap").mkdir()
    with pytest.raises(SourceError, match="no usable pictures of the class 'cap' in the test split"):
        start(tmp_path / "photos")
    assert current_dataset(shop.datasets_dir) is None


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("old", "new"), [('"letterbox"', '"garment"'), ('"hat"', '"cap"'), ("{", "")])
def test_a_manifest_edited_by_hand_is_rejected(photos: Path, old: str, new: str) -> None:
    path = start(photos).dataset.path
    path.chmod(0o644)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DatasetError, match=r"changed since it was written\. Restore that file, or use --replace"):
        start(photos)
    assert start(photos, replace=True).written


@pytest.mark.usefixtures("shop")
def test_the_preparation_option_is_suggested_for_photos_unless_set(photos: Path) -> None:
    def mentions_preparation(**options: Any) -> bool:
        lines: list[str] = []
        ingest(str(photos), options=StartOptions(**options), echo=lines.append)
        return any("--preparation garment" in line for line in lines)

    assert mentions_preparation()
    assert not mentions_preparation(replace=True, preparation="letterbox")


@pytest.mark.usefixtures("shop")
def test_a_small_class_among_thirteen_is_tested(tmp_path: Path) -> None:
    counts = {f"class {number}": 11 + number for number in range(1, 14)}
    dataset = start(write_photos(tmp_path / "photos", counts)).dataset
    tested = [name for split, name in rows_of(dataset).values() if split == "test"]
    assert len(dataset.contract.classes) == 13
    assert len(tested) >= 2 * 13
    validate(dataset)


@pytest.mark.usefixtures("shop")
def test_idx_files_of_8_by_8_digits_start_a_catalogue(tmp_path: Path) -> None:
    """Pixels need no preparation, so the output does not mention it."""
    digits = load_digits()
    pixels = np.round(digits.images * 255 / 16).astype(np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(encode_idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(encode_idx(digits.target.astype(np.uint8)))
    lines: list[str] = []
    dataset = ingest(str(tmp_path), options=StartOptions(), echo=lines.append).dataset
    assert dataset.contract.classes == tuple("0123456789")
    assert str(dataset.contract.image) == "8 x 8 x 1"
    assert dataset.rows == len(pixels)
    assert not any("--preparation" in line for line in lines)
    validate(dataset)


# --- with a frozen network ---


def refuse_to_build(name: str) -> Network:
    raise AssertionError(f"{name} is built again")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "tiny.onnx")


def test_photos_become_vectors_and_the_network_is_kept(photos: Path, network: Path, shop: Settings) -> None:
    lines: list[str] = []
    done = ingest(str(photos), options=StartOptions(network=str(network)), echo=lines.append)
    embedding = done.dataset.contract.embedding
    assert embedding
    assert (embedding.network, embedding.size) == ("tiny.onnx", 48)
    assert f"images of 64 x 64 x 3, photos turned into vectors by {embedding}" in lines[1]
    assert is_kept(embedding, shop.datasets_dir)
    images = read_split(done.dataset, "train").images
    assert (images.dtype, np.isfinite(images["vector"]).all()) == (done.dataset.contract.dtype, True)
    validate(done.dataset)


@pytest.mark.usefixtures("shop")
def test_a_catalogue_keeps_its_network_without_an_option(photos: Path, network: Path) -> None:
    first = start(photos, network=str(network)).dataset
    write_photos(photos, {"hat": 3}, first=500)
    network.unlink()
    second = start(photos)
    assert (second.written, second.dataset.contract) == (True, first.contract)


@pytest.mark.usefixtures("shop")
def test_a_named_network_is_not_built_again_unless_its_file_is_gone(
    photos: Path, shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Network(Embedding("tiny", embedding_of(make_network()).sha256, 48, 32, 48), make_network())
    monkeypatch.setattr(own_start, "read_network", lambda name: built)
    embedding = start(photos, network="tiny").dataset.contract.embedding
    assert embedding == built.embedding
    kept_path(embedding, shop.datasets_dir).unlink()
    assert not start(photos, network="tiny").written
    assert is_kept(embedding, shop.datasets_dir), "ingesting again restores it"
    monkeypatch.setattr(own_start, "read_network", refuse_to_build)
    assert not start(photos, network="tiny").written
    write_photos(photos, {"hat": 3}, first=500)
    assert start(photos, network="tiny").written


@pytest.mark.usefixtures("shop")
def test_another_network_needs_replace_and_both_are_named(photos: Path, network: Path) -> None:
    first = start(photos, network=str(network)).dataset.contract.embedding
    write_network(network, seed=1)
    expected = rf"network: found tiny\.onnx \(\w{{12}}\), but 'shop' has {re.escape(str(first))}\. .* --replace"
    with pytest.raises(SourceError, match=expected):
        start(photos, network=str(network))
    second = start(photos, network=str(network), replace=True).dataset.contract.embedding
    assert second != first


@pytest.mark.usefixtures("shop")
def test_a_network_for_a_catalogue_without_one_needs_replace(photos: Path, network: Path) -> None:
    start(photos)
    with pytest.raises(SourceError, match=r"network: found tiny\.onnx \(\w{12}\), but 'shop' has none\. .* --replace"):
        start(photos, network=str(network))


@pytest.mark.usefixtures("shop")
def test_a_network_and_pixels_are_an_error(network: Path, tmp_path: Path) -> None:
    digits = load_digits()
    rows = [
        f"{label},{','.join(map(str, image.astype(int).ravel()))}"
        for image, label in zip(digits.images, digits.target, strict=True)
    ]
    header = ",".join(["label", *(f"pixel{number}" for number in range(1, 65))])
    (tmp_path / "digits.csv").write_text("\n".join([header, *rows]))
    with pytest.raises(SourceError, match=r"found pixels, but a network takes photos\. Leave out --network"):
        start(tmp_path / "digits.csv", network=str(network), image=ImageSpec(8, 8))


@pytest.mark.usefixtures("settings")
def test_fashion_mnist_takes_no_network(photos: Path, network: Path) -> None:
    with pytest.raises(SettingsError, match=r"are for custom catalogues, but the catalogue in use is 'fashion-mnist'"):
        start(photos, network=str(network))


@pytest.mark.usefixtures("shop")
def test_added_labels_and_photos_of_a_new_class_become_vectors(photos: Path, network: Path, tmp_path: Path) -> None:
    validate(start(photos, network=str(network)).dataset)
    labelled = write_photos(tmp_path / "more", {"hat": 3}, first=700)
    imported = import_labels(labelled)
    assert imported.added == {"hat": 3}
    assert np.isfinite(read_split(imported.dataset, "train").images["vector"]).all()
