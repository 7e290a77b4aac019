"""Scoring jobs: every row is accounted for, and interruptions do not change the output."""

import base64
import contextlib
import dataclasses
import gzip
import json
import os
import platform
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from promotions import break_a_pixel
from readings import PIXEL_COLUMNS
from scored import HEADER, SMALL, model, read_csv, rows_of, table, to_lines  # noqa: F401, fixtures

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import ModelCard
from components.dataset.manifest import Examples, to_table
from components.errors import InputError, ModelError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.readers.images.photos import write_png
from components.scoring.claims import hold
from components.scoring.job import Summary, open_job, rejects_path, run_job
from components.scoring.predict import predict
from components.scoring.summary import Count
from components.scoring.work import Job


def without_times(summary: Summary) -> tuple[object, ...]:
    return summary.count, summary.input_sha256, summary.output_sha256


def test_every_row_is_scored_or_rejected(model: Classifier, table: Path, test_split: Examples, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    summary = run_job(model, table, output, reading=TableReading(SMALL))
    count = summary.count
    assert (count.rows, count.scored, count.rejected) == (200, 197, 3)
    assert sum(count.reasons.values()) == 3
    rows, rejects = read_csv(output), read_csv(rejects_path(output))
    good = [row for row in range(200) if row not in {3, 77, 199}]
    assert [int(row["id"]) - 1 for row in rows] == good, "in file order"
    assert [int(row["line"]) - 2 for row in rejects] == [3, 77, 199], "line numbers include the header"
    assert rejects[0]["row"] == "bad"
    expected = predict(model, test_split.images[good])
    assert [int(row["label"]) for row in rows] == expected.labels.tolist()
    assert [row["name"] for row in rows] == expected.names
    assert [row["sure"] == "yes" for row in rows] == expected.sure.tolist()
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], expected.confidences, atol=1e-6)
    assert count.not_sure == int((~expected.sure).sum())
    assert count.accuracy == pytest.approx((expected.labels == test_split.labels[good]).mean())
    likeliest = np.argsort(-expected.probabilities, axis=1, kind="stable")
    assert [row["third"] for row in rows] == [CLASSES[place] for place in likeliest[:, 2]]
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv", "out.rejects.csv"}


def test_a_job_ends_if_the_model_cannot_classify_an_image(
    network: MLP, card: ModelCard, test_split: Examples, tmp_path: Path
) -> None:
    model = break_a_pixel(Classifier("fashion-mlp:broken12", card, network.to_numpy()))
    images = test_split.images[:50].copy()
    images[:, 0, 0], images[30, 0, 0] = 0, 255
    path, output = tmp_path / "in.parquet", tmp_path / "out.csv"
    pq.write_table(pa.table({"pixels": [image.tobytes() for image in images]}), path)
    with pytest.raises(ModelError, match=r"^fashion-mlp:broken12: its probabilities of some images are not finite"):
        run_job(model, path, output)
    assert not output.exists()


def test_corrected_rejects_can_be_scored(model: Classifier, table: Path, tmp_path: Path) -> None:
    run_job(model, table, tmp_path / "out.csv")
    rejects = read_csv(tmp_path / "out.rejects.csv")
    corrected = tmp_path / "corrected.csv"
    corrected.write_text("\n".join([HEADER, rejects[1]["row"].replace("x", ""), rejects[2]["row"][:-2]]) + "\n")
    assert run_job(model, corrected, tmp_path / "rest.csv").count.scored == 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_the_output_does_not_depend_on_parts_and_workers(
    model: Classifier, table: Path, tmp_path: Path, suffix: str
) -> None:
    """Except for the last digit, because floating-point sums depend on the batch, and batches on the parts."""
    outputs = []
    for number, (part, workers) in enumerate([(SMALL, 1), (SMALL, 3), (32 << 20, 2)]):
        output = tmp_path / f"out{number}{suffix}"
        run_job(model, table, output, reading=TableReading(part), workers=workers)
        outputs.append(rows_of(output))
    assert outputs[0] == outputs[1]
    for one, other in zip(outputs[0], outputs[2], strict=True):
        assert [one[name] for name in ("id", "label", "second", "sure")] == [
            other[name] for name in ("id", "label", "second", "sure")
        ]
        assert float(str(one["confidence"])) == pytest.approx(float(str(other["confidence"])), abs=2e-6)


def test_all_formats_have_the_same_content(model: Classifier, table: Path, tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet", ".jsonl"):
        run_job(model, table, tmp_path / f"out{suffix}", reading=TableReading(SMALL))
    csv_rows, parquet, lines = (rows_of(tmp_path / f"out{suffix}") for suffix in (".csv", ".parquet", ".jsonl"))
    assert parquet == lines
    for one, other in zip(csv_rows, parquet, strict=True):
        assert one["name"] == other["name"]
        assert float(str(one["confidence"])) == pytest.approx(other["confidence"], abs=1e-6)


def test_compressed_tables_give_the_same_output(model: Classifier, table: Path, tmp_path: Path) -> None:
    plain = run_job(model, table, tmp_path / "plain.csv", reading=TableReading(SMALL))
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    with pa.output_stream(str(tmp_path / "in.csv.zst"), compression="zstd") as file:
        file.write(table.read_bytes())
    for name in ("in.csv.gz", "in.csv.zst"):
        found = run_job(model, tmp_path / name, tmp_path / f"{name}.out.csv", reading=TableReading(SMALL))
        assert (found.count, found.input_sha256) == (plain.count, plain.input_sha256)
        assert rows_of(tmp_path / f"{name}.out.csv") == rows_of(tmp_path / "plain.csv")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(table.read_bytes())[:-2000])
    with pytest.raises(InputError, match="damaged"):
        run_job(model, tmp_path / "torn.csv.gz", tmp_path / "torn.csv", reading=TableReading(SMALL))
    assert not (tmp_path / "torn.csv").exists()


def test_a_folder_of_parquet_files_is_one_input(model: Classifier, test_split: Examples, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    pixels = [image.tobytes() for image in test_split.images]
    for name, rows in (("b.parquet", range(100, 200)), ("a.parquet", range(100))):
        columns = {
            "id": [test_split.ids[row] for row in rows],
            "pixels": pa.array([pixels[row] for row in rows], pa.binary(784)),
        }
        pq.write_table(pa.table(columns), folder / name, row_group_size=30)
    summary = run_job(model, folder, tmp_path / "out.parquet", reading=TableReading(1))
    assert summary.count.scored == 200
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["id"].to_pylist() == list(test_split.ids)
    assert found["label"].to_pylist() == predict(model, test_split.images).labels.tolist()


@pytest.mark.parametrize("column", ["pixels", "image"])
def test_a_large_row_group_is_split_into_parts(
    model: Classifier, test_split: Examples, tmp_path: Path, column: str
) -> None:
    """pandas writes all rows into one row group."""
    images = test_split.images[:100]
    made = [image.tobytes() if column == "pixels" else write_png(image) for image in images]
    rows: list[bytes | None] = made * 90
    rows[5000] = rows[8999] = None
    labels = np.zeros(9000, np.uint8)
    labels[[7, 5001]] = 99
    kind = pa.binary(784) if column == "pixels" else pa.binary()
    table = pa.table({column: pa.array(rows, kind), "label": labels})
    pq.write_table(table, tmp_path / "in.parquet", use_dictionary=False)
    parts = list(open_input(tmp_path / "in.parquet", TableReading(), CONTRACT).parts())
    assert [(part.first, part.skip, part.count) for part in parts] == [
        (1, 0, 4096),
        (4097, 4096, 4096),
        (8193, 8192, 808),
    ]
    summary = run_job(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert (summary.count.rows, summary.count.scored) == (9000, 8998)
    assert (summary.count.unlabelled, summary.count.unread) == (2, {"99": 2})
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["id"].to_pylist() == [str(row) for row in range(1, 9001) if row not in (5001, 9000)]
    expected = np.delete(np.tile(predict(model, images).labels, 90), [5000, 8999])
    assert found["label"].to_pylist() == expected.tolist()
    assert pq.read_table(tmp_path / "out.rejects.parquet")["line"].to_pylist() == [5001, 9000]


def test_small_inputs_are_split_into_smaller_parts() -> None:
    assert TableReading().part_of(8 << 20) == 1 << 20
    assert TableReading().part_of(160 << 20) == 10 << 20
    assert TableReading().part_of(1 << 40) == 32 << 20
    assert TableReading(5 << 20).part_of(160 << 20) == 5 << 20


@examples(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(st.sampled_from(["good", "bad", "", "1,2,3", "x" * 3000]), max_size=60),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    part=st.sampled_from([5_000, 40_000]),
)
def test_every_row_is_scored_or_rejected_in_order(
    model: Classifier,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[str],
    end: str,
    last: bool,
    part: int,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    good = ",".join(["0"] * 784)
    lines = [",".join(PIXEL_COLUMNS), *(good if row == "good" else row for row in rows)]
    (folder / "in.csv").write_bytes((end.join(lines) + (end if last else "")).encode())
    present = rows if last or not rows or rows[-1] else rows[:-1]  # an empty last line without a line end is not a row
    summary = run_job(model, folder / "in.csv", folder / "out.csv", reading=TableReading(part))
    count = summary.count
    assert (count.rows, count.scored) == (len(present), present.count("good"))
    scored = [int(row["id"]) for row in read_csv(folder / "out.csv")]
    rejected = [int(row["line"]) - 1 for row in read_csv(rejects_path(folder / "out.csv"))] if count.rejected else []
    assert scored == sorted(scored)
    assert rejected == sorted(rejected)
    assert sorted(scored + rejected) == list(range(1, len(present) + 1))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_reject_keeps_its_bytes(model: Classifier, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in.csv").write_bytes(",".join(PIXEL_COLUMNS).encode() + b"\ncaf\xe9,1\n")
    run_job(model, tmp_path / "in.csv", tmp_path / f"out{suffix}")
    content = (tmp_path / f"out.rejects{suffix}").read_bytes()
    if suffix == ".csv":
        assert content == b'line,reason,row\n2,row: not UTF-8 text,"caf\xe9,1"\n'
    elif suffix == ".parquet":
        assert pq.read_table(tmp_path / "out.rejects.parquet")["row"].to_pylist() == [b"caf\xe9,1"]
    else:
        assert base64.b64decode(json.loads(content)["row"]["base64"]) == b"caf\xe9,1"


def test_a_carriage_return_in_a_reject_does_not_start_a_row(model: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(f"{HEADER}\n".encode() + b"no\r=1+1\n")
    run_job(model, tmp_path / "in.csv", tmp_path / "out.csv")
    (reject,) = read_csv(tmp_path / "out.rejects.csv")
    assert reject["row"] == "no\r=1+1"


def test_suffixes_are_case_insensitive(model: Classifier, table: Path, tmp_path: Path) -> None:
    packed = tmp_path / "IN.CSV.GZ"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert run_job(model, packed, tmp_path / "out.csv").count.scored == 197


@pytest.mark.parametrize("name", ["link.csv.gz", "folder"])
def test_a_worker_in_another_folder_reads_the_same_parts(
    model: Classifier, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The input may be a relative path, or a link of which only the name has the suffix."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.csv").write_bytes(table.read_bytes())
    (tmp_path / "blob").write_bytes(gzip.compress(table.read_bytes()))
    (tmp_path / "link.csv.gz").symlink_to("blob")
    monkeypatch.chdir(tmp_path)
    reading = TableReading(SMALL)
    with open_job(Path(name), Path("out.csv"), model, reading=reading, resume=False, check="off") as opened:
        parts = list(opened.read.parts())
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        read = open_input(Path(opened.job.source), reading, CONTRACT)
        blocks = [block for part in parts for block in read.read(part)]
    assert sum(len(block.lines) + len(block.rejects) for block in blocks) == 200


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_damaged_parquet_leaves_no_output(model: Classifier, test_split: Examples, tmp_path: Path) -> None:
    """The damage is in the last row group, after most of the output has been written."""
    table = to_table(test_split.ids, "test", test_split.labels, test_split.images, CONTRACT)
    source = tmp_path / "in.parquet"
    pq.write_table(table, source, row_group_size=50, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(source.read_bytes())
    content[content.index(test_split.images[190].tobytes())] ^= 1
    source.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        run_job(model, source, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_an_empty_table_is_scored(model: Classifier, tmp_path: Path, name: str) -> None:
    if name == "in.csv":
        (tmp_path / name).write_text(f"{HEADER}\n")
    else:
        schema = pa.schema([("pixels", pa.binary(784))])
        with pq.ParquetWriter(tmp_path / name, schema) as writer:
            writer.write_table(schema.empty_table())
    summary = run_job(model, tmp_path / name, tmp_path / "out.csv")
    assert (summary.count.rows, summary.count.accuracy) == (0, None)
    assert (tmp_path / "out.csv").read_text().startswith("id,label,name,")


def note_share(shares: list[float | None], count: Count, share: float | None) -> None:
    shares.append(share)


def test_progress_ends_at_one(model: Classifier, table: Path, tmp_path: Path) -> None:
    pixels = pa.array([bytes(784)] * 100, pa.binary(784))
    pq.write_table(pa.table({"pixels": pixels}), tmp_path / "in.parquet", row_group_size=30)
    for source in (table, tmp_path / "in.parquet"):
        shares: list[float | None] = []
        run_job(model, source, tmp_path / "out.csv", reading=TableReading(1), progress=partial(note_share, shares))
        assert len(shares) > 1
        assert shares == sorted(share or 0 for share in shares)
        assert shares[-1] == 1


# --- bounds and interruptions ---


def test_an_output_never_exists_without_its_rejects(model: Classifier, table: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("of yesterday")
    too_long = tmp_path / f"{'r' * 251}.csv"  # too long for its temporary name
    with pytest.raises(OSError, match="too long"):
        run_job(model, table, tmp_path / "out.csv", rejects=too_long)
    assert (tmp_path / "out.csv").read_text() == "of yesterday"
    assert run_job(model, table, tmp_path / "out.csv", resume=False).count.rejected == 3


def test_leftovers_of_a_killed_job_are_removed(model: Classifier, table: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.csv.123-0a1b2c3d.tmp").write_text("half of it")
    others = {".out.csv.csv.123-0a1b2c3d.tmp", ".other.csv.123-0a1b2c3d.tmp", "out.csv.tmp"}
    for name in others:
        (tmp_path / name).write_text("of another job")
    run_job(model, table, tmp_path / "out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv", "out.rejects.csv"} | others


def test_too_many_rejects_fail_the_job_and_keep_the_old_output(model: Classifier, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("of yesterday")
    with pytest.raises(InputError, match=r"3 of 200 rows cannot be read, more than 1\.0%: "):
        run_job(model, table, output, max_reject_rate=0.01)
    assert output.read_text() == "of yesterday"
    assert run_job(model, table, output, max_reject_rate=0.015).count.rejected == 3


def test_a_job_is_resumed_only_with_the_same_input_and_model(
    model: Classifier, table: Path, tmp_path: Path, test_split: Examples
) -> None:
    output = tmp_path / "out.csv"
    with pytest.raises(InputError, match="cannot be read"):
        run_job(model, table, output, reading=TableReading(SMALL), max_reject_rate=0)
    resumed = run_job(model, table, output, reading=TableReading(SMALL), resume=True)
    assert resumed.resumed > 1
    with pytest.raises(InputError):
        run_job(model, table, output, reading=TableReading(SMALL), max_reject_rate=0)
    table.write_text(table.read_text() + to_lines(test_split, 1)[0] + "\n")
    with pytest.raises(InputError, match="had another input, or the input changed since; start it over"):
        run_job(model, table, output, reading=TableReading(SMALL), resume=True)
    fresh = run_job(model, table, output, reading=TableReading(SMALL))
    assert (fresh.resumed, fresh.count.rows) == (0, 201)


def test_the_reason_why_a_job_cannot_be_resumed_is_named(model: Classifier, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    with pytest.raises(InputError, match="cannot be read"):
        run_job(model, table, output, reading=TableReading(SMALL), max_reject_rate=0)
    newer = dataclasses.replace(model, tag="fashion-mlp:scoring2")
    with pytest.raises(InputError, match=f"had another model, {model.tag}; start it over") as refused:
        run_job(newer, table, output, reading=TableReading(SMALL), resume=True)
    assert [(way.parameter, way.value) for way in refused.value.remedies] == [("model", model.tag)]
    with pytest.raises(InputError, match="had other options; start it over") as refused:
        run_job(model, table, output, reading=TableReading(SMALL, dropped=("x",)), resume=True)
    assert not refused.value.remedies, "changing the model alone would not help"


def test_a_byte_changed_at_the_same_size_and_time_is_another_input(
    model: Classifier, table: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    with pytest.raises(InputError, match="cannot be read"):
        run_job(model, table, output, reading=TableReading(SMALL), max_reject_rate=0)
    change_a_byte(table)
    with pytest.raises(InputError, match="had another input, or the input changed since"):
        run_job(model, table, output, reading=TableReading(SMALL), resume=True)


def change_a_byte(path: Path) -> None:
    """Change the last byte but one, a digit in a CSV, and preserve the size and modification time."""
    content, before = path.read_bytes(), path.stat()
    time.sleep(0.02)  # a file system's clock ticks every few milliseconds
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"1,2,3\n")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.rename(path)


def make_csv(folder: Path, examples: Examples) -> Path:
    path = folder / "in.csv"
    path.write_text("\n".join([HEADER, *to_lines(examples, 60)]) + "\n")
    return path


def make_gzip(folder: Path, examples: Examples) -> Path:
    path = folder / "in.csv.gz"
    path.write_bytes(gzip.compress(make_csv(folder, examples).read_bytes()))
    return path


def make_parquet(folder: Path, examples: Examples) -> Path:
    path = folder / "in.parquet"
    pq.write_table(to_table(examples.ids, "test", examples.labels, examples.images, CONTRACT), path)
    return path


def make_archive(folder: Path, examples: Examples) -> Path:
    path = folder / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, image in enumerate(examples.images[:20]):
            archive.writestr(f"{number:02}.png", write_png(image))
    return path


@pytest.mark.parametrize("change", [grow, replace, change_a_byte])
@pytest.mark.parametrize("make", [make_csv, make_gzip, make_parquet, make_archive])
def test_an_input_that_changes_during_scoring_gives_no_output(
    model: Classifier,
    test_split: Examples,
    tmp_path: Path,
    make: Callable[[Path, Examples], Path],
    change: Callable[[Path], None],
) -> None:
    source, output = make(tmp_path, test_split), tmp_path / "out.csv"
    changed = list[Path]()

    def change_once(count: Count, share: float | None) -> None:
        if not changed:
            time.sleep(0.02)
            change(source)
            changed.append(source)

    with pytest.raises(InputError, match="changed while it was scored"):
        run_job(model, source, output, progress=change_once)
    assert changed
    assert not output.exists()


@pytest.mark.parametrize("cut", [1, None])
def test_a_job_of_a_version_that_split_differently_is_not_resumed(
    model: Classifier, table: Path, tmp_path: Path, cut: int | None
) -> None:
    """Its parts contain different rows."""
    with pytest.raises(InputError, match="cannot be read"):
        run_job(model, table, tmp_path / "out.csv", reading=TableReading(SMALL), max_reject_rate=0)
    note = tmp_path / ".out.csv.job" / "job.json"
    values = json.loads(note.read_bytes())
    del values["cut"]
    note.write_text(json.dumps(values if cut is None else {**values, "cut": cut}))
    with pytest.raises(InputError, match=r"its unfinished job .* start it over"):
        run_job(model, table, tmp_path / "out.csv", reading=TableReading(SMALL), resume=True)


def test_a_damaged_part_is_scored_again(model: Classifier, table: Path, tmp_path: Path) -> None:
    expected = run_job(model, table, tmp_path / "expected.csv", reading=TableReading(SMALL))
    output = tmp_path / "out.csv"
    with pytest.raises(InputError):
        run_job(model, table, output, reading=TableReading(SMALL), max_reject_rate=0)
    (part,) = (tmp_path / ".out.csv.job").glob("00001-*.part")
    part.write_bytes(part.read_bytes()[:-7])
    summary = run_job(model, table, output, reading=TableReading(SMALL), resume=True)
    assert summary.count == expected.count
    assert rows_of(output) == rows_of(tmp_path / "expected.csv")


def test_two_jobs_do_not_write_one_output(model: Classifier, table: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    output = tmp_path / "out.csv"
    (tmp_path / ".out.csv.job").mkdir()
    with (
        FileLock(tmp_path / ".out.csv.job" / "lock"),
        pytest.raises(InputError, match="another job is writing this output"),
    ):
        run_job(model, table, output)
    assert run_job(model, table, output).count.rows == 200


def test_of_concurrent_jobs_one_writes_and_the_others_name_it(model: Classifier, table: Path, tmp_path: Path) -> None:
    others = 6

    def attempt(_: int) -> str:
        try:
            run_job(model, table, tmp_path / "out.csv")
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(others) as pool:
        messages = list[str]()

        def attempt_others(count: Count, share: float | None) -> None:
            messages.extend(pool.map(attempt, range(others)))

        assert run_job(model, table, tmp_path / "out.csv", progress=attempt_others).count.rows == 200
    holder = f"another job is writing this output: process {os.getpid()} on {platform.node()}"
    assert messages == [f"{tmp_path}/out.csv: {holder}"] * others
    assert not (tmp_path / ".out.csv.job").exists()


def test_a_job_may_start_while_another_removes_its_folder(model: Classifier, table: Path, tmp_path: Path) -> None:
    """Each job has exclusive access to the output and sees only its own files, or is refused."""
    names = str(table), str(tmp_path / "out.csv"), str(tmp_path / "out.rejects.csv")
    job = Job(*names, model.tag, TableReading(), "", 1, "2026-11-29T00:00:00+00:00")
    alone, wrong = threading.Lock(), list[str]()

    def attempt(number: int) -> None:
        mine, is_done = dataclasses.replace(job, source=str(number)), False
        while not is_done:
            with contextlib.suppress(InputError), hold(mine, resume=False):
                if not alone.acquire(blocking=False):
                    wrong.append("two at once")
                for part in range(5):
                    (job.folder / f"{part}-{number}.part").touch()
                if json.loads((job.folder / "job.json").read_bytes())["source"] != str(number):
                    wrong.append("the job of another")
                alone.release()
                is_done = True

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(80)))
    assert not wrong
    assert not job.folder.exists()


@pytest.mark.parametrize("name", ["in.csv", "sub/../in.csv"])
def test_an_input_is_never_overwritten(model: Classifier, table: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    before = table.read_bytes()
    with pytest.raises(InputError, match="overwrite the input"):
        run_job(model, table, tmp_path / name)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("nothing.csv", "out.csv", "no such file"),
        ("folder.csv", "out.csv", "no pictures, CSV or Parquet files found"),
        ("in.csv", "out.txt", "expected a name that ends in"),
        ("in.csv", "folder.csv", "not a file"),
    ],
)
def test_invalid_arguments_are_reported(
    model: Classifier, table: Path, tmp_path: Path, source: str, output: str, message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=message):
        run_job(model, tmp_path / source, tmp_path / output)


def test_ids_that_look_like_formulas_are_neutralized(model: Classifier, tmp_path: Path) -> None:
    good = ",".join(["0"] * 784)
    ids = ["=1+1", "@x", "'quoted", "-5", "plain"]
    (tmp_path / "in.csv").write_text(
        "\n".join([f"id,{','.join(PIXEL_COLUMNS)}", *(f"{one},{good}" for one in ids)]) + "\n"
    )
    run_job(model, tmp_path / "in.csv", tmp_path / "out.csv")
    assert [row["id"] for row in read_csv(tmp_path / "out.csv")] == ["'=1+1", "'@x", "''quoted", "-5", "plain"]


@pytest.mark.parametrize("column", ["id", "label"])
def test_parquet_files_with_and_without_a_column_are_not_mixed(
    model: Classifier, test_split: Examples, tmp_path: Path, column: str
) -> None:
    rows = to_table(test_split.ids, "test", test_split.labels, test_split.images, CONTRACT)
    (tmp_path / "in").mkdir()
    pq.write_table(rows, tmp_path / "in" / "1.parquet")
    pq.write_table(rows.drop_columns(column), tmp_path / "in" / "2.parquet")
    with pytest.raises(InputError, match=f"2.parquet: only one of this file and 1.parquet has column '{column}'"):
        run_job(model, tmp_path / "in", tmp_path / "out.csv")


def test_a_negative_duration_is_not_a_formula(model: Classifier, tmp_path: Path) -> None:
    late = pa.array([-1], pa.duration("s"))
    pq.write_table(pa.table({"pixels": pa.array([bytes(784)], pa.binary(784)), "late": late}), tmp_path / "in.parquet")
    run_job(model, tmp_path / "in.parquet", tmp_path / "out.csv", reading=TableReading(kept=("late",)))
    assert [row["late"] for row in read_csv(tmp_path / "out.csv")] == ["'-1 day, 23:59:59"]
