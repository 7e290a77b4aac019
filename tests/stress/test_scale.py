"""A job on several machines: a real Prefect server, and a real Dask cluster whose worker is killed."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefects import Api, Shared
from scored import HEADER, to_lines
from servers import free_port, using_home

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.readers.folders.parts import TableReading
from components.registry import champion, store
from components.scoring.job import run_job
from components.settings import CHECKOUT
from components.training.train import Trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]
DASK = Path(sys.executable).with_name("dask")
MIB = 1 << 20
SCORED = 5_938  # of 6,000 rows
RUN = """
import sys
from flows.scoring import scoring
if __name__ == "__main__":  # the processes of a local cluster import this too
    scoring(sys.argv[1], sys.argv[2], part_size=1, batch=1)
"""


@dataclass(frozen=True)
class Place:
    """A Prefect server, the store, and a table with its output from an uninterrupted run."""

    api: Api
    environment: dict[str, str]
    folder: Path
    table: Path
    whole: bytes  # the output without the time
    rejects: bytes

    def run(self, source: Path, output: Path, address: str = "") -> "subprocess.Popen[str]":
        environment = {**self.environment, "FASHION_DASK_ADDRESS": address}
        script = self.folder / "run.py"
        script.write_text(RUN)
        command = [sys.executable, str(script), str(source), str(output)]
        return subprocess.Popen(
            command, env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def without_time(output: Path) -> bytes:
    """Return the rows without the last column, the start time of the job."""
    return b"\n".join(line.rpartition(b",")[0] for line in output.read_bytes().splitlines())


@pytest.fixture(scope="module")
def place(
    prefect_server: Shared,
    tmp_path_factory: pytest.TempPathFactory,
    trained: Trained,
    card: ModelCard,
    test_split: Examples,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("scale")
    table, whole = folder / "in.csv", folder / "whole.csv"
    lines = to_lines(test_split, 200) * 30
    lines[::97] = ["bad"] * len(lines[::97])
    table.write_text("\n".join([HEADER, *lines]) + "\n")
    with using_home(folder / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        run_job(champion.load_model(), table, whole, reading=TableReading(part=MIB))
        environment = {**prefect_server.environment, "PYTHONPATH": str(CHECKOUT), "BENTOML_HOME": str(home)}
        rejects = (folder / "whole.rejects.csv").read_bytes()
        yield Place(prefect_server.api, environment, folder, table, without_time(whole), rejects)


@pytest.fixture(scope="module")
def cluster(place: Place) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A scheduler address and two workers. These three processes share only folders with the flow."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler: list[str | Path] = [DASK, "scheduler", "--port", str(port), *here]
    worker: list[str | Path] = [DASK, "worker", address, "--nthreads", "1", "--no-nanny", *here]
    local = ["--local-directory", str(place.folder / "dask")]
    commands = [scheduler, [*worker, *local], [*worker, *local]]
    processes = []
    for number, command in enumerate(commands):
        with (place.folder / f"dask{number}.log").open("wb") as log:
            processes.append(subprocess.Popen(command, env=place.environment, cwd=CHECKOUT, stdout=log, stderr=log))
    try:
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for_parts(process: "subprocess.Popen[str]", job: Path, parts: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(job.glob("*-*.json"))) < parts:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_whole(place: Place, output: Path, process: "subprocess.Popen[str]") -> None:
    output_text = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output_text
    assert without_time(output) == place.whole
    assert output.with_suffix(".rejects.csv").read_bytes() == place.rejects
    assert not output.with_name(f".{output.name}.job").exists()


def test_a_killed_flow_resumes_and_writes_the_output_of_the_command_line(place: Place) -> None:
    """Runs in threads on a non-seekable input: its lines are passed through the job folder."""
    source, output = place.folder / "zipped.csv.gz", place.folder / "threads.csv"
    source.write_bytes(gzip.compress(place.table.read_bytes(), 1))
    process, job = place.run(source, output), place.folder / ".threads.csv.job"
    wait_for_parts(process, job, 2)
    process.kill()
    process.communicate()
    assert not output.exists()
    began = json.loads((job / "job.json").read_bytes())["scored_at"]
    assert_whole(place, output, place.run(source, output))
    assert output.read_text().count(began) == SCORED, "the time of the first start"
    (artifact,) = place.api.ask("POST", "/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["scoring"]}}})
    for row in ("| rows | 6,000 |", f"| scored | {SCORED:,} |", "| 62 | row: found N cells, expected 785 |"):
        assert row in artifact["data"]


def test_a_killed_worker_loses_only_its_current_part(
    place: Place, cluster: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    address, workers = cluster
    output = place.folder / "dask.csv"
    process = place.run(place.table, output, address)
    wait_for_parts(process, place.folder / ".dask.csv.job", 2)
    workers[0].send_signal(signal.SIGKILL)
    assert not output.exists(), "it was killed midway"
    assert_whole(place, output, process)
    assert workers[1].poll() is None
