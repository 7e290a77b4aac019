"""Labelled tables are ingested as a whole, or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from awkward import AWKWARD
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.sample import draw
from components.contract import Images, Labels
from components.dataset.sources import find_source
from components.dataset.tables import read_picture_table
from components.errors import SourceError
from components.settings import Settings


@pytest.fixture(scope="module")
def examples() -> tuple[Images, Labels]:
    return draw(12, np.random.default_rng(7))


def write_csv(path: Path, columns: str, rows: list[str]) -> Path:
    path.write_text("\n".join([f"{columns}{','.join(PIXEL_COLUMNS)}", *rows]) + "\n")
    return path


def rows_of(images: Images, labels: Labels) -> list[str]:
    return [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]


def test_a_labelled_csv_adds_training_examples(tmp_path: Path, examples: tuple[Images, Labels]) -> None:
    path = write_csv(tmp_path / "new.CSV", "label,", rows_of(*examples))
    source = find_source(str(path), Settings(), CONTRACT)
    assert source.name == "csv:new.CSV"
    assert source.extends
    assert list(source.digests) == ["train"]
    images, labels = source.read("train")
    assert np.array_equal(images, examples[0])
    assert np.array_equal(labels, examples[1])


def test_one_bad_row_rejects_the_whole_csv(tmp_path: Path, examples: tuple[Images, Labels]) -> None:
    rows = rows_of(*examples)
    rows[2], rows[5], rows[6], rows[7] = f"1{rows[2][1:]},7", "", rows[6].replace(",", ",x", 1), "10" + rows[7][1:]
    source = find_source(str(write_csv(tmp_path / "new.csv", "label,", rows)), Settings(), CONTRACT)
    message = (
        r"new\.csv: 4 bad row\(s\), nothing was ingested: line 4: row: found 786 cells, expected 785; "
        r"line 7: row: empty line; line 8: pixel1: 'x.*' is not a whole number"
    )
    with pytest.raises(SourceError, match=message):
        source.read("train")


@pytest.mark.parametrize("columns", ["", "id,"])
def test_a_csv_without_labels_adds_nothing(tmp_path: Path, columns: str) -> None:
    path = write_csv(tmp_path / "new.csv", columns, [columns.replace("id", "a") + ",".join(["1"] * 784)])
    with pytest.raises(SourceError, match=r"new\.csv: no labelled rows; expected label,pixel1"):
        find_source(str(path), Settings(), CONTRACT).read("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found no header"),
        (b"label\n", r"missing 784 column\(s\)"),
        (f"label,{','.join(PIXEL_COLUMNS)}\n".encode(), "no labelled rows"),
    ],
)
def test_an_invalid_csv_is_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "new.csv").write_bytes(content)
    with pytest.raises(SourceError, match=rf"new\.csv: .*{message}"):
        find_source(str(tmp_path / "new.csv"), Settings(), CONTRACT).read("train")


@pytest.mark.parametrize(("column", "classes"), [(pa.string(), ["10", "kids  2-6", "3"]), (pa.int64(), [10, None, 3])])
def test_class_names_may_be_numbers(tmp_path: Path, column: pa.DataType, classes: list[Any]) -> None:
    path = tmp_path / "new.parquet"
    pq.write_table(pa.table({"image": pa.array([b"x"] * 3), "label": pa.array(classes, column)}), path)
    labels = [row.label for row in read_picture_table(path, AWKWARD)]
    assert labels == [0, 1 if classes[1] else None, 2]
