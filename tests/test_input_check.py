"""The look at the first rows: what it stops, what it tells, and what it lets pass."""

import gzip
import os
import re
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contract import IMAGE_SHAPE, Images, ModelCard
from components.dataset.sample import write_sample
from components.errors import FashionError, InputError
from components.inputs.parts import Reading
from components.manifest import Examples
from components.model.classifier import Classifier
from components.scoring.expectations import check_images
from components.scoring.first_rows import LEAST_ROWS, MOST_ROWS, Looker, Mode, read_first
from components.scoring.job import Summary, run_job
from components.training.train import Trained

Spoil = Callable[[Images], Images]
ARCHIVE = Path(os.environ.get("FASHION_SOURCE", "auto"), "t10k-images-idx3-ubyte.gz")


@pytest.fixture(scope="session")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:checked1", card, trained.network)


@pytest.fixture
def images(test_split: Examples) -> Images:
    return test_split.images


def score(model: Classifier, images: Images, folder: Path, check: Mode) -> Summary:
    pixels = pa.array([image.tobytes() for image in images], pa.binary(784))
    pq.write_table(pa.table({"pixels": pixels}), folder / "in.parquet", row_group_size=50)
    return run_job(model, folder / "in.parquet", folder / "out.csv", check=check)


def test_images_like_those_of_the_dataset_pass(model: Classifier, images: Images, tmp_path: Path) -> None:
    assert score(model, images, tmp_path, "fail").warnings == ()
    assert (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda images: 255 - images, "100% of the first rows have a bright border; black is background here"),
        (lambda images: images // 255, "no pixel of the first rows is above 1; .* multiply those of 0 to 1 by 255"),
        (lambda images: images * 0, "100% of the first rows are of one colour"),
        (lambda images: images * 0 + 255, "100% of the first rows are of one colour"),
    ],
    ids=["inverted", "0 to 1", "black", "white"],
)
def test_what_cannot_be_right_is_found(images: Images, spoil: Spoil, told: str) -> None:
    (finding,) = check_images(spoil(images))
    assert finding.is_wrong
    assert re.match(told, finding.told)


def test_what_cannot_be_right_stops_the_job(model: Classifier, images: Images, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in\.parquet: 100% .* bright border.*; --check warn scores it all the same"):
        score(model, 255 - images, tmp_path, "fail")
    assert not (tmp_path / "out.csv").exists()
    summary = score(model, 255 - images, tmp_path, "warn")
    assert len(summary.warnings) == 1
    assert summary.count.scored == len(images)
    assert score(model, 255 - images, tmp_path, "off").warnings == ()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda images: (images * 0.6).astype(np.uint8), "the brightest pixel of an image"),
        (lambda images: np.concatenate([255 - images[:20], images[20:]]), "10% of the first rows have a bright border"),
        (lambda images: np.concatenate([images[:20] * 0, images[20:]]), "10% of the first rows are of one colour"),
        (lambda images: np.concatenate([images[:40], images[:160]]), "repeat an earlier one is 0.2"),
        (lambda images: np.maximum(images, 40), "the share of pixels that are not black is 1"),
        (lambda images: np.pad(images[:, ::3, ::3], ((0, 0), (9, 9), (9, 9))), "the average pixel is"),
    ],
    ids=["dim", "some inverted", "some black", "copies", "grey background", "small"],
)
def test_what_is_unusual_is_found(images: Images, spoil: Spoil, told: str) -> None:
    findings = check_images(spoil(images))
    assert not any(finding.is_wrong for finding in findings)
    assert any(told in finding.told for finding in findings), findings


def test_what_is_unusual_is_told_and_scored(model: Classifier, images: Images, tmp_path: Path) -> None:
    summary = score(model, np.maximum(images, 40), tmp_path, "fail")
    assert any("not black is 1" in warning for warning in summary.warnings), summary.warnings
    assert summary.count.scored == len(images)


def test_few_rows_are_not_looked_at(images: Images) -> None:
    with closing(Looker()) as looker:
        assert looker.look_at(images[: LEAST_ROWS - 1] * 0) == ()
        assert looker.process is None
        assert looker.look_at(images[:LEAST_ROWS] * 0)
        assert looker.look_at(images) == ()  # it is asked again


def test_a_looker_that_is_not_asked_ends() -> None:
    with closing(Looker()) as looker:
        process = looker.start()
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL


def test_a_look_that_fails_is_told(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    told = r"the look at the first rows failed: .+; --check off scores without it"
    with closing(Looker()) as looker, pytest.raises(FashionError, match=told):
        looker.look_at(images)


def test_only_the_first_rows_are_read(tmp_path: Path) -> None:
    pixels = pa.array([bytes(784)] * (MOST_ROWS + 3000), pa.binary(784))
    pq.write_table(pa.table({"pixels": pixels}), tmp_path / "in.parquet", row_group_size=1000)
    assert read_first(tmp_path / "in.parquet", Reading()).shape == (MOST_ROWS, *IMAGE_SHAPE)


def test_the_drawn_sample_passes_too(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, train_rows=600, test_rows=100)
    assert check_images(read_idx(folder / "train-images-idx3-ubyte.gz", 16).reshape(-1, *IMAGE_SHAPE)) == ()


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVE.exists(), reason="no official archives in FASHION_SOURCE")
def test_no_class_of_the_real_data_alarms_though_it_comes_alone() -> None:
    images = read_idx(ARCHIVE, 16).reshape(-1, *IMAGE_SHAPE)
    labels = read_idx(ARCHIVE.with_name("t10k-labels-idx1-ubyte.gz"), 8)
    for one in range(10):
        assert check_images(images[labels == one]) == ()
        assert check_images(images[labels == one][:LEAST_ROWS]) == ()
    for start in range(0, 10_000, 1000):
        assert check_images(images[start : start + 1000]) == ()


def read_idx(path: Path, header: int) -> Images:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)
