"""Run `bentoml serve` in a separate process that never outlives this one."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from components import end_with_parent, telemetry
from components.catalogue_in_use import VARIABLE, catalogue_in_use

STOP = 10  # seconds for killed processes to disappear


@contextlib.contextmanager
def start_server(source: Path, bentoml_home: Path, log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Serve a folder on a free loopback port. On exit, kill the server and every process it started.

    Args:
        source: folder passed to `bentoml serve`.
        bentoml_home: BENTOML_HOME of the server.
        log: file for its standard output and error.

    Yields:
        The server process and its port.
    """
    port = _free_port()
    serve = [str(Path(sys.executable).with_name("bentoml")), "serve", str(source)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "BENTOML_"))}
    ours = {
        **telemetry.OFF,
        "BENTOML_HOME": str(bentoml_home),
        "FASHION_PREDICTION_LOG": "off",
        VARIABLE: catalogue_in_use(),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                end_with_parent.__file__,
                str(os.getpid()),
                *serve,
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            env=inherited | ours,
            cwd=source,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        _kill_processes(bentoml_home)


def _kill_processes(bentoml_home: Path) -> None:
    """Kill the remaining processes, including new ones, and wait until all are gone."""
    deadline = time.monotonic() + STOP
    while (left := find_processes(bentoml_home)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.02)


def find_processes(bentoml_home: Path) -> list[psutil.Process]:
    """Find the processes that use a BENTOML_HOME, including workers whose supervisor crashed."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("BENTOML_HOME") == str(bentoml_home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client_of(port: int) -> httpx.Client:
    """Return an HTTP client for the server; proxy settings are ignored."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
