"""One folder of pictures per class."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.sample import draw
from components.contract import Images, Labels
from components.dataset.sources import find_source
from components.errors import SourceError
from components.settings import Settings


@pytest.fixture(scope="module")
def examples() -> tuple[Images, Labels]:
    return draw(12, np.random.default_rng(7))


@pytest.fixture
def pictures(tmp_path: Path, examples: tuple[Images, Labels]) -> Path:
    """Three pictures: classes 0 and 9 given by name, class 3 by number."""
    places = ("t-shirt_top/b.png", "Ankle boot/a.PNG", "3/c.png")
    for place, image in zip(places, examples[0], strict=False):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True)
        Image.fromarray(image).save(path)
    return tmp_path / "pictures"


def test_a_folder_of_pictures_adds_training_examples(pictures: Path, examples: tuple[Images, Labels]) -> None:
    source = find_source(str(pictures), Settings(), CONTRACT)
    assert source.name == "images:pictures"
    assert source.extends
    assert list(source.digests) == ["train"]
    assert list(source.digests["train"]) == ["3/c.png", "Ankle boot/a.PNG", "t-shirt_top/b.png"]
    images, labels = source.read("train")
    assert labels.tolist() == [3, 9, 0]
    assert np.array_equal(images, examples[0][[2, 1, 0]])


@pytest.mark.parametrize(("label", "name"), list(enumerate(CLASSES)))
def test_a_class_folder_may_be_named_by_name_or_number(
    tmp_path: Path, label: int, name: str, examples: tuple[Images, Labels]
) -> None:
    for folder in (str(label), name.replace("/", "_"), name.replace("/", "-").upper(), name.lower().replace(" ", "-")):
        path = tmp_path / folder.replace("/", "_") / f"{len(folder)}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(examples[0][0]).save(path)
    assert set(find_source(str(tmp_path), Settings(), CONTRACT).read("train")[1].tolist()) == {label}


@pytest.mark.parametrize("name", ["hat", "10", "-1", "01", "T-shirt", "_", ".git", "unsorted"])
def test_a_folder_that_is_not_a_class_is_rejected(pictures: Path, name: str) -> None:
    (pictures / name).mkdir()
    with pytest.raises(SourceError, match=rf"{name}: not a class; expected 0 to 9 or one of T-shirt/top, Trouser"):
        find_source(str(pictures), Settings(), CONTRACT)


@pytest.mark.parametrize("place", ["3/notes.txt", "3/c.txt", "3/c", "stray.png", "stray.txt"])
def test_a_stray_file_is_rejected_and_not_ignored(pictures: Path, place: str) -> None:
    (pictures / place).write_bytes(b"stray")
    with pytest.raises(SourceError, match=place):
        find_source(str(pictures), Settings(), CONTRACT)


@pytest.mark.parametrize("place", ["3/folder", "3/folder.png"])
def test_a_folder_among_the_pictures_is_rejected(pictures: Path, place: str) -> None:
    (pictures / place).mkdir()
    with pytest.raises(SourceError, match=place):
        find_source(str(pictures), Settings(), CONTRACT)


@pytest.mark.parametrize("place", ["3/link.png", "5"])
def test_a_symlink_outside_is_rejected_and_not_ignored(pictures: Path, tmp_path: Path, place: str) -> None:
    target = tmp_path / "outside"
    target.mkdir()
    shutil.copy(pictures / "3" / "c.png", target)
    (pictures / place).symlink_to(target / "c.png" if place.endswith("png") else target)
    with pytest.raises(SourceError, match=place):
        find_source(str(pictures), Settings(), CONTRACT)


def test_a_truncated_picture_is_named(pictures: Path) -> None:
    path = pictures / "3" / "c.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match=r"pictures/3/c\.png: a damaged picture"):
        find_source(str(pictures), Settings(), CONTRACT).read("train")


def test_a_disguised_picture_is_named(pictures: Path) -> None:
    content = io.BytesIO()
    Image.new("L", (28, 28)).save(content, "TIFF")
    (pictures / "3" / "c.png").write_bytes(content.getvalue())
    with pytest.raises(SourceError, match=r"3/c\.png: not a PNG, JPEG, WEBP, GIF or BMP picture: found TIFF"):
        find_source(str(pictures), Settings(), CONTRACT).read("train")


@pytest.mark.parametrize(
    ("inside", "message"), [((), "found nothing; expected the four IDX archives"), (("3",), "expected pictures")]
)
def test_a_folder_without_pictures_is_rejected(tmp_path: Path, inside: tuple[str, ...], message: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in inside:
        (empty / name).mkdir()
    with pytest.raises(SourceError, match=f"empty: {message}"):
        find_source(str(empty), Settings(), CONTRACT)
