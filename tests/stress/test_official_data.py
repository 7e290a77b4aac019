"""The input checks raise no false alarm on the 70,000 official images, in any batch size."""

import os
from pathlib import Path

import numpy as np
import pytest
from notebooks import TOUR, run_tour

from components.catalogues.fashion_mnist import CONTRACT, INPUTS
from components.contract import Images
from components.readers.images.content import has_content
from components.readers.images.idx import read_idx
from components.readers.images.pixel_bytes import read_pixel_bytes
from components.scoring.expectations import check_images
from components.scoring.input_check import MIN_ROWS
from components.scoring.sanity import inspect_images
from components.settings import Settings

SOURCE = Path(os.environ.get("FASHION_SOURCE", "auto"))
ARCHIVES = {split: SOURCE / f"{split}-images-idx3-ubyte.gz" for split in ("train", "t10k")}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(map(Path.exists, ARCHIVES.values())), reason="no official archives in FASHION_SOURCE"),
]


def read_images(split: str) -> Images:
    return read_idx(ARCHIVES[split], CONTRACT.image.shape)


@pytest.mark.parametrize("split", ARCHIVES)
def test_no_image_of_the_real_data_is_blank(split: str) -> None:
    assert has_content(read_images(split)).all()


@pytest.mark.parametrize("count", [2, 3, 4, 8, 24])
def test_no_images_of_the_real_data_are_mistaken_for_another_encoding(count: int) -> None:
    images = read_images("train").reshape(-1, 784)
    by_brightness = images[np.argsort(images.mean(axis=1))]
    for rows in (images, by_brightness):
        for start in range(0, len(rows), count):
            read_pixel_bytes(rows[start : start + count].tobytes(), CONTRACT.image)


@pytest.mark.parametrize("count", [1, 2, 5, 20, 100])
def test_no_batch_of_the_real_data_raises_an_alarm(count: int) -> None:
    for split in ARCHIVES:
        images = read_images(split)
        said = [inspect_images(images[start : start + count], INPUTS) for start in range(0, len(images), count)]
        assert not any(said)


def test_no_single_class_of_the_real_data_raises_an_alarm() -> None:
    images = read_images("t10k")
    labels = read_idx(SOURCE / "t10k-labels-idx1-ubyte.gz", ())
    for one in range(10):
        assert check_images(images[labels == one], INPUTS) == ()
        assert check_images(images[labels == one][:MIN_ROWS], INPUTS) == ()
    for start in range(0, 10_000, 1000):
        assert check_images(images[start : start + 1000], INPUTS) == ()


def test_the_tour_runs_on_the_real_data(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it from the notebook's folder."""
    run_tour(TOUR.parent, str(SOURCE.resolve()), settings, tmp_path, monkeypatch)
