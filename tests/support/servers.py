"""Real servers: runs `bentoml serve` in a separate session and stops it with all its children; sets its store."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from components.settings import CHECKOUT

SERVICE_TOKEN = "a long secret, voil\u00e0"  # of the guarded service
START = 120  # seconds for a server to start; Prefect migrates an empty home first
STOP = 15  # seconds for a server to stop after SIGTERM
# Below the system's ephemeral ports; each test process starts at another port and uses none twice.
PORTS = iter(range(20_000 + os.getpid() % 100 * 100, 32_000))


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path  # its standard output and error

    def client(self) -> httpx.Client:
        """A client that opens a new connection for each request, so that requests do not affect each other."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, limits=limits)


@contextlib.contextmanager
def using_home(home: Path) -> Iterator[Path]:
    """Make `home` the BENTOML_HOME of this process and its children; like conftest's fixture, for any scope."""
    (home / "models").mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        BentoMLContainer.bentoml_home.set(str(home))
        BentoMLContainer.model_store.set(ModelStore(home / "models"))
        try:
            yield home
        finally:
            BentoMLContainer.bentoml_home.reset()
            BentoMLContainer.model_store.reset()


@contextlib.contextmanager
def serve(
    home: Path, target: str = str(CHECKOUT), cwd: Path = CHECKOUT, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """Serve the checkout, or a Bento by its tag, on a free local port until the block ends.

    Args:
        home: the server's BENTOML_HOME; the log is written next to it.
        target: argument of `bentoml serve`: a folder or a Bento's tag.
        cwd: working directory of the server.
        environment: variables to add to this process's environment.
    """
    port = free_port()
    bentoml = Path(sys.executable).with_name("bentoml")
    command = [str(bentoml), "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    ours = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true"}
    log = home.with_name(f"{home.name}-{port}.log")
    with running(command, port, {**os.environ, **ours, **(environment or {})}, cwd, log) as server:
        yield server


@contextlib.contextmanager
def running(
    command: list[str], port: int, environment: dict[str, str], cwd: Path, log: Path, alive: str = "/livez"
) -> Iterator[Server]:
    """Run a command that serves on a local port until the block ends; `alive` is the path of its health check."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(f"http://127.0.0.1:{port}", port, process, log)
    try:
        wait_until_alive(server, alive)
        yield server
    finally:
        stop(process)


def free_port() -> int:
    """A free port that neither the system nor another test process will assign."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like servers
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def wait_until_alive(server: Server, path: str = "/livez") -> None:
    deadline = time.monotonic() + START
    with server.client() as client:
        while time.monotonic() < deadline and server.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(path).is_success:
                    return
            time.sleep(0.1)
    pytest.fail(f"{server.url}{path} did not respond:\n{server.log.read_text()}")


def wait_until_ready(client: httpx.Client) -> None:
    """Wait until the service has loaded a model."""
    deadline = time.monotonic() + 60
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM; after a timeout, SIGKILL to the process group and to BentoML's workers, which are outside it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        workers = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    process.wait()
