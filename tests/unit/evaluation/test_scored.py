"""Slices of a scored file: its columns, true labels, missing values, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import ModelCard, Predictions
from components.dataset.manifest import Examples
from components.errors import InputError
from components.evaluation.scored import read_scored_labels, slice_scored
from components.model.classifier import Classifier
from components.readers.blocks import Block
from components.scoring.outputs import format_of, schema_with, to_table
from components.scoring.predict import predict
from components.training.train import Trained

ROWS = 200
BRANDS = [("=acme", "007", None, "  ")[row % 4] for row in range(ROWS)]


@pytest.fixture(scope="module")
def predictions(trained: Trained, card: ModelCard, test_split: Examples) -> Predictions:
    return predict(Classifier("fashion-mlp:scored00", card, trained.network.to_numpy()), test_split.images)


@pytest.fixture(params=[".csv", ".parquet", ".jsonl"])
def scored(request: pytest.FixtureRequest, tmp_path: Path, predictions: Predictions, test_split: Examples) -> Path:
    """A file as `fashion score --keep` writes it; the images of one season are answered at random."""
    extra = pa.table(
        {
            "true": pa.array([CLASSES[label] for label in test_split.labels.tolist()]),
            "brand": pa.array(BRANDS, pa.string()),
            "price": pa.array([None if row % 5 == 0 else row * 0.5 for row in range(ROWS)], pa.float64()),
            "season": pa.array(["summer" if row < 60 else "winter" for row in range(ROWS)]),
        }
    )
    random = predictions.probabilities.copy()
    random[:60] = np.roll(random[:60], 1, axis=1)
    return write_scored(tmp_path / f"scored{request.param}", with_probabilities(predictions, random), extra)


def with_probabilities(predictions: Predictions, probabilities: np.ndarray) -> Predictions:
    labels = probabilities.argmax(axis=1).astype(predictions.labels.dtype)
    return dataclasses.replace(predictions, probabilities=probabilities, labels=labels)


def write_scored(path: Path, predictions: Predictions, extra: pa.Table) -> Path:
    count = len(predictions.labels)
    ids, images = [f"row {row}" for row in range(count)], np.zeros((count, 28, 28), np.uint8)
    block = dataclasses.replace(Block(np.arange(1, count + 1), ids, images, None, ()), extra=extra)
    table, schema = to_table(block, predictions, "2026-01-01T00:00:00+00:00"), schema_with(extra.schema, CLASSES)
    form, part = format_of(path), path.with_name("part")
    with part.open("wb") as file:
        form.write([table], schema, file)
    with path.open("wb") as file:
        form.join([part], schema, file)
    return path


def test_the_columns_that_were_kept_are_sliced(scored: Path, test_split: Examples) -> None:
    found = slice_scored(scored, CONTRACT, "true")
    assert found.on == f"rows of {scored.name}"
    assert found.images == ROWS
    assert {one.by[0] for one in found.slices} == {"brand", "price", "season"}
    assert found.slices[0].name == "season summer"
    assert found.slices[0].weaker
    brands = {one.values[0]: one.images for one in found.slices if one.by == ("brand",)}
    assert brands == {"=acme": 50, "007": 50, "missing": 100}, "empty, blank and absent cells are missing"
    prices = [one for one in found.slices if one.by == ("price",)]
    assert {one.images for one in prices if one.values == ("missing",)} == {40}
    assert sum(one.images for one in prices) == ROWS
    assert len(prices) == 6


def test_only_the_columns_that_are_named_are_sliced(scored: Path) -> None:
    found = slice_scored(scored, CONTRACT, "true", ["season"])
    assert {one.by for one in found.slices} == {("season",)}


@pytest.mark.parametrize(
    ("truth", "by", "message"),
    [
        ("colour", (), "no column 'colour'; the columns kept from its input are true, brand, price, season"),
        ("true", ("colour",), "no column 'colour'; .* Score again with --keep colour"),
        ("name", (), "column 'name': is the model's answer, expected a column of true labels"),
        ("brand", (), "column 'brand': no label can be read, expected 0 to 9 or one of T-shirt/top"),
    ],
)
def test_a_wrong_column_is_refused(scored: Path, truth: str, by: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        slice_scored(scored, CONTRACT, truth, by)


def test_rows_without_a_label_of_the_model_are_left_out_and_counted(tmp_path: Path, predictions: Predictions) -> None:
    true = [("Coat", "4", "hat", None)[row % 4] for row in range(ROWS)]
    extra = pa.table({"true": pa.array(true), "shop": pa.array(["a"] * ROWS)})
    path = write_scored(tmp_path / "scored.csv", predictions, extra)
    scored = read_scored_labels(path, CONTRACT, "true")
    assert len(scored.labels) == 100
    assert set(scored.labels.tolist()) == {CLASSES.index("Coat")}, "by name and by number"
    assert scored.notes == (
        "true: empty in 50 rows, which are left out",
        "true: not a class of the model in 50 rows, which are left out: 'hat' (50)",
    )


def test_labels_are_read_as_pandas_writes_them(tmp_path: Path, predictions: Predictions) -> None:
    extra = pa.table({"true": pa.array([4.0, None] * 100), "shop": pa.array(["a"] * ROWS)})
    path = write_scored(tmp_path / "scored.parquet", predictions, extra)
    assert set(read_scored_labels(path, CONTRACT, "true").labels.tolist()) == {4}


def test_files_that_are_not_scored_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column 'label'; no column was kept from its input"):
        slice_scored(path, CONTRACT, "a")
    with pytest.raises(InputError, match="no such file"):
        slice_scored(tmp_path / "none.csv", CONTRACT, "a")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not an output of 'fashion score'"):
        slice_scored(tmp_path / "broken.parquet", CONTRACT, "a")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "table.txt")
    with pytest.raises(InputError, match="unknown file format"):
        slice_scored(tmp_path / "table.txt", CONTRACT, "a")
