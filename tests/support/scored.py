"""A table to score, a model, and helpers to read the output."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from readings import PIXEL_COLUMNS

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.training.train import Trained

SMALL = 64 << 10  # bytes per part: about twenty rows of CSV


@pytest.fixture(scope="session")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:scoring1", card, trained.network.to_numpy())


def to_lines(examples: Examples, rows: int) -> list[str]:
    pairs = zip(examples.labels[:rows].tolist(), examples.images[:rows], strict=True)
    return [f"{label},{','.join(map(str, image.ravel().tolist()))}" for label, image in pairs]


HEADER = ",".join(["label", *PIXEL_COLUMNS])


@pytest.fixture
def table(tmp_path: Path, test_split: Examples) -> Path:
    """A CSV with 200 rows in several parts, three of them invalid."""
    lines = to_lines(test_split, 200)
    lines[3], lines[77], lines[199] = "bad", lines[77].replace(",", ",x", 1), lines[199] + ",1"
    path = tmp_path / "in.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows_of(path: Path) -> list[dict[str, object]]:
    """The rows of an output without `scored_at`, which differs between jobs."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    else:
        rows = [dict(row) for row in read_csv(path)]
    return [{name: value for name, value in row.items() if name != "scored_at"} for row in rows]
