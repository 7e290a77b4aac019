"""Predictions have the same fields in files, in tables over HTTP and in JSON, for any number of classes."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contract import Predictions
from components.errors import InputError
from components.monitoring.drift.scored import read_scored
from components.readers.blocks import Block
from components.scoring.answers import Answer, answer_schema, to_answers
from components.scoring.outputs import FORMATS, scored_schema, to_table
from components.scoring.summary import count_rows
from components.scoring.tables import CsvWriter, every_row, inert, table_schema

SHOP = ("10", "=Kids 2-6", 'A "B", C', "2026-01-01")  # names that a reader may misinterpret


def predict_any(classes: tuple[str, ...], rows: int = 6) -> Predictions:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(classes)), rows).astype(np.float32)
    labels = probabilities.argmax(axis=1).astype(np.uint16)
    return Predictions("shop-mlp:abcdefgh", classes, labels, probabilities, np.arange(rows) % 2 == 0)


def block_of(rows: int) -> Block:
    images = np.zeros((rows, 20, 24, 3), np.uint8)
    return Block(np.arange(1, rows + 1), [str(row) for row in range(rows)], images, None, ())


def many(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


@pytest.mark.parametrize("classes", [SHOP[:2], SHOP, many(128), many(200), many(1000)], ids=len)
@pytest.mark.parametrize("suffix", FORMATS)
def test_files_use_the_models_own_classes(classes: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    predictions, schema = predict_any(classes), scored_schema(classes)
    part, path = tmp_path / "part", tmp_path / f"out{suffix}"
    with part.open("wb") as file:
        FORMATS[suffix].write([to_table(block_of(6), predictions, "now")], schema, file)
    with path.open("wb") as file:
        FORMATS[suffix].join([part], schema, file)
    (seen,) = read_scored(path, classes)
    assert seen["label"].tolist() == predictions.labels.tolist()
    assert seen["sure"].tolist() == predictions.sure.tolist()
    if suffix == ".parquet":
        table = pq.read_table(path)
        ranked = np.argsort(-predictions.probabilities, axis=1, kind="stable")
        for rank, name in enumerate(("name", "second", "third")[: len(classes)]):
            assert table[name].to_pylist() == [classes[label] for label in ranked[:, rank]]
    first = predictions.names[0]
    with pytest.raises(InputError) as refused:
        list(read_scored(path, [f"{name}." for name in classes]))
    assert refused.value.reason == f"class name: found {first!r}, its model says {first + '.'!r}"


@pytest.mark.parametrize(("count", "label"), [(2, pa.uint8()), (256, pa.uint8()), (257, pa.uint16())])
def test_files_tables_and_json_share_fields(count: int, label: pa.DataType) -> None:
    classes = many(count)
    fields = answer_schema(classes)
    assert fields.field("label").type == label
    file, table = scored_schema(classes), table_schema(classes)
    assert [name for name in file.names if name in fields.names] == fields.names
    assert table.names == ["id", *fields.names, "reason"]
    for name in ("label", "confidence", "sure"):
        assert file.field(name).type == table.field(name).type == fields.field(name).type
    assert list(Answer.__annotations__)[:4] == fields.names[:4]


def test_json_has_all_probabilities_and_the_top_classes() -> None:
    answers = json.loads(orjson.dumps(to_answers(predict_any(SHOP), top=2), option=orjson.OPT_SERIALIZE_NUMPY))
    for answer in answers:
        assert answer.keys() == Answer.__annotations__.keys()
        assert answer["name"] == SHOP[answer["label"]] == answer["top"][0]["name"]
        assert answer["confidence"] == max(answer["probabilities"]) == answer["top"][0]["probability"]
        assert len(answer["top"]) == 2


def test_class_names_in_tables_are_never_formulas() -> None:
    file = io.BytesIO()
    CsvWriter(file, table_schema(SHOP)).write(every_row(block_of(6), predictions := predict_any(SHOP)))
    rows = list(csv.DictReader(io.StringIO(file.getvalue().decode())))
    assert [row["name"] for row in rows] == [inert(name) for name in predictions.names]


def test_rows_are_counted_by_the_models_own_classes() -> None:
    predictions, block = predict_any(SHOP), block_of(6)
    true = np.array([0, 1, 2, 3, 3, 3], np.uint8)
    count = count_rows(predictions, Block(block.lines, block.ids, block.images, true, ()))
    assert (count.scored, sum(count.names.values()), set(count.names) <= set(SHOP)) == (6, 6, True)
    assert np.array(count.confusion).sum(axis=1).tolist() == [1, 1, 1, 3]
