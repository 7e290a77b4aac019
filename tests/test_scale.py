"""A job on more than one machine: a real Prefect server, and a real Dask cluster whose worker is killed."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from servers import free_port, stop, using_home
from test_deployment import PREFECT, start, wait_for
from test_scoring import HEADER, to_lines

from components.contract import ModelCard
from components.inputs.parts import Reading
from components.manifest import Examples
from components.registry import champion, store
from components.scoring.job import run_job
from components.settings import CHECKOUT
from components.training.train import Trained

pytestmark = pytest.mark.slow
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
class Stack:
    """A Prefect server, the store, and a table with what comes of it where nothing goes wrong."""

    url: str
    environment: dict[str, str]
    folder: Path
    table: Path
    whole: bytes  # the output, but for the time
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
    """The last column is when the job began."""
    return b"\n".join(line.rpartition(b",")[0] for line in output.read_bytes().splitlines())


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, trained: Trained, card: ModelCard, test_split: Examples
) -> Iterator[Stack]:
    folder, port = tmp_path_factory.mktemp("scale"), free_port()
    table = folder / "in.csv"
    lines = to_lines(test_split, 200) * 30
    lines[::97] = ["bad"] * len(lines[::97])
    table.write_text("\n".join([HEADER, *lines]) + "\n")
    with using_home(folder / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FASHION_"))},
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONPATH": str(CHECKOUT),
            "BENTOML_HOME": str(home),
        }
        server = start([PREFECT, "server", "start", "--port", str(port)], environment, folder / "server.log")
        try:
            whole = folder / "whole.csv"
            run_job(champion.load_model(), table, whole, reading=Reading(part=MIB))
            wait_for(f"http://127.0.0.1:{port}/api/health", folder / "server.log")
            rejects = (folder / "whole.rejects.csv").read_bytes()
            yield Stack(f"http://127.0.0.1:{port}/api", environment, folder, table, without_time(whole), rejects)
        finally:
            stop(server)


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A scheduler's address and two workers: three processes that share nothing but folders with the flow's."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler: list[str | Path] = [DASK, "scheduler", "--port", str(port), *here]
    worker: list[str | Path] = [DASK, "worker", address, "--nthreads", "1", "--no-nanny", *here]
    local = ["--local-directory", str(stack.folder / "dask")]
    commands = [scheduler, [*worker, *local], [*worker, *local]]
    processes = [
        start(command, stack.environment, stack.folder / f"dask{number}.log") for number, command in enumerate(commands)
    ]
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


def assert_whole(stack: Stack, output: Path, process: "subprocess.Popen[str]") -> None:
    told = process.communicate(timeout=120)[0]
    assert process.returncode == 0, told
    assert without_time(output) == stack.whole
    assert output.with_suffix(".rejects.csv").read_bytes() == stack.rejects
    assert not output.with_name(f".{output.name}.job").exists()


def test_a_flow_that_was_killed_goes_on_and_writes_what_the_command_line_writes(stack: Stack) -> None:
    """In threads; an input that cannot be read from the middle: its lines are handed on through the job's folder."""
    source, output = stack.folder / "zipped.csv.gz", stack.folder / "threads.csv"
    source.write_bytes(gzip.compress(stack.table.read_bytes(), 1))
    process, job = stack.run(source, output), stack.folder / ".threads.csv.job"
    wait_for_parts(process, job, 2)
    process.kill()
    process.communicate()
    assert not output.exists()
    began = json.loads((job / "job.json").read_bytes())["scored_at"]
    assert_whole(stack, output, stack.run(source, output))
    assert output.read_text().count(began) == SCORED, "the time of the first start"
    answer = httpx.post(f"{stack.url}/artifacts/filter", json={}, timeout=30).json()
    (artifact,) = [one["data"] for one in answer if one["key"] == "scoring"]
    for row in ("| rows | 6,000 |", f"| scored | {SCORED:,} |", "| 62 | row: N cells, expected N |"):
        assert row in artifact


def test_a_worker_that_is_killed_costs_its_part_and_nothing_else(
    stack: Stack, cluster: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    address, workers = cluster
    output = stack.folder / "dask.csv"
    process = stack.run(stack.table, output, address)
    wait_for_parts(process, stack.folder / ".dask.csv.job", 2)
    workers[0].send_signal(signal.SIGKILL)
    assert not output.exists(), "it was killed midway"
    assert_whole(stack, output, process)
    assert workers[1].poll() is None
