"""Images with another label: their hashes, and their pictures if they are kept."""

import base64
from pathlib import Path

import numpy as np
import pytest
from shadows import LIVE, SHADOW

from components.catalogues.fashion_mnist import CONTRACT
from components.readers.images.seen import read_seen
from components.readers.images.statistics import hash_images
from components.shadow import flips
from components.shadow.counts import pair_folder
from components.shadow.flips import HASHES, FlipFile, ShadowFlip, describe_image, read_flips


def flip(time: float = 1.0, png: str = "") -> ShadowFlip:
    return ShadowFlip(time, "Bag", "Coat", 0.9, 0.6, True, False, "0" * 16, png)


def test_an_image_has_the_hash_of_the_prediction_log_and_its_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28)).astype(np.uint8)
    name, png = describe_image(image, with_picture=True)
    assert int(name, 16) == hash_images(image)[0]
    assert (read_seen(base64.b64decode(png), CONTRACT, "png") == image).all()
    assert describe_image(image, with_picture=False) == (name, "")
    assert flip(png=png).uri == f"data:image/png;base64,{png}"


def test_a_pair_of_labels_has_room_for_some(tmp_path: Path) -> None:
    file = FlipFile(tmp_path / "flips.jsonl")
    file.append([flip(png="AA==")] * 2)
    assert file.wants("Bag", "Coat", 3, 0)
    assert not file.wants("Bag", "Coat", 3, 1)
    assert not file.wants("Bag", "Coat", 2, 0)
    assert file.wants("Bag", "Shirt", 2, 0)
    file.append([flip()] * (HASHES - 2))
    assert not file.wants("Bag", "Coat", 0, 0)
    assert not FlipFile(tmp_path / "flips.jsonl").wants("Bag", "Coat", 2, 0)  # after a restart


def test_a_file_has_a_largest_number_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flips, "MOST", 2)
    file = FlipFile(tmp_path / "flips.jsonl")
    file.append([flip()] * 2)
    assert not file.wants("Bag", "Shirt", 0, 0)


@pytest.mark.usefixtures("bentoml_home")
def test_flips_of_all_processes_are_read_and_damaged_lines_left_out() -> None:
    folder = pair_folder(SHADOW, LIVE)
    FlipFile(folder / "1-a.jsonl").append([flip(3.0), flip(1.0)])
    FlipFile(folder / "2-b.jsonl").append([flip(2.0)])
    with (folder / "2-b.jsonl").open("ab") as file:
        file.write(b'{"time": 4.0, "champ')
    assert [one.time for one in read_flips(SHADOW, LIVE)] == [1.0, 2.0, 3.0]
