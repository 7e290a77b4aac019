"""Tables in all formats: delimiters, kept columns, pipes and errors."""

import csv
import datetime
import gzip
import inspect
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Calibration, ModelCard
from components.errors import InputError, SettingsError
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.readers.blocks import Block, Wanted
from components.readers.folders.parts import TableReading
from components.readers.tables import csv_cells, csv_digits
from components.readers.tables.layout import read_head
from components.registry import champion, store
from components.scoring.job import rejects_path, run_job
from components.scoring.tables import inert
from components.settings import CHECKOUT
from fashion.cli.main import run_command
from fashion.cli.scoring import open_ends
from fashion.cli.use import score

GOLDEN = CHECKOUT / "tests" / "golden"
HEADER = ",".join(PIXEL_COLUMNS)
BLACK = ",".join(["0"] * 784)
LITTLE = examples(max_examples=25, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="session")
def fixed(card: ModelCard) -> Classifier:
    """A network with fixed weights, independent of training and machine."""
    network, numbers = MLP(ModelConfig(hidden=(8,)), CONTRACT), np.random.RandomState(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(torch.from_numpy(numbers.standard_normal(weights.shape).astype(np.float32) / 4))
    return Classifier("fashion-mlp:golden", replace(card, calibration=Calibration(), known=None), network.to_numpy())


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_without_times(path: Path) -> list[dict[str, str]]:
    return [{**row, "scored_at": ""} for row in read_csv(path)]


# --- golden files ---

FORMS = {
    "plain.in.csv": TableReading(),
    "named.in.csv": TableReading(),
    "backwards.in.csv": TableReading(),
    "windows.in.csv": TableReading(),
    "quoted.in.csv": TableReading(),
    "semicolon.in.csv": TableReading(delimiter=";", kept=("sku",)),
    "gzip.in.csv.gz": TableReading(),
    "zstd.in.csv.zst": TableReading(),
    "bytes.in.parquet": TableReading(kept=("price",)),
    "columns.in.parquet": TableReading(),
}


@pytest.mark.parametrize("name", FORMS)
def test_golden_inputs_give_the_golden_outputs(fixed: Classifier, tmp_path: Path, name: str) -> None:
    output = tmp_path / "out.csv"
    run_job(fixed, GOLDEN / name, output, reading=FORMS[name])
    found, expected = read_csv(output), read_csv(GOLDEN / f"{name.partition('.')[0]}.out.csv")
    assert len(found) == len(expected) == 3
    for row, known in zip(found, expected, strict=True):
        assert list(row) == [*list(known)[:12], "scored_at", *list(known)[12:]]
        for column, cell in known.items():
            if column.endswith("confidence"):
                assert float(row[column]) == pytest.approx(float(cell), abs=1e-5)
            else:
                assert row[column] == cell, column


# --- delimiters ---


@pytest.mark.parametrize("mark", [";", "\t", "|", ":", " "])
def test_a_declared_delimiter_gives_the_same_rows(fixed: Classifier, tmp_path: Path, mark: str) -> None:
    content = (GOLDEN / "named.in.csv").read_text()
    (tmp_path / "in.csv").write_text(content.replace(",", mark))
    run_job(fixed, tmp_path / "in.csv", tmp_path / "out.csv", reading=TableReading(delimiter=mark))
    run_job(fixed, GOLDEN / "named.in.csv", tmp_path / "plain.csv")
    assert rows_without_times(tmp_path / "out.csv") == rows_without_times(tmp_path / "plain.csv")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={mark}\r\n"])
def test_an_undeclared_delimiter_is_detected(fixed: Classifier, tmp_path: Path, mark: str, first: str) -> None:
    """As spreadsheets with a decimal comma write it, with or without Excel's sep= line."""
    content = (GOLDEN / "plain.in.csv").read_text()
    (tmp_path / "in.csv").write_text(first.format(mark=mark) + content.replace(",", mark))
    run_job(fixed, tmp_path / "in.csv", tmp_path / "out.csv")
    run_job(fixed, GOLDEN / "plain.in.csv", tmp_path / "plain.csv")
    assert rows_without_times(tmp_path / "out.csv") == rows_without_times(tmp_path / "plain.csv")


@pytest.mark.parametrize("mark", ["", "5", '"', "\n", ";;", "é", "\x00"])
def test_an_ambiguous_delimiter_is_refused(mark: str) -> None:
    with pytest.raises(SettingsError, match="expected one ASCII character"):
        TableReading(delimiter=mark)


# --- every row is counted in every format ---

CELLS = st.one_of(
    st.sampled_from(["", "=1+1", "-5", "'x", "a,b", 'say "it"', "0x10", "7", "größer", "@", "a;b|c\td"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), max_size=8),
)
ROWS = st.lists(
    st.tuples(CELLS, CELLS, st.sampled_from(["good", "good", "good", "text", "783", "256", "NaN"])), max_size=30
)


def pixels_of(kind: str) -> list[str]:
    odd = {"text": "x", "256": "256", "NaN": "NaN"}
    return ["12"] * (783 if kind == "783" else 784) if kind not in odd else [odd[kind], *["12"] * 783]


@LITTLE
@given(
    rows=ROWS,
    mark=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    packing=st.sampled_from(["", ".gz", ".zst"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    places=st.permutations(["sku", "pixels", "note"]),
    part=st.sampled_from([9_000, 1 << 20]),
)
def test_rows_are_scored_or_rejected_in_order_with_their_columns(
    fixed: Classifier,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    mark: str,
    end: str,
    packing: str,
    quoting: int,
    places: list[str],
    part: int,
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    source = folder / f"in.csv{packing}"
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=mark, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([name for place in places for name in (PIXEL_COLUMNS if place == "pixels" else [place])])
    for sku, note, kind in rows:
        cells = {"sku": [sku], "note": [note], "pixels": pixels_of(kind)}
        writer.writerow([cell for place in places for cell in cells[place]])
    content = text.getvalue().encode()
    if packing == ".zst":
        with pa.output_stream(str(source), compression="zstd") as file:
            file.write(content)
    else:
        source.write_bytes(gzip.compress(content) if packing else content)
    reading = TableReading(part, mark, kept=("note", "sku"))
    count = run_job(fixed, source, folder / "out.csv", reading=reading).count
    good = [place for place, (_, _, kind) in enumerate(rows, 1) if kind == "good"]
    assert (count.rows, count.scored, count.rejected) == (len(rows), len(good), len(rows) - len(good))
    scored = read_csv(folder / "out.csv")
    assert [int(row["id"]) for row in scored] == good
    assert [row["sku"] for row in scored] == [inert(rows[place - 1][0]) for place in good]
    assert [row["note"] for row in scored] == [inert(rows[place - 1][1]) for place in good]
    rejected = read_csv(rejects_path(folder / "out.csv")) if count.rejected else []
    assert [int(row["line"]) - 1 for row in rejected] == [n for n in range(1, len(rows) + 1) if n not in good]


@LITTLE
@given(
    rows=st.lists(st.tuples(CELLS, st.sampled_from(["0", "9", "10", "", "x", " 3"]), CELLS), min_size=1, max_size=5),
    places=st.permutations(["id", "label", "pixels", "sku"]),
    mark=st.sampled_from([",", ";", "|"]),
)
def test_the_parsers_agree_on_text_next_to_the_pixels(
    rows: list[tuple[str, str, str]], places: list[str], mark: str
) -> None:
    names = [name for place in places for name in (PIXEL_COLUMNS if place == "pixels" else [place])]
    layout, _ = read_head(mark.join(names).encode(), "in.csv", Wanted(CONTRACT, kept=("sku",)), mark)
    lines = []
    for row_id, label, sku in rows:
        cells = {"id": row_id, "label": label, "sku": sku, "pixels": mark.join(["7"] * 784)}
        lines.append(mark.join(cells[place] for place in places))
    chunk = ("\n".join(lines) + "\n").encode()
    slow = csv_cells.parse_slowly(chunk, layout, 2)
    for parse in (csv_digits.parse_digits, csv_cells.parse_with_arrow):
        block = parse(chunk, layout, 2)
        assert block is None or contents(block) == contents(slow)


def contents(block: Block) -> tuple[object, ...]:
    labels = None if block.labels is None else block.labels.tolist()
    extra = None if block.extra is None else block.extra.to_pylist()
    return block.ids, block.images.tolist(), labels, extra, block.rejects


@pytest.mark.parametrize(
    "places", [("sku", "label", "pixels", "note"), ("label", "sku", "pixels"), ("pixels", "label", "sku")]
)
def test_text_around_the_pixels_stays_on_the_fast_path(places: tuple[str, ...]) -> None:
    names = [name for place in places for name in (PIXEL_COLUMNS if place == "pixels" else [place])]
    kept = [one for one in places if one in {"sku", "note"}]
    layout, _ = read_head(";".join(names).encode(), "in.csv", Wanted(CONTRACT, kept), ";")
    cells = {"sku": "a-1", "note": "", "label": "3", "pixels": ";".join(["255"] * 784)}
    block = csv_digits.parse_digits(";".join(cells[place] for place in places).encode(), layout, 2)
    assert block is not None
    assert block.labels is not None
    assert (block.images.min(), block.labels.tolist()) == (255, [3])
    assert block.extra is not None
    assert block.extra["sku"].to_pylist() == ["a-1"]


# --- kept columns ---


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_columns_of_parquet_keep_their_types(fixed: Classifier, tmp_path: Path, suffix: str) -> None:
    day = datetime.date(2026, 1, 2)
    columns = {
        "pixels": pa.array([bytes(784)] * 2, pa.binary(784)),
        "day": pa.array([day, None]),
        "price": pa.array([1.5, -2e-9]),
        "text": pa.array(["=1+1", 'a,"b"']).dictionary_encode(),
        "tags": pa.array([["a"], []]),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    reading = TableReading(kept=("text", "day", "price"), dropped=("tags", "not there"))
    output = tmp_path / f"out{suffix}"
    run_job(fixed, tmp_path / "in.parquet", output, reading=reading)
    if suffix == ".parquet":
        found = pq.read_table(output).select(["text", "day", "price"])
        assert found.to_pydict() == {"text": ["=1+1", 'a,"b"'], "day": [day, None], "price": [1.5, -2e-9]}
        assert found.schema.types == [pa.string(), pa.date32(), pa.float64()]
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in output.read_bytes().splitlines()]
        assert [(row["text"], row["day"], row["price"]) for row in rows] == [
            ("=1+1", "2026-01-02", 1.5),
            ('a,"b"', None, -2e-9),
        ]
    else:
        rows = [(row["text"], row["day"], row["price"]) for row in read_csv(output)]
        assert rows == [("'=1+1", "2026-01-02", "1.5"), ('a,"b"', "", "-2e-9")]


def test_a_folder_whose_files_differ_in_a_kept_column_is_refused(fixed: Classifier, tmp_path: Path) -> None:
    pixels = pa.array([bytes(784)], pa.binary(784))
    for name, price in (("a", 1), ("b", "one")):
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(pa.table({"pixels": pixels, "price": [price]}), tmp_path / "in" / f"{name}.parquet")
    message = r"b\.parquet: found columns 'price: string', expected those of a\.parquet: 'price: int64'"
    with pytest.raises(InputError, match=message):
        run_job(fixed, tmp_path / "in", tmp_path / "out.csv", reading=TableReading(kept=("price",)))


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (
            TableReading(),
            "unknown 2 column.s. 'sku', 'name'; expected",
        ),
        (TableReading(kept=("sku", "prise"), dropped=("name",)), "missing 1 column.s. 'prise'"),
        (
            TableReading(kept=("sku", "name")),
            "column 'name': the output already has a column with this name; rename the input column",
        ),
    ],
)
@pytest.mark.parametrize("form", ["in.csv", "in.parquet"])
def test_unexpected_columns_are_reported_immediately(
    fixed: Classifier, tmp_path: Path, form: str, reading: TableReading, message: str
) -> None:
    if form == "in.csv":
        (tmp_path / form).write_text(f"sku,name,{HEADER}\na,b,{BLACK}\n")
    else:
        pixels = pa.array([bytes(784)], pa.binary(784))
        pq.write_table(pa.table({"sku": ["a"], "name": ["b"], "pixels": pixels}), tmp_path / form)
    with pytest.raises(InputError, match=message):
        run_job(fixed, tmp_path / form, tmp_path / "out.csv", reading=reading)
    assert {path.name for path in tmp_path.iterdir()} == {form}


@pytest.mark.parametrize("pixels", [BLACK, f'"0"{BLACK[1:]}', "0x"])
def test_dropped_ids_and_labels_are_not_read(fixed: Classifier, tmp_path: Path, pixels: str) -> None:
    """In Parquet and by each CSV parser, regardless of their content."""
    (tmp_path / "in.csv").write_text(f"id,label,{HEADER}\na,shoes,{pixels}\nb,boots,{BLACK}\n")
    values = pa.array([bytes(784)], pa.binary(784))
    pq.write_table(pa.table({"id": [1.5], "label": ["shoes"], "pixels": values}), tmp_path / "in.parquet")
    dropping = TableReading(dropped=("id", "label"))
    scored = run_job(fixed, tmp_path / "in.csv", tmp_path / "out.csv", reading=dropping)
    assert (scored.count.rows, scored.count.rejected, scored.count.confusion) == (2, int(pixels == "0x"), ())
    assert read_csv(tmp_path / "out.csv")[-1]["id"] == "2"
    scored = run_job(fixed, tmp_path / "in.parquet", tmp_path / "out.csv", reading=dropping)
    assert (scored.count.rows, scored.count.rejected, scored.count.confusion) == (1, 0, ())
    assert read_csv(tmp_path / "out.csv")[0]["id"] == "1"


def test_a_column_cannot_be_named_twice() -> None:
    with pytest.raises(SettingsError, match="'sku' is named more than once"):
        TableReading(kept=("sku",), dropped=("sku",))


def test_a_resume_with_other_columns_is_refused(fixed: Classifier, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(f"sku,{HEADER}\na,{BLACK}\nb,x\n")
    with pytest.raises(InputError, match="cannot be read"):
        run_job(fixed, source, tmp_path / "out.csv", reading=TableReading(kept=("sku",)), max_reject_rate=0)
    with pytest.raises(InputError, match="its unfinished job had other options"):
        run_job(fixed, source, tmp_path / "out.csv", reading=TableReading(dropped=("sku",)), resume=True)
    assert run_job(fixed, source, tmp_path / "out.csv", reading=TableReading(kept=("sku",)), resume=True).resumed == 1


# --- errors ---


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"", "found no header"),
        ("in.csv.gz", b"id,pixel1\n", "header: missing 783"),
        ("in.csv.zst", b"id,pixel1\n", "header: missing 783"),
        ("in.parquet", b"id,pixel1\n", "not a Parquet file"),
        ("in.csv", gzip.compress(b"id,pixel1\n", mtime=0), "header: missing 783"),
        ("in.csv.gz", gzip.compress(f"{HEADER}\n{BLACK}\n".encode() * 9, mtime=0)[:-20], "damaged"),
    ],
)
def test_a_file_with_the_wrong_suffix_leaves_no_output(
    fixed: Classifier, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        run_job(fixed, tmp_path / name, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_rejects_go_to_the_given_path(fixed: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"{HEADER}\n{BLACK}\n1,2\n")
    summary = run_job(fixed, tmp_path / "in.csv", tmp_path / "out.parquet", rejects=tmp_path / "bad" / "rows.csv")
    assert summary.rejects == str(tmp_path / "bad" / "rows.csv")
    assert [row["row"] for row in read_csv(tmp_path / "bad" / "rows.csv")] == ["1,2"]
    with pytest.raises(InputError, match="the rejects would overwrite the output"):
        run_job(fixed, tmp_path / "in.csv", tmp_path / "out.csv", rejects=tmp_path / "out.csv")
    with pytest.raises(InputError, match="the output would overwrite the input"):
        run_job(fixed, tmp_path / "in.csv", tmp_path / "out.csv", rejects=tmp_path / "in.csv")


# --- the command, and pipes ---

Fashion = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fashion(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    bentoml_home: Path,
    settings: object,
    network: MLP,
    card: ModelCard,
) -> Fashion:
    """Run a command with a live model; returns (status, standard output, standard error)."""
    champion.make_live(store.save_model(network, card), "a test")

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fashion", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            run_command()
        output = capfdbinary.readouterr()
        return int(ended.value.code or 0), output.out.decode(), output.err.decode()

    return run


@pytest.mark.parametrize("name", ["plain.in.csv", "gzip.in.csv.gz", "zstd.in.csv.zst", "columns.in.parquet"])
def test_a_pipe_is_read_and_written(fashion: Fashion, tmp_path: Path, name: str) -> None:
    content = (GOLDEN / name).read_bytes()
    status, out, err = fashion("score", "-", "-", "--rejects", tmp_path / "bad.csv", stdin=content)
    assert status == 0
    assert [row["id"] for row in csv.DictReader(io.StringIO(out))] == ["1", "2", "3"]
    assert "3 scored" in err
    assert not (tmp_path / "bad.csv").exists(), "no rejects, no file"


def test_a_pipe_gets_all_or_nothing(fashion: Fashion, tmp_path: Path) -> None:
    content = f"{HEADER}\n{BLACK}\n1,2\n".encode()
    rejects = ["--rejects", tmp_path / "bad.jsonl"]
    status, out, err = fashion("score", "-", "-", *rejects, "--max-reject-rate", "0.1", stdin=content)
    assert (status, out) == (1, "")
    assert "1 of 2 rows cannot be read" in err
    status, out, _ = fashion("score", "-", "-", *rejects, "--format", "jsonl", stdin=content)
    assert (status, json.loads(out)["id"]) == (0, "1")
    assert json.loads((tmp_path / "bad.jsonl").read_bytes())["row"] == "1,2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-", "out.csv", "--resume"), "--resume: what went through a pipe is gone"),
        (("in.csv", "-"), "--rejects FILE"),
        (("in.csv", "out.csv", "--format", "csv"), "--format is for a pipe"),
        (("-", "out.txt"), "expected a name that ends in"),
        (("in.csv", "out.csv", "--delimiter", ";;"), "expected one ASCII character"),
    ],
)
def test_unsupported_options_of_a_pipe_are_reported(fashion: Fashion, arguments: tuple[str, ...], message: str) -> None:
    status, out, err = fashion("score", *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_labelled_table_is_evaluated(fashion: Fashion, tmp_path: Path) -> None:
    source = GOLDEN / "semicolon.in.csv"
    options = ("--delimiter", ";", "--keep", "sku")
    status, out, err = fashion("score", source, tmp_path / "out.csv", *options)
    assert (status, err) == (0, "")
    assert "on the rows that have a label" in out
    assert "class        precision  recall  F1     rows" in out
    assert "taken for" in out
    measured = json.loads(fashion("score", source, tmp_path / "out.csv", *options, "--json")[1])
    low, high = measured["accuracy_interval"]
    assert 0 <= low <= measured["accuracy"] <= high <= 1
    assert sum(one["support"] for one in measured["classes"]) == 3
    assert sum(count for _, _, count in measured["confused"]) == round(3 * (1 - measured["accuracy"]))


def test_a_full_disk_while_reading_a_pipe_leaves_nothing(tmp_path: Path) -> None:
    """A limit of 8 KB on file sizes stands in for a full disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192));"
        "from components.scoring.pipes import spooled_input\nwith spooled_input(sys.stdin.buffer) as path: print(path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=bytes(20_000),
        capture_output=True,
        cwd=CHECKOUT,
        env={"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 1
    assert b"File too large" in done.stderr
    assert (done.stdout, list(tmp_path.iterdir())) == (b"", [])


def test_unusual_first_rows_give_a_warning(fashion: Fashion, tmp_path: Path) -> None:
    dim = ",".join(["20"] * 300 + ["0"] * 484)
    (tmp_path / "in.csv").write_text("\n".join([HEADER, *[dim] * 120]) + "\n")
    status, out, err = fashion("score", tmp_path / "in.csv", tmp_path / "out.csv")
    assert status == 0
    assert "120 scored" in out
    assert "warning: the brightest pixel of an image, on average, is 20, usually 160 to 255\n" in err
    assert "warning: the share of the first rows that repeat an earlier one is 0.9917, usually 0 to 0.05\n" in err
    black = "\n".join([HEADER, *[BLACK] * 120]) + "\n"
    status, out, err = fashion("score", "-", tmp_path / "black.csv", stdin=black.encode())
    assert (status, out) == (1, "")
    assert err.endswith("in 100% of the first rows; --check warn scores the input anyway\n")
    assert not (tmp_path / "black.csv").exists()


def test_files_are_scored_without_standard_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    ends = tmp_path / "in.csv", tmp_path / "out.csv"
    with open_ends(*ends, None, None, resume=False) as opened:
        assert opened == ends


def test_a_named_pipe_is_an_error_with_advice(fashion: Fashion, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "63")
    status, _, err = fashion("score", tmp_path / "63", tmp_path / "out.csv")
    assert status == 1
    assert "not a regular file. To read from a pipe, use standard input: -" in err


def test_stopping_while_reading_a_pipe_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom fashion.cli.scoring import open_ends\nfrom ops.stopping import stop\n"
        "stop.listen()\n"
        "try:\n  with open_ends(Path('-'), Path('out.csv'), None, None, False): pass\n"
        "except KeyboardInterrupt: stop.leave()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=CHECKOUT, env={"TMPDIR": str(tmp_path)}
    )
    assert process.stdin
    process.stdin.write(b"label,")
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    process.stdin.close()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_the_flow_and_the_command_have_the_same_options() -> None:
    from flows.scoring import scoring  # which takes seconds

    command, flow = (set(inspect.signature(one).parameters) for one in (score, scoring.fn))
    assert command - flow == {"source", "file_format", "resume", "as_json"}
    assert flow - command == {"input", "batch", "fresh"}
