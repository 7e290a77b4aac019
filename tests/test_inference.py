"""Predictions of arrays, and what score writes."""

import io
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from components.contract import CLASSES, ModelCard
from components.errors import InputError
from components.formats.pixel_csv import PIXEL_COLUMNS
from components.inference.predict import predict
from components.inference.score import inert, rejects_path, score_csv, score_stream
from components.manifest import Examples
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.settings import Settings

HEADER = ",".join(PIXEL_COLUMNS)
ROW = ",".join(["7"] * 784)


@pytest.fixture
def model(network: MLP, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:abcdefgh", card, network)


def test_predictions_do_not_depend_on_the_company(model: Classifier, test_split: Examples) -> None:
    together = predict(model, test_split.images)
    for row in (0, 7, 199):
        alone = predict(model, test_split.images[row : row + 1])
        assert np.allclose(alone.probabilities[0], together.probabilities[row], atol=1e-6)
        assert alone.names == [CLASSES[together.labels[row]]]
    assert np.array_equal(together.confidences, together.probabilities.max(axis=1))


def test_more_images_than_one_pass_takes_and_none(model: Classifier, test_split: Examples) -> None:
    many = predict(model, np.concatenate([test_split.images] * 42))
    assert np.allclose(many.probabilities[-200:], predict(model, test_split.images).probabilities, atol=1e-6)
    assert predict(model, test_split.images[:0]).probabilities.shape == (0, 10)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 784), np.uint8),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 28, 28), np.float32),
        np.zeros((1, 28, 27), np.uint8),
    ],
)
def test_another_shape_or_type_is_refused(model: Classifier, images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected uint8 \(n, 28, 28\)"):
        predict(model, images)


def test_every_row_is_scored_or_rejected(model: Classifier, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    rejects_path(output).write_text("of yesterday")
    source.write_bytes(
        b"\n".join([HEADER.encode(), ROW.encode(), b"caf\xe9", ROW.replace("7", "256").encode(), ROW.encode()])
    )
    count = score_csv(model, source, output)
    assert (count.rows, count.scored, count.rejected) == (4, 2, 2)
    assert [line.split(",")[0] for line in output.read_text().splitlines()] == ["id", "1", "4"]
    first, second = rejects_path(output).read_bytes().splitlines()[1:]
    assert first == b"3,row: not UTF-8 text,caf\xe9"
    assert second.startswith(b"4,pixel1: '256' is not a whole number from 0 to 255,")
    source.write_text(f"{HEADER}\n{ROW}\n")
    assert score_csv(model, source, output).rejected == 0
    assert not rejects_path(output).exists(), "no rejects, no file of rejects of another day"


def test_the_output_never_takes_the_place_of_the_input(model: Classifier, tmp_path: Path) -> None:
    source = tmp_path / "in.rejects.csv"
    source.write_text(f"{HEADER}\n{ROW}\n")
    link = tmp_path / "link.csv"
    link.symlink_to(source)
    for output in (source, link, tmp_path / "in.csv"):
        with pytest.raises(InputError, match="overwrite the input"):
            score_csv(model, source, output)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("\tx", "'\tx"),
        ("'x", "''x"),
        ("-42", "-42"),
        ("+1.5", "+1.5"),
        ("a=1", "a=1"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_made_inert(cell: str, written: str) -> None:
    assert inert(cell) == written


def test_lines_without_end_do_not_fill_the_memory(model: Classifier) -> None:
    """A million empty lines, which would take 250 MB as rejects in memory all at once."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    empty = io.BytesIO(HEADER.encode() + b"\n" * (1 << 20))
    with Path("/dev/null").open("wb") as nowhere:
        count = score_stream(model, empty, nowhere, nowhere)
        assert count.rejected == (1 << 20) - 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * (1 if sys.platform == "darwin" else 1024) < 100e6
        empty.seek(0)
        with pytest.raises(InputError, match="more than 1,000 rows cannot be read"):
            score_stream(model, empty, nowhere, nowhere, most_rejects=1000)


def test_a_relative_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHION_DATA_DIR", "here")
    assert Settings().data_dir == tmp_path / "here"
    monkeypatch.setenv("FASHION_DATA_DIR", "~/here")
    assert Settings().data_dir == Path.home() / "here"
