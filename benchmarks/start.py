"""Time how long commands take to start, and measure the memory of the service.

    .venv/bin/python -m benchmarks.start [--runs 5] [--trainings 3]

Each run is a separate process on the archives of FASHION_SOURCE, with `dense-128` live. Scoring a table of one row is
the time before the first row. Memory is the sum of the proportional set sizes (PSS) of all processes of
`bentoml serve`, after 1,000 requests with one image.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil

from benchmarks.train import describe_machine
from components.settings import CHECKOUT

BIN = Path(sys.executable).parent
FASHION = str(BIN / "fashion")
SET_UP = "from ops.server import TemporaryServer; TemporaryServer().wait()"  # as `make setup`
REQUESTS = 1_000
IMAGE = bytes(number % 251 for number in range(784))
PACKAGES = ("torch", "bentoml", "prefect", "great-expectations")


def main() -> None:
    """Run everything, print the table and write it."""
    options = parse_options()
    rows = dict[str, list[float]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | homes(folder / "new0")
        for run in range(options.trainings):
            new = os.environ | homes(folder / f"new{run}")
            time_command([sys.executable, "-c", SET_UP], new)
            rows.setdefault("`fashion train`, new folders, s", []).append(time_command([FASHION, "train"], new))
        score = [FASHION, "score", write_row(folder), str(folder / "scored.csv")]
        commands = {
            "`fashion --help`, s": [FASHION, "--help"],
            "`fashion models`, s": [FASHION, "models"],
            "`fashion score`, one row, s": score,
            "`fashion score --check off`, one row, s": [*score, "--check", "off"],
        }
        for _ in range(options.runs):
            for title, command in commands.items():
                rows.setdefault(title, []).append(time_command(command, environment))
            with served(environment) as (ready, port, process):
                rows.setdefault("service ready, s", []).append(ready)
                send_requests(port)
                rows.setdefault("memory of the service, MB of PSS", []).append(measure_memory(process))
        rows["`fashion train` again, s"] = [
            time_command([FASHION, "train"], environment) for _ in range(options.trainings)
        ]
    text = "\n".join(describe(rows))
    options.to.write_text(text)
    print(text)


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "start.md")
    return parser.parse_args()


def homes(folder: Path) -> dict[str, str]:
    """Variables with which a command keeps everything in a folder."""
    return {"BENTOML_HOME": str(folder / "bentoml"), "FASHION_DATA_DIR": str(folder / "data")}


def write_row(folder: Path) -> str:
    """Write a CSV with one image. Returns its path."""
    path = folder / "row.csv"
    names = ",".join(f"pixel{number}" for number in range(1, 785))
    path.write_text(f"{names}\n{','.join(map(str, IMAGE))}\n")
    return str(path)


def time_command(command: list[str], environment: dict[str, str]) -> float:
    """Run a command and return its seconds."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return time.perf_counter() - began


@contextlib.contextmanager
def served(environment: dict[str, str]) -> Iterator[tuple[float, int, psutil.Process]]:
    """Serve the live model. Yields the seconds until /readyz answers with 200, the port and the server's process."""
    port = 3977
    command = [str(BIN / "bentoml"), "serve", str(CHECKOUT), "--port", str(port)]
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not is_ready(port):
                if process.poll() is not None:
                    sys.exit(f"the service ended with status {process.returncode}")
                time.sleep(0.01)
            yield time.perf_counter() - began, port, psutil.Process(process.pid)
        finally:
            process.terminate()


def is_ready(port: int) -> bool:
    """Whether the service is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def send_requests(port: int) -> None:
    """Send the requests, each with one image."""
    headers = {"Content-Type": "application/octet-stream"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for _ in range(REQUESTS):
            client.post("/predict", content=IMAGE, headers=headers).raise_for_status()


def measure_memory(process: psutil.Process) -> float:
    """Return the PSS of a process and all its children in MB, 10^6 bytes."""
    return sum(one.memory_full_info().pss for one in (process, *process.children(recursive=True))) / 1e6


def describe(rows: dict[str, list[float]]) -> Iterator[str]:
    """The machine, the versions and the table."""
    yield from ("# `python -m benchmarks.start`", "", *describe_machine())
    yield f"{', '.join(f'{name} {version(name)}' for name in PACKAGES)}."
    yield from ("", "| | median | range | runs |", "| --- | ---: | ---: | ---: |")
    for title, found in rows.items():
        yield f"| {title} | {statistics.median(found):.2f} | {min(found):.2f} to {max(found):.2f} | {len(found)} |"
    yield ""


if __name__ == "__main__":
    main()
