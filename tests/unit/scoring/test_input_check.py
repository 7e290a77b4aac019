"""The input sanity check: what it stops, what it warns about, and what it passes."""

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

from components.catalogues.catalogue import InputBounds
from components.catalogues.fashion_mnist import CONTRACT, INPUTS
from components.contract import Images, ModelCard
from components.dataset.archives import write_sample
from components.dataset.manifest import Examples
from components.errors import FashionError, InputError
from components.model.classifier import Classifier
from components.readers.folders.parts import TableReading
from components.readers.images.idx import read_idx
from components.scoring.expectations import check_images
from components.scoring.input_check import MAX_ROWS, MIN_ROWS, SKIP_CHECK, WARN_ONLY, InputChecker, Mode, read_first
from components.scoring.job import Summary, run_job
from components.scoring.sanity import inspect_images, refuse_wrong
from components.training.train import Trained

Spoil = Callable[[Images], Images]
ARCHIVE = Path(os.environ.get("FASHION_SOURCE", "auto"), "t10k-images-idx3-ubyte.gz")


@pytest.fixture(scope="session")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:checked1", card, trained.network.to_numpy())


@pytest.fixture
def images(test_split: Examples) -> Images:
    return test_split.images


def score(model: Classifier, images: Images, folder: Path, check: Mode, checker: InputChecker) -> Summary:
    pixels = pa.array([image.tobytes() for image in images], pa.binary(784))
    pq.write_table(pa.table({"pixels": pixels}), folder / "in.parquet", row_group_size=50)
    return run_job(model, folder / "in.parquet", folder / "out.csv", check=check, checker=checker)


def test_images_of_the_dataset_pass(model: Classifier, images: Images, tmp_path: Path, checker: InputChecker) -> None:
    assert score(model, images, tmp_path, "fail", checker).warnings == ()
    assert (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: 255 - images, "a bright border in 100% of the first rows; the background must be black"),
        (lambda images: images // 255, "no pixel above 1 in the first rows; .* multiply those of 0 to 1 by 255"),
        (lambda images: images * 0, "nothing but one colour or noise in 100% of the first rows"),
        (lambda images: images * 0 + 255, "nothing but one colour or noise in 100% of the first rows"),
    ],
    ids=["inverted", "0 to 1", "black", "white"],
)
def test_wrong_images_are_found(images: Images, spoil: Spoil, message: str) -> None:
    (finding,) = check_images(spoil(images), INPUTS)
    assert finding.is_wrong
    assert re.match(message, finding.message)


def test_wrong_images_stop_the_job(model: Classifier, images: Images, tmp_path: Path, checker: InputChecker) -> None:
    with pytest.raises(InputError, match=r"in\.parquet: a bright border in 100% ") as raised:
        score(model, 255 - images, tmp_path, "fail", checker)
    assert raised.value.remedies == (WARN_ONLY,)  # --check warn
    assert not (tmp_path / "out.csv").exists()
    summary = score(model, 255 - images, tmp_path, "warn", checker)
    assert len(summary.warnings) == 1
    assert summary.count.scored == len(images)
    assert score(model, 255 - images, tmp_path, "off", checker).warnings == ()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: (images * 0.6).astype(np.uint8), "the brightest pixel of an image"),
        (lambda images: np.concatenate([255 - images[:20], images[20:]]), "a bright border in 10% of the first rows"),
        (
            lambda images: np.concatenate([images[:20] * 0, images[20:]]),
            "nothing but one colour or noise in 10% of the first rows",
        ),
        (lambda images: np.concatenate([images[:40], images[:160]]), "repeat an earlier one is 0.2"),
        (lambda images: np.maximum(images, 40), "the share of pixels that are not black is 1"),
        (lambda images: np.pad(images[:, ::3, ::3], ((0, 0), (9, 9), (9, 9))), "the average pixel is"),
    ],
    ids=["dim", "some inverted", "some black", "duplicates", "grey background", "small"],
)
def test_unusual_images_are_found(images: Images, spoil: Spoil, message: str) -> None:
    findings = check_images(spoil(images), INPUTS)
    assert not any(finding.is_wrong for finding in findings)
    assert any(message in finding.message for finding in findings), findings


def test_unusual_images_are_scored_with_a_warning(
    model: Classifier, images: Images, tmp_path: Path, checker: InputChecker
) -> None:
    summary = score(model, np.maximum(images, 40), tmp_path, "fail", checker)
    assert any("not black is 1" in warning for warning in summary.warnings), summary.warnings
    assert summary.count.scored == len(images)


def test_few_rows_are_checked_without_a_process(images: Images) -> None:
    with closing(InputChecker()) as checker:
        (finding,) = checker.check(images[: MIN_ROWS - 1] * 0, INPUTS)
        assert finding.kind == "blank"
        assert checker.process is None
        assert checker.check(images[:MIN_ROWS] * 0, INPUTS)
        assert checker.check(images, INPUTS) == ()  # the process is reused


@pytest.mark.parametrize("rows", [1, 3, MIN_ROWS - 1])
@pytest.mark.parametrize(
    "spoil", [lambda images: 255 - images, lambda images: images // 255], ids=["inverted", "0 to 1"]
)
def test_wrong_images_stop_small_jobs_too(
    model: Classifier, images: Images, tmp_path: Path, checker: InputChecker, spoil: Spoil, rows: int
) -> None:
    with pytest.raises(InputError, match=r"in\.parquet: .* 255"):
        score(model, spoil(images[:rows]), tmp_path, "fail", checker)
    assert not (tmp_path / "out.csv").exists()
    summary = score(model, spoil(images[:rows]), tmp_path, "warn", checker)
    assert (len(summary.warnings), summary.count.scored) == (1, rows)


def test_a_blank_row_does_not_stop_a_small_job(
    model: Classifier, images: Images, tmp_path: Path, checker: InputChecker
) -> None:
    summary = score(model, np.concatenate([images[:3], images[:1] * 0]), tmp_path, "fail", checker)
    assert summary.count.scored == 4
    (warning,) = summary.warnings
    assert warning.startswith("nothing but one colour or noise in 1 of 4 images")


# --- single images ---


@pytest.mark.parametrize(
    ("spoil", "kind", "is_wrong"),
    [
        (lambda images: 255 - images, "inverted", True),
        (lambda images: images // 255, "scale", True),
        (lambda images: (images > 127).astype(np.uint8), "scale", True),
        (lambda images: images // 16, "dim", False),
        (lambda images: images * 0, "blank", False),
        (lambda images: images * 0 + 255, "blank", False),
    ],
    ids=["inverted", "0 to 1", "one bit", "0 to 15", "black", "white"],
)
@pytest.mark.parametrize("count", [1, 2, 20])
def test_findings_do_not_depend_on_the_number_of_images(
    images: Images, spoil: Spoil, kind: str, is_wrong: bool, count: int
) -> None:
    findings = inspect_images(spoil(images[:count]), INPUTS)
    assert (kind, is_wrong) in {(finding.kind, finding.is_wrong) for finding in findings}
    assert inspect_images(images[:count], INPUTS) == ()


def test_a_minority_of_wrong_images_is_a_warning_with_their_indices(images: Images) -> None:
    mixed = np.concatenate([images[:5], 255 - images[5:7], images[7:8] * 0, images[8:9] > 127])
    found = {finding.kind: finding for finding in inspect_images(mixed, INPUTS)}
    assert {kind: finding.images for kind, finding in found.items()} == {
        "inverted": (5, 6),
        "blank": (7,),
        "scale": (8,),
    }
    refuse_wrong(tuple(found.values()), "images")
    assert found["inverted"].message.startswith("a bright border in 2 of 9 images")


def test_the_bounds_define_what_is_wrong(images: Images) -> None:
    assert inspect_images(255 - images, InputBounds(edge=256.0)) == ()
    assert inspect_images(images, InputBounds(edge=-1.0))[0].is_wrong


def test_an_empty_batch_has_no_findings(images: Images) -> None:
    assert inspect_images(images[:0], INPUTS) == ()


# --- the process ---


def test_an_unused_checker_process_ends() -> None:
    with closing(InputChecker()) as checker:
        process = checker.start()
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL


def test_a_failed_check_is_reported(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with (
        closing(InputChecker()) as checker,
        pytest.raises(FashionError, match=r"the input sanity check failed to run: .+") as raised,
    ):
        checker.check(images, INPUTS)
    assert raised.value.remedies == (SKIP_CHECK,)  # --check off


def test_only_the_first_rows_are_read(tmp_path: Path) -> None:
    pixels = pa.array([bytes(784)] * (MAX_ROWS + 3000), pa.binary(784))
    pq.write_table(pa.table({"pixels": pixels}), tmp_path / "in.parquet", row_group_size=1000)
    assert read_first(tmp_path / "in.parquet", TableReading(), CONTRACT).shape == (MAX_ROWS, *CONTRACT.image.shape)


def test_the_synthetic_sample_passes(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, train_rows=600, test_rows=100)
    assert check_images(read_idx(folder / "train-images-idx3-ubyte.gz", CONTRACT.image.shape), INPUTS) == ()
