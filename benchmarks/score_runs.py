"""Run a scoring process and measure it; start the service for the HTTP contestant."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.serve import answers
from components.settings import CHECKOUT

BIN = Path(sys.executable).parent


@dataclass
class Run:
    """Measurements of one process."""

    rows: int
    seconds: float
    peak: float  # peak memory in MB, including child processes
    own: float = 0.0  # peak memory in MB without memory mapped from files, i.e. libraries
    total: float = 0.0  # seconds from start to end of the process
    done_at: list[float] = field(default_factory=list)  # seconds from the start to the completion of the n-th part


def watch(command: list[str], text: str, parts: Path) -> Run | str:
    """Run a command while sampling its memory and its completed parts; returns the last error line if it fails."""
    with (
        tempfile.TemporaryFile("w+") as stdin,
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as log,
    ):
        stdin.write(text)
        stdin.seek(0)
        process = psutil.Popen(command, stdin=stdin, stdout=stdout, stderr=log, cwd=CHECKOUT)
        run, began = Run(0, 0.0, 0.0), time.monotonic()
        while process.poll() is None:
            resident, mapped = memory_of(process)
            run.peak, run.own = max(run.peak, resident), max(run.own, resident - mapped)
            done = sum(1 for path in parts.glob("*.json") if path.name != "job.json")
            run.done_at += [time.monotonic() - began] * (done - len(run.done_at))
            time.sleep(0.1)  # each sample costs a millisecond of the measured cores
        run.total = time.monotonic() - began
        stdout.seek(0)
        log.seek(0)
        if process.returncode:
            return (log.read().splitlines() or [f"exit status {process.returncode}"])[-1]
        answer = json.loads(stdout.read().splitlines()[-1])
        run.rows, run.seconds = answer["rows"], answer["seconds"]
        return run


def memory_of(process: psutil.Process) -> tuple[float, float]:
    """Memory of a process and its children in MB, and how much of it is mapped from files."""
    size = mapped = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                held = one.memory_info()
                size, mapped = size + held.rss, mapped + held.shared
    return size / 1e6, mapped / 1e6


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `bentoml serve` with the live model and yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(BIN / "bentoml"), "serve", str(CHECKOUT), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: answers(port), process, folder / "serve.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for a server to become ready, for at most two minutes."""
    deadline = time.monotonic() + 120
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the service did not start:\n{log.read_text()}")
        time.sleep(0.2)
