"""Predictions of arrays, and what score writes."""

import csv
import dataclasses
import io
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.contract import CLASSES, ModelCard
from components.errors import InputError
from components.formats.pixel_csv import PIXEL_COLUMNS, read_pixel_csv
from components.inference.predict import SURE_OF_VIEWS, predict, predict_photos
from components.inference.score import rejects_path, score_blocks, score_file
from components.inference.tables import SCORED, inert
from components.manifest import Examples, to_table
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.settings import Settings

HEADER = ",".join(PIXEL_COLUMNS)
ROW = ",".join(["7"] * 784)


@pytest.fixture
def model(network: MLP, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:abcdefgh", card, network)


def with_thresholds(model: Classifier, thresholds: list[float]) -> Classifier:
    """The same network, sure of other predictions."""
    calibration = dataclasses.replace(model.card.calibration, thresholds=tuple(thresholds))
    return dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=calibration))


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


def test_a_photo_is_classified_by_the_mean_of_its_views(model: Classifier, test_split: Examples) -> None:
    each = predict(model, test_split.images)
    photos = [test_split.images[:6], test_split.images[6:7], test_split.images[7:10]]
    predictions = predict_photos(model, photos)
    assert predictions.probabilities.dtype == np.float32
    for row, views in enumerate((slice(0, 6), slice(6, 7), slice(7, 10))):
        assert np.allclose(predictions.probabilities[row], each.probabilities[views].mean(axis=0), atol=1e-6)
    assert np.array_equal(predictions.labels, predictions.probabilities.argmax(axis=1))


def test_a_photo_of_one_view_is_classified_as_an_image(model: Classifier, test_split: Examples) -> None:
    expected = predict(model, test_split.images)
    predictions = predict_photos(model, [image[None] for image in test_split.images])
    assert np.array_equal(predictions.probabilities, expected.probabilities)
    assert np.array_equal(predictions.sure, expected.sure)


def test_of_several_views_it_is_sure_where_they_agree(model: Classifier, test_split: Examples) -> None:
    """The thresholds, here none, are for pictures like the dataset's."""
    model = with_thresholds(model, [0.0] * len(CLASSES))
    plain = predict(model, test_split.images)
    clear, *_, unclear = np.argsort(-plain.confidences)
    other = np.flatnonzero(plain.labels != plain.labels[clear])[0]
    pairs = [(clear, clear), (unclear, unclear), (clear, other)]
    assert plain.confidences[clear] > SURE_OF_VIEWS > plain.confidences[unclear]
    assert predict_photos(model, [test_split.images[list(pair)] for pair in pairs]).sure.tolist() == [
        True,
        False,
        False,
    ]
    with pytest.raises(InputError, match="expected uint8"):
        predict_photos(model, [np.zeros((2, 28, 27), np.uint8)])


def test_it_is_sure_of_what_exceeds_the_threshold_of_its_class(model: Classifier, test_split: Examples) -> None:
    """Each class's threshold is one of its own confidences: that one does not exceed it, the higher ones do."""
    plain = predict(model, test_split.images)
    middles = [float(np.sort(plain.confidences[plain.labels == label])[-2:][0]) for label in np.unique(plain.labels)]
    thresholds = np.ones(len(CLASSES))
    thresholds[np.unique(plain.labels)] = middles
    predictions = predict(with_thresholds(model, thresholds.tolist()), test_split.images)
    assert predictions.sure.dtype == np.bool_
    for label, confidence, sure in zip(predictions.labels, predictions.confidences, predictions.sure, strict=True):
        assert sure == (confidence > thresholds[label])
    assert 0 < predictions.sure.sum() <= len(middles)


@pytest.mark.parametrize(("threshold", "sure"), [(0.0, True), (1.0, False)])
def test_it_can_be_sure_of_everything_and_of_nothing(
    model: Classifier, test_split: Examples, threshold: float, sure: bool
) -> None:
    assert set(predict(with_thresholds(model, [threshold] * 10), test_split.images).sure.tolist()) == {sure}


def test_what_is_served_is_divided_by_the_temperature(model: Classifier, test_split: Examples) -> None:
    calibration = dataclasses.replace(model.card.calibration, temperature=2.5)
    warm = dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=calibration))
    logits = model.logits(test_split.images).double().numpy() / 2.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predictions = predict(warm, test_split.images)
    np.testing.assert_allclose(predictions.probabilities, expected, rtol=0, atol=1e-6)
    assert np.array_equal(predictions.labels, predict(model, test_split.images).labels)


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
    count = score_file(model, source, output)
    assert (count.rows, count.scored, count.rejected) == (4, 2, 2)
    assert [line.split(",")[0] for line in output.read_text().splitlines()] == ["id", "1", "4"]
    first, second = rejects_path(output).read_bytes().splitlines()[1:]
    assert first == b"3,row: not UTF-8 text,caf\xe9"
    assert second.startswith(b"4,pixel1: '256' is not a whole number from 0 to 255,")
    source.write_text(f"{HEADER}\n{ROW}\n")
    assert score_file(model, source, output).rejected == 0
    assert not rejects_path(output).exists(), "no rejects, no file of rejects of another day"


def test_a_scored_row_says_what_a_prediction_says(model: Classifier, test_split: Examples, tmp_path: Path) -> None:
    median = float(np.median(predict(model, test_split.images).confidences))
    model = with_thresholds(model, [median] * 10)
    predictions = predict(model, test_split.images)
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join([HEADER, *(",".join(map(str, image.ravel())) for image in test_split.images)]) + "\n")
    score_file(model, source, output)
    with output.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "label", "name", "confidence", "sure", "model"]
    assert [(int(label), name) for _, label, name, *_ in rows] == list(
        zip(predictions.labels, predictions.names, strict=True)
    )
    assert [float(row[3]) for row in rows] == pytest.approx(predictions.confidences.tolist(), abs=1e-6)
    assert [row[4] for row in rows] == ["yes" if sure else "no" for sure in predictions.sure]
    assert {row[4] for row in rows} == {"yes", "no"}
    assert {row[5] for row in rows} == {model.tag}


def test_the_output_never_takes_the_place_of_the_input(model: Classifier, tmp_path: Path) -> None:
    source = tmp_path / "in.rejects.csv"
    source.write_text(f"{HEADER}\n{ROW}\n")
    link = tmp_path / "link.csv"
    link.symlink_to(source)
    for output in (source, link, tmp_path / "in.csv"):
        with pytest.raises(InputError, match="overwrite the input"):
            score_file(model, source, output)


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
    *_, count = score_blocks(model, read_pixel_csv(empty), [])
    assert count.rejected == (1 << 20) - 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 100e6
    empty.seek(0)
    with pytest.raises(InputError, match="more than 1,000 rows cannot be read"):
        list(score_blocks(model, read_pixel_csv(empty), [], most_rejects=1000))


def test_parquet_is_answered_as_parquet_with_what_a_csv_is_answered(
    model: Classifier, test_split: Examples, tmp_path: Path
) -> None:
    table = to_table(test_split.ids, "test", test_split.labels, test_split.images)
    column = table["pixels"].to_pylist()
    column[1] = None
    broken = table.set_column(3, "pixels", [column]).cast(
        table.schema.set(3, table.schema.field(3).with_nullable(True))
    )
    pq.write_table(broken, tmp_path / "in.parquet")
    count = score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert (count.rows, count.scored, count.rejected) == (200, 199, 1)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.equals(SCORED)
    predictions = predict(model, np.delete(test_split.images, 1, axis=0))
    assert found["id"].to_pylist() == [test_split.ids[0], *test_split.ids[2:]]
    assert found["label"].to_pylist() == predictions.labels.tolist()
    assert found["name"].to_pylist() == predictions.names
    assert found["confidence"].to_numpy() == pytest.approx(predictions.confidences, abs=1e-6)
    assert found["sure"].to_pylist() == predictions.sure.tolist()
    (reject,) = pq.read_table(tmp_path / "out.rejects.parquet").to_pylist()
    assert (reject["number"], reject["reason"]) == (2, "pixels: nothing, expected 784 bytes")


def test_each_kind_of_table_is_answered_in_kind(model: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"{HEADER}\n{ROW}\n")
    with pytest.raises(InputError, match="CSV is answered as CSV"):
        score_file(model, tmp_path / "in.csv", tmp_path / "out.parquet")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_damaged_parquet_leaves_no_output(model: Classifier, test_split: Examples, tmp_path: Path) -> None:
    """Damage in the last row group: by then, much is written."""
    table = to_table(test_split.ids, "test", test_split.labels, test_split.images)
    source = tmp_path / "in.parquet"
    pq.write_table(table, source, row_group_size=50, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(source.read_bytes())
    content[content.index(test_split.images[190].tobytes())] ^= 1
    source.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        score_file(model, source, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source]


def test_a_relative_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHION_DATA_DIR", "here")
    assert Settings().data_dir == tmp_path / "here"
    monkeypatch.setenv("FASHION_DATA_DIR", "~/here")
    assert Settings().data_dir == Path.home() / "here"
