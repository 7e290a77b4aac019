"""Inputs for a custom catalogue: other sizes, RGB, and class names that are numbers."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contract import DataContract, ImageSpec
from components.errors import InputError
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.readers.images.photos import write_png
from components.readers.tables.columns import pixel_columns

AWKWARD = DataContract("awkward", ("10", "Kids 2-6", "3"), ImageSpec(20, 24, 3), "letterbox")
IMAGES, LABELS = np.random.default_rng(1).integers(0, 256, (6, 20, 24, 3), np.uint8), np.arange(6) % 3
NAMES = [AWKWARD.classes[label] for label in LABELS]
PICTURES = {f"{name}/{row}.png": write_png(image) for row, (name, image) in enumerate(zip(NAMES, IMAGES, strict=True))}


def write_folder(path: Path) -> None:
    for name, content in PICTURES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in PICTURES.items():
            archive.writestr(name, content)


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in PICTURES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_paths(path: Path) -> None:
    write_folder(path.parent)
    path.write_text("\n".join(["path,label", *(f"{name},{name.partition('/')[0]}" for name in PICTURES)]) + "\n")


def write_pixels(path: Path) -> None:
    rows = [f"{name},{','.join(map(str, image.ravel()))}" for name, image in zip(NAMES, IMAGES, strict=True)]
    path.write_text("\n".join([",".join(["label", *pixel_columns(AWKWARD.image)]), *rows]) + "\n")


def write_parquet(path: Path) -> None:
    pixels = pa.array([image.tobytes() for image in IMAGES], pa.binary(AWKWARD.image.size))
    pq.write_table(pa.table({"label": NAMES, "pixels": pixels}), path)


def write_embedded(path: Path) -> None:
    pq.write_table(pa.table({"label": NAMES, "image": list(PICTURES.values())}), path)


def write_npz(path: Path) -> None:
    np.savez(path, images=IMAGES, labels=np.array([int(name) if name.isdigit() else -1 for name in NAMES]))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("in", write_folder),
        ("in.zip", write_zip),
        ("in.tar", write_tar),
        ("in.csv", write_paths),
        ("in.csv", write_pixels),
        ("in.parquet", write_parquet),
        ("in.parquet", write_embedded),
    ],
)
def test_every_format_gives_the_same_images_and_classes(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    read = open_input(tmp_path / name, TableReading(), AWKWARD)
    blocks = [block for part in read.parts() for block in read.read(part)]
    assert not [reject for block in blocks for reject in block.rejects]
    found = {
        (int(label), image.tobytes())
        for block in blocks
        if block.labels is not None
        for label, image in zip(block.labels, block.images, strict=True)
    }
    assert found == {(int(label), image.tobytes()) for label, image in zip(LABELS, IMAGES, strict=True)}


def test_arrays_must_have_the_shape_of_the_images(tmp_path: Path) -> None:
    write_npz(tmp_path / "in.npz")
    read = open_input(tmp_path / "in.npz", TableReading(), AWKWARD)
    (block,) = (block for part in read.parts() for block in read.read(part))
    assert np.array_equal(block.images, IMAGES)
    assert block.labels is not None
    named = [name.isdigit() for name in NAMES]
    assert block.labels[named].tolist() == LABELS[named].tolist(), "numeric labels match numeric class names"
    np.savez(tmp_path / "other.npz", images=IMAGES[:, 1:])
    with pytest.raises(InputError, match=r"no image array: found .*\(6, 19, 24, 3\).*, expected \(n, 20, 24, 3\)"):
        open_input(tmp_path / "other.npz", TableReading(), AWKWARD)
