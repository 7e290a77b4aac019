"""Objects in S3 as inputs and outputs, in a real S3 server that runs here."""

import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from scored import SMALL, model, rows_of, table  # noqa: F401, fixtures

from components.dataset.manifest import Examples
from components.errors import InputError, SettingsError
from components.model.classifier import Classifier
from components.readers.folders.parts import TableReading
from components.scoring.job import open_job, run_job
from components.scoring.work import find_done, score_part
from components.storage import locate, whole, write_new

READING = TableReading(part=SMALL)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        there: Any = locate("s3://shop/catalogue")
        there.fs.mkdir("shop")
        yield "s3://shop"
        type(there.fs).clear_instance_cache()
    server.stop()


@pytest.fixture
def place(bucket: str, request: pytest.FixtureRequest) -> str:
    """A folder of the test's own."""
    return f"{bucket}/{request.node.name}"


def names_in(folder: str) -> set[str]:
    return {path.name for path in locate(folder).iterdir()}


def test_a_table_in_s3_is_scored_into_s3_as_a_file_is_into_a_file(
    place: str,
    model: Classifier,
    table: Path,
    tmp_path: Path,
) -> None:
    here = run_job(model, table, tmp_path / "out.csv", reading=READING)
    locate(f"{place}/in.csv").write_bytes(table.read_bytes())
    there = run_job(model, locate(f"{place}/in.csv"), locate(f"{place}/out.csv"), reading=READING)
    assert (there.count, there.input_sha256) == (here.count, here.input_sha256)
    whole_output = locate(f"{place}/out.csv").read_bytes().replace(there.scored_at.encode(), here.scored_at.encode())
    assert whole_output == (tmp_path / "out.csv").read_bytes()
    assert there.rejects == f"{place}/out.rejects.csv"
    assert locate(there.rejects).read_bytes() == (tmp_path / "out.rejects.csv").read_bytes()
    assert names_in(place) == {"in.csv", "out.csv", "out.rejects.csv"}


def test_a_folder_of_parquet_files_in_s3_is_one_input(
    place: str,
    model: Classifier,
    test_split: Examples,
    tmp_path: Path,
) -> None:
    pixels = [image.tobytes() for image in test_split.images]
    for name, rows in (("b.parquet", slice(100, 200)), ("a.parquet", slice(100))):
        columns = pa.table({"id": list(test_split.ids[rows]), "pixels": pa.array(pixels[rows], pa.binary(784))})
        with locate(f"{place}/night/{name}").open("wb") as file:
            pq.write_table(columns, file, row_group_size=30)
    summary = run_job(model, locate(f"{place}/night"), locate(f"{place}/out.parquet"), reading=TableReading(part=1))
    assert summary.count.scored == 200
    with locate(f"{place}/out.parquet").open("rb") as file:
        assert pq.read_table(file)["id"].to_pylist() == list(test_split.ids)


def test_a_write_that_fails_leaves_the_object_as_it_was(place: str) -> None:
    path = locate(f"{place}/out.csv")
    path.write_bytes(b"of yesterday")
    with contextlib.suppress(ZeroDivisionError), whole(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"of yesterday"
    with whole(path) as temporary:
        temporary.write_bytes(b"of today")
    assert path.read_bytes() == b"of today"


def test_of_two_who_write_an_object_anew_one_does(place: str) -> None:
    write_new(locate(f"{place}/job.json"), b"first")
    with pytest.raises(FileExistsError):
        write_new(locate(f"{place}/job.json"), b"second")
    assert locate(f"{place}/job.json").read_bytes() == b"first"


def test_a_job_that_was_stopped_in_s3_is_gone_on_with_or_refused(
    place: str,
    model: Classifier,
    table: Path,
) -> None:
    output = locate(f"{place}/out.csv")
    with pytest.raises(InputError, match="cannot be read, more than"):
        run_job(model, table, output, reading=READING, max_reject_rate=0)
    with pytest.raises(InputError, match="is writing this output or was stopped") as refused:
        run_job(model, table, output, reading=READING)
    assert [way.parameter for way in refused.value.remedies] == ["resume"]
    with pytest.raises(InputError, match=r"had other options; remove s3://"):
        run_job(model, table, output, reading=TableReading(part=2 * SMALL), resume=True)
    done = run_job(model, table, output, reading=READING, resume=True)
    assert done.resumed > 1
    assert names_in(place) == {"out.csv", "out.rejects.csv"}


def test_a_worker_left_over_from_another_job_does_not_write_into_this_one(
    model: Classifier,
    table: Path,
    tmp_path: Path,
    test_split: Examples,
) -> None:
    """Its driver was killed; the job was begun again with another input while it was still at its part."""
    output = tmp_path / "out.csv"
    anew = partial(open_job, table, output, model, reading=READING, resume=False, check="off")
    with pytest.raises(KeyboardInterrupt), anew() as old:
        raise KeyboardInterrupt
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    with anew() as new:
        part = next(new.read.parts())
        score_part(old.job, new.read, part, model)
        assert find_done(old.job, part)
        assert find_done(new.job, part) is None


@pytest.mark.parametrize("address", ["", "s3://", "gs://bucket/key", "http://127.0.0.1/in.csv"])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="expected a path or s3://bucket/key"):
        locate(address)


def test_a_bucket_that_is_not_there_is_said(bucket: str, model: Classifier) -> None:
    with pytest.raises(InputError, match=r"s3://nowhere/in\.csv: no such file"):
        run_job(model, locate("s3://nowhere/in.csv"), locate(f"{bucket}/out.csv"))
