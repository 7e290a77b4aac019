"""Predictions have the same fields in files, in tables over HTTP and in JSON, for any number of classes."""

import csv
import io
import json
from dataclasses import replace
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
from components.scoring.answers import Answer, add_top, answer_schema, to_answers
from components.scoring.outputs import FORMATS, scored_schema, to_table
from components.scoring.summary import count_rows
from components.scoring.tables import CsvWriter, every_row, inert, table_schema

SHOP = ("10", "=Kids 2-6", 'A "B", C', "2026-01-01")  # names that a reader may misinterpret


def predict_any(classes: tuple[str, ...], rows: int = 6) -> Predictions:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(classes)), rows).astype(np.float32)
    labels = probabilities.argmax(axis=1).astype(np.uint16)
    return Predictions("shop-mlp:abcdefgh", classes, labels, probabilities, np.arange(rows) % 2 == 0)


def predict_known(classes: tuple[str, ...], rows: int = 6) -> Predictions:
    """Predictions of a model that detects unknown inputs: every third is unknown."""
    known = np.arange(rows) % 3 > 0
    return replace(predict_any(classes, rows), known=known, familiarity=np.linspace(0, 1, rows, dtype=np.float32))


def write_file(path: Path, predictions: Predictions) -> None:
    part, form, schema = path.with_name("part"), FORMATS[path.suffix], scored_schema(predictions.classes)
    with part.open("wb") as file:
        form.write([to_table(block_of(len(predictions.labels)), predictions, "now")], schema, file)
    with path.open("wb") as file:
        form.join([part], schema, file)


def block_of(rows: int) -> Block:
    images = np.zeros((rows, 20, 24, 3), np.uint8)
    return Block(np.arange(1, rows + 1), [str(row) for row in range(rows)], images, None, ())


def many(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


@pytest.mark.parametrize("classes", [SHOP[:2], SHOP, many(128), many(200), many(1000)], ids=len)
@pytest.mark.parametrize("suffix", FORMATS)
def test_files_use_the_models_own_classes(classes: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    predictions, path = predict_any(classes), tmp_path / f"out{suffix}"
    write_file(path, predictions)
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
    for name in ("label", "confidence", "sure", "known", "familiarity"):
        assert file.field(name).type == table.field(name).type == fields.field(name).type
    assert list(Answer.__annotations__)[:6] == fields.names[:6]


def test_files_say_which_rows_are_known(tmp_path: Path) -> None:
    predictions = predict_known(SHOP)
    csv_file, parquet, lines = (tmp_path / f"out{suffix}" for suffix in (".csv", ".parquet", ".jsonl"))
    for path in (csv_file, parquet, lines):
        write_file(path, predictions)
    said, shares = [False, True, True, False, True, True], [0, 0.2, 0.4, 0.6, 0.8, 1]
    rows = list(csv.DictReader(csv_file.open()))
    assert [row["known"] for row in rows] == ["yes" if known else "no" for known in said]
    assert [row["familiarity"] for row in rows] == [f"{share:.6f}" for share in shares]
    table = pq.read_table(parquet)
    assert table["known"].to_pylist() == said
    assert table["familiarity"].to_pylist() == pytest.approx(shares)
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["known"] for row in written] == said
    assert [row["familiarity"] for row in written] == pytest.approx(shares)


def test_files_of_a_model_that_cannot_tell_have_no_values(tmp_path: Path) -> None:
    csv_file, parquet, lines = (tmp_path / f"out{suffix}" for suffix in (".csv", ".parquet", ".jsonl"))
    for path in (csv_file, parquet, lines):
        write_file(path, predict_any(SHOP))
    rows = [
        *csv.DictReader(csv_file.open()),
        *pq.read_table(parquet).to_pylist(),
        *(json.loads(line) for line in lines.read_text().splitlines()),
    ]
    assert len(rows) == 18
    assert {(row["known"] or None, row["familiarity"] or None) for row in rows} == {(None, None)}
    assert all(row["model"] == "shop-mlp:abcdefgh" for row in rows), "the columns after them stay in place"


@pytest.mark.parametrize("rows", [6, 0])
def test_tables_over_http_say_which_rows_are_known(rows: int) -> None:
    for predictions, values in (
        (predict_known(SHOP, rows), [("no", "0.000000"), ("yes", "0.200000")]),
        (predict_any(SHOP, rows), [("", ""), ("", "")]),
    ):
        file = io.BytesIO()
        CsvWriter(file, table_schema(SHOP)).write(every_row(block_of(rows), predictions))
        found = list(csv.DictReader(io.StringIO(file.getvalue().decode())))
        assert [(row["known"], row["familiarity"]) for row in found[:2]] == values[:rows]
        assert {row["model"] for row in found} <= {"shop-mlp:abcdefgh"}


def test_json_says_which_images_are_known() -> None:
    detected, without = to_answers(predict_known(SHOP)), to_answers(predict_any(SHOP))
    assert [one["known"] for one in detected] == [False, True, True, False, True, True]
    assert [one["familiarity"] for one in detected] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert {(one["known"], one["familiarity"]) for one in without} == {(None, None)}


def test_unknown_rows_are_counted() -> None:
    block = block_of(6)
    count = count_rows(predict_known(SHOP), block)
    assert (count.unknown, (count + count).unknown) == (2, 4)
    assert count_rows(predict_any(SHOP), block).unknown == 0


def test_json_has_all_probabilities_and_the_top_classes() -> None:
    found = to_answers(predict_any(SHOP))
    add_top(found, SHOP, 2)
    answers = json.loads(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))
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
