"""Score one table with one and two workers, in threads and on a Dask cluster, and print the table of docs/scale.md.

    .venv/bin/python -m benchmarks.scale [--runs 3] [--rows 600000]

Starts and stops a Prefect server, a Dask scheduler and two workers on localhost. Runs alternate. Only the job is timed
(`Summary.seconds`), without process start-up and the input sanity check: each configuration scores a small table first.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
SMALL = 2000  # rows for the warm-up
PREFECT, DASK = 24_200, 24_786  # ports

PREPARE = """
import sys
from pathlib import Path
import numpy as np
from components.contract import Validated
from components.dataset.ingest import ingest
from components.evaluation.card import write_card
from components.catalogues.fashion_mnist import CONTRACT
from components.readers.tables.columns import pixel_columns
from components.dataset.manifest import read_split
from components.training.presets import configure
from components.registry import champion, store
from components.training.train import train
dataset = ingest().dataset
images = read_split(dataset, "train").images.reshape(-1, 784)
lines = [",".join(map(str, image)) for image in images[:10000].tolist()]
for name, rows in (("small.csv", int(sys.argv[2])), ("table.csv", int(sys.argv[1]))):
    with Path(name).open("w") as file:
        file.write(",".join(pixel_columns(CONTRACT.image)) + chr(10))
        for row in range(rows):
            file.write(lines[row % len(lines)] + chr(10))
receipt = Validated(dataset, 0, Path(), "")
trained = train(receipt, configure("dense-128"))
champion.make_live(store.save_model(trained.network, write_card("dense-128", receipt, trained)), "benchmark")
"""
COMMAND = """
import sys
from pathlib import Path
from components.registry.champion import load_model
from components.scoring.job import run_job
model = load_model()
for table in ("small.csv", "table.csv"):
    summary = run_job(model, Path(table), Path("out.csv"), workers=int(sys.argv[1]))
print(summary.seconds)
"""
FLOW = """
import sys
from flows.scoring import scoring
for table in ("small.csv", "table.csv"):
    summary = scoring(table, "out.csv", workers=int(sys.argv[1]), batch=2, check="off")
print(summary.seconds)
"""
TASKS = """
import time
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

@task(cache_policy=NO_CACHE, persist_result=False)
def nothing(parts): return parts

@flow
def many(tasks):
    began = time.process_time()
    with ThreadPoolTaskRunner(max_workers=2) as runner:
        for future in [runner.submit(nothing, parameters={"parts": [{"number": n}]}) for n in range(tasks)]:
            future.result()
    return (time.process_time() - began) / tasks

many(20)
print(many(300))
"""


def run(code: str, environment: dict[str, str], folder: Path, *arguments: str) -> str:
    """Run code in a fresh interpreter and return the last line of its output."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, cwd=folder, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return next(reversed(done.stdout.decode().splitlines()), "")


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Run a process until the block ends."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def time_cluster(workers: int, environment: dict[str, str], folder: Path) -> float:
    """Seconds of a job on a cluster with this many worker processes."""
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    address = f"tcp://127.0.0.1:{DASK}"
    with contextlib.ExitStack() as stack:
        scheduler = [str(BIN / "dask"), "scheduler", "--port", str(DASK), *here]
        stack.enter_context(started(scheduler, environment, folder))
        for _ in range(workers):
            worker = [str(BIN / "dask"), "worker", address, "--nthreads", "1", "--no-nanny", *here]
            stack.enter_context(started([*worker, "--preload", "flows.parts"], environment, folder))
        return float(run(FLOW, {**environment, "FASHION_DASK_ADDRESS": address}, folder, str(workers)))


def wait_for(url: str) -> None:
    """Wait until a server responds, for at most two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).is_success:
                return
        time.sleep(0.2)
    sys.exit(f"{url} did not respond")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=600_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "BENTOML_HOME": f"{folder}/bentoml",
            "FASHION_DATA_DIR": f"{folder}/data",
            "PREFECT_HOME": f"{folder}/prefect",
            "PREFECT_API_URL": f"http://127.0.0.1:{PREFECT}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONPATH": str(Path.cwd()),
        }
        run(PREPARE, environment, folder, str(options.rows), str(SMALL))
        with started([str(BIN / "prefect"), "server", "start", "--port", str(PREFECT)], environment, folder):
            wait_for(f"http://127.0.0.1:{PREFECT}/api/health")
            seconds: dict[str, list[float]] = {}
            for _ in range(options.runs):
                for workers in (1, 2):
                    given = environment, folder, str(workers)
                    seconds.setdefault(f"`fashion score`, {workers}", []).append(float(run(COMMAND, *given)))
                    seconds.setdefault(f"flow in threads, {workers}", []).append(float(run(FLOW, *given)))
                    seconds.setdefault(f"flow on Dask, {workers}", []).append(time_cluster(workers, *given[:2]))
            overhead = float(run(TASKS, environment, folder))
    print_table(options.rows, seconds, overhead)


def print_table(rows: int, seconds: dict[str, list[float]], overhead: float) -> None:
    """Print the machine and the table."""
    print(
        f"{time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores, load {json.dumps(os.getloadavg())}, {rows:,} rows of CSV"
    )
    print(f"an empty Prefect task: {overhead * 1e3:.1f} ms of the flow's CPU time")
    print("\n| workers | rows/s, median | range |\n| --- | ---: | ---: |")
    for name in sorted(seconds):
        rates = sorted(rows / one for one in seconds[name])
        print(f"| {name} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} |")


if __name__ == "__main__":
    main()
