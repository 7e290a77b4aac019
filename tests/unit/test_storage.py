"""Objects in S3 as inputs and outputs, on a local S3 server."""

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
        path: Any = locate("s3://shop/catalogue")
        path.fs.mkdir("shop")
        yield "s3://shop"
        type(path.fs).clear_instance_cache()
    server.stop()


@pytest.fixture
def place(bucket: str, request: pytest.FixtureRequest) -> str:
    """A folder for the test."""
    return f"{bucket}/{request.node.name}"


def names_in(folder: str) -> set[str]:
    return {path.name for path in locate(folder).iterdir()}


def test_scoring_in_s3_gives_the_same_output_as_on_disk(
    place: str,
    model: Classifier,
    table: Path,
    tmp_path: Path,
) -> None:
    local = run_job(model, table, tmp_path / "out.csv", reading=READING)
    locate(f"{place}/in.csv").write_bytes(table.read_bytes())
    remote = run_job(model, locate(f"{place}/in.csv"), locate(f"{place}/out.csv"), reading=READING)
    assert (remote.count, remote.input_sha256) == (local.count, local.input_sha256)
    output = locate(f"{place}/out.csv").read_bytes().replace(remote.scored_at.encode(), local.scored_at.encode())
    assert output == (tmp_path / "out.csv").read_bytes()
    assert remote.rejects == f"{place}/out.rejects.csv"
    assert locate(remote.rejects).read_bytes() == (tmp_path / "out.rejects.csv").read_bytes()
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


def test_a_failed_write_leaves_the_object_unchanged(place: str) -> None:
    path = locate(f"{place}/out.csv")
    path.write_bytes(b"of yesterday")
    with contextlib.suppress(ZeroDivisionError), whole(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"of yesterday"
    with whole(path) as temporary:
        temporary.write_bytes(b"of today")
    assert path.read_bytes() == b"of today"


def test_only_one_writer_creates_an_object(place: str) -> None:
    write_new(locate(f"{place}/job.json"), b"first")
    with pytest.raises(FileExistsError):
        write_new(locate(f"{place}/job.json"), b"second")
    assert locate(f"{place}/job.json").read_bytes() == b"first"


def test_a_stopped_job_in_s3_is_resumed_or_refused(
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


def test_a_stale_worker_does_not_write_into_another_job(
    model: Classifier,
    table: Path,
    tmp_path: Path,
    test_split: Examples,
) -> None:
    """Its driver was killed, and the job was restarted with another input while the worker was still scoring a part."""
    output = tmp_path / "out.csv"
    open_again = partial(open_job, table, output, model, reading=READING, resume=False, check="off")
    with pytest.raises(KeyboardInterrupt), open_again() as old:
        raise KeyboardInterrupt
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    with open_again() as new:
        part = next(new.read.parts())
        score_part(old.job, new.read, part, model)
        assert find_done(old.job, part)
        assert find_done(new.job, part) is None


@pytest.mark.parametrize("address", ["", "s3://", "gs://bucket/key", "http://127.0.0.1/in.csv"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="expected a path or s3://bucket/key"):
        locate(address)


def test_a_missing_bucket_is_reported(bucket: str, model: Classifier) -> None:
    with pytest.raises(InputError, match=r"s3://nowhere/in\.csv: no such file"):
        run_job(model, locate("s3://nowhere/in.csv"), locate(f"{bucket}/out.csv"))
