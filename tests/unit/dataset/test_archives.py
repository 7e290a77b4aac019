"""Folders of archives: official, declared, with a contract, and the synthetic sample."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from awkward import AWKWARD, draw_awkward, write_awkward
from mirrors import files_in, sample_is_official  # noqa: F401, fixtures
from networks import contract_with, embedding_of, make_network

from components.catalogues import OFFICIAL
from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import SAMPLE, DataContract, ImageSpec
from components.dataset.archives import (
    FILES,
    declare_source,
    open_archives,
    write_sample,
)
from components.dataset.sources import find_source
from components.errors import SettingsError, SourceError
from components.readers.images.idx import encode_idx, read_idx
from components.settings import Settings

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.fixture
def folder(archives: Path, tmp_path: Path) -> Path:
    """A writable copy of the sample archives."""
    return shutil.copytree(archives, tmp_path / "archives")


def test_checksums_and_mirrors_match_torchvision() -> None:
    from torchvision.datasets import FashionMNIST

    assert dict(FashionMNIST.resources) == {file: one.md5 for file, one in OFFICIAL.checksums.items()}
    assert list(OFFICIAL.mirrors) == FashionMNIST.mirrors
    assert FashionMNIST.mirrors[0].startswith("http")
    assert tuple(FashionMNIST.classes) == CLASSES


def test_a_declared_set_has_its_declared_name(folder: Path) -> None:
    declare_source(folder, "acme", "CC-BY-4.0")
    source = find_source(str(folder), Settings(), CONTRACT)
    assert (source.name, source.licence, source.extends) == ("acme", "CC-BY-4.0", False)
    assert {file for files in source.digests.values() for file in files} == set(FILES)
    images, labels = source.read("train")
    assert (images.shape, labels.shape) == ((600, 28, 28), (600,))
    assert source.read("test")[0].shape == (200, 28, 28)


@pytest.mark.usefixtures("sample_is_official")
def test_the_official_files_need_no_declaration(folder: Path) -> None:
    (folder / "source.json").unlink()
    source = open_archives(folder)
    assert (source.name, source.licence) == (OFFICIAL.contract.name, OFFICIAL.licence)


@pytest.mark.parametrize("contract", [AWKWARD, replace(AWKWARD, image=ImageSpec(12, 9))], ids=["RGB", "grey"])
def test_archives_may_declare_a_contract(tmp_path: Path, contract: DataContract) -> None:
    source = find_source(str(write_awkward(tmp_path, contract)), Settings(), CONTRACT)
    assert source.contract == contract
    for found, expected in zip(source.read("test"), draw_awkward(120, 120, contract), strict=True):
        assert np.array_equal(found, expected)


def test_an_unknown_preparation_is_rejected_before_anything_is_read(tmp_path: Path) -> None:
    archives = write_awkward(tmp_path / "shop")
    strange = replace(AWKWARD, preparation="nosuch")
    with pytest.raises(SettingsError, match="found 'nosuch', expected one of fashion-mnist, "):
        declare_source(archives, "an awkward shop", "its owner's", strange)
    path = archives / "source.json"
    path.write_text(path.read_text().replace('"letterbox"', '"nosuch"'))
    with pytest.raises(SourceError, match=r"source\.json: the preparation of awkward: found 'nosuch'"):
        open_archives(archives)


def test_archives_that_do_not_match_their_contract_are_rejected(tmp_path: Path) -> None:
    folder = write_awkward(tmp_path)
    declare_source(folder, "shop", "MIT", replace(AWKWARD, classes=("10", "3")))
    with pytest.raises(SourceError, match=f"{TRAIN_LABELS}: found the label 2, expected 0 to 1"):
        open_archives(folder).read("train")
    declare_source(folder, "shop", "MIT", replace(AWKWARD, image=ImageSpec(24, 20, 3)))
    with pytest.raises(SourceError, match=r"shape \(20, 24, 3\), expected \(24, 20, 3\)"):
        open_archives(folder).read("train")
    declare_source(folder, "shop", "MIT", replace(AWKWARD, name="fashion-mnist"))
    with pytest.raises(SourceError, match=r"source\.json: the contract 'fashion-mnist' is reserved .*; image: found"):
        open_archives(folder)


def test_archives_have_pixels_and_no_contract_with_a_network(tmp_path: Path) -> None:
    folder = write_awkward(tmp_path / "shop")
    declare_source(folder, "shop", "MIT", contract_with(embedding_of(make_network())))
    with pytest.raises(SourceError, match="the contract has a network, which takes photos, but the archives contain"):
        open_archives(folder)


def test_an_unknown_set_without_a_declaration_is_rejected(folder: Path) -> None:
    (folder / "source.json").unlink()
    with pytest.raises(
        SourceError, match=rf"{TRAIN_IMAGES}: found MD5 .*{OFFICIAL.checksums[TRAIN_IMAGES].md5}.*source\.json"
    ):
        open_archives(folder)


@pytest.mark.usefixtures("sample_is_official")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("declared", [True, False])
def test_a_flipped_bit_is_detected_and_its_file_named(folder: Path, file: str, declared: bool) -> None:
    if not declared:
        (folder / "source.json").unlink()
    content = bytearray((folder / file).read_bytes())
    content[4] ^= 1  # the time in the gzip header: the data unpacks as before
    (folder / file).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{file}: found {'SHA-256' if declared else 'MD5'} "):
        open_archives(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(SourceError, match=rf"archives: missing {file}$"):
        find_source(str(folder), Settings(), CONTRACT)


def test_a_label_out_of_range_is_rejected(folder: Path) -> None:
    labels = read_idx(folder / TEST_LABELS, ()).copy()
    labels[3] = 10
    (folder / TEST_LABELS).write_bytes(encode_idx(labels))
    declare_source(folder, "acme", "MIT")
    source = open_archives(folder)
    source.read("train")
    with pytest.raises(SourceError, match=f"{TEST_LABELS}: found the label 10, expected 0 to 9"):
        source.read("test")


def test_different_numbers_of_images_and_labels_are_rejected(folder: Path) -> None:
    (folder / TRAIN_LABELS).write_bytes(encode_idx(read_idx(folder / TRAIN_LABELS, ())[:-1]))
    declare_source(folder, "acme", "MIT")
    with pytest.raises(SourceError, match="600 train images but 599 labels"):
        open_archives(folder).read("train")


def test_swapped_archives_are_rejected(folder: Path) -> None:
    shutil.copy(folder / TRAIN_IMAGES, folder / TRAIN_LABELS)
    declare_source(folder, "acme", "MIT")
    with pytest.raises(SourceError, match=f"{TRAIN_LABELS}: found magic number 00000803, expected 00000801"):
        open_archives(folder).read("train")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"name": "acme", "licence": "MIT"}',
        b'{"name": "acme", "sha256": {}}',
        b'{"name": "acme", "licence": "MIT", "sha256": null}',
        b'{"name": "acme", "licence": "MIT", "sha256": "abc"}',
        b"\xff",
    ],
)
def test_a_malformed_declaration_is_rejected(folder: Path, content: bytes) -> None:
    (folder / "source.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"source\.json: expected JSON with name, licence and sha256, found"):
        open_archives(folder)


def test_a_declaration_without_a_checksum_is_rejected(folder: Path) -> None:
    declared = json.loads((folder / "source.json").read_bytes())
    del declared["sha256"][TEST_LABELS]
    (folder / "source.json").write_text(json.dumps(declared))
    with pytest.raises(SourceError, match=rf"{TEST_LABELS}: found SHA-256 .*, source\.json expects None"):
        open_archives(folder)


def test_the_official_name_is_reserved(folder: Path) -> None:
    declare_source(folder, OFFICIAL.contract.name, "MIT")
    with pytest.raises(SourceError, match="the name 'fashion-mnist' is reserved for the official files"):
        open_archives(folder)


# --- the synthetic sample ---


def test_the_sample_is_deterministic(tmp_path: Path) -> None:
    first, second, other = tmp_path / "first", tmp_path / "second", tmp_path / "other"
    for folder, seed in ((first, 0), (second, 0), (other, 1)):
        write_sample(folder, train_rows=20, test_rows=10, seed=seed)
    assert files_in(first) == {*FILES, "source.json"}
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files_in(first))
    assert (first / TRAIN_IMAGES).read_bytes() != (other / TRAIN_IMAGES).read_bytes()


def test_the_sample_declares_itself(archives: Path) -> None:
    source = open_archives(archives)
    assert (source.name, source.licence) == (SAMPLE, "CC0-1.0, drawn by this project")


def test_the_sample_is_balanced(archives: Path) -> None:
    source = open_archives(archives)
    assert np.bincount(source.read("train")[1]).tolist() == [60] * 10
    assert np.bincount(source.read("test")[1]).tolist() == [20] * 10
    assert len(set(source.read("test")[1][:20].tolist())) > 5, "mixed, not class by class"


def test_the_sample_has_no_duplicates(archives: Path) -> None:
    source = open_archives(archives)
    images = np.concatenate([source.read("train")[0], source.read("test")[0]])
    assert len({image.tobytes() for image in images}) == len(images) == 800


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")  # the corners are always black
def test_the_silhouettes_are_separable(archives: Path) -> None:
    from sklearn.neighbors import NearestCentroid

    source = open_archives(archives)
    (images, labels), (test_images, test_labels) = source.read("train"), source.read("test")
    found = NearestCentroid().fit(images.reshape(-1, 784), labels).predict(test_images.reshape(-1, 784))
    assert (found == test_labels).mean() > 0.8
    assert all((found == test_labels)[test_labels == label].mean() > 0.25 for label in range(10))
