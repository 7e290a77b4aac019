"""`bentoml serve` in a process of its own, gone when it is no longer needed, whatever happens to this one."""

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

STOP = 10  # seconds, in which the kernel has ended a process that was killed


@contextlib.contextmanager
def start_server(source: Path, own: Path, log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Serve a folder on a free port of the loopback; after the block it is gone, with everything it started.

    Args:
        source: the folder that `bentoml serve` takes.
        own: its BENTOML_HOME.
        log: its standard output and error.
    """
    port = _free_port()
    serve = [str(Path(sys.executable).with_name("bentoml")), "serve", str(source)]
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "BENTOML_"))}
    ours = {**telemetry.OFF, "BENTOML_HOME": str(own), "FASHION_PREDICTION_LOG": "off", VARIABLE: catalogue_in_use()}
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
            env=settings | ours,
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
        _end_processes(own)


def _end_processes(own: Path) -> None:
    """Kill what is left, and what that started meanwhile, and wait until it is gone."""
    deadline = time.monotonic() + STOP
    while (left := find_processes(own)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.02)


def find_processes(own: Path) -> list[psutil.Process]:
    """Those that work for a BENTOML_HOME, whoever is their parent now: a worker outlives a supervisor that crashed."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("BENTOML_HOME") == str(own) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client_of(port: int) -> httpx.Client:
    """A client of that server and of no other."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
