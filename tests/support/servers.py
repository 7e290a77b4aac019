"""Real servers: `bentoml serve` in a session of its own, stopped with everything it started; and the store it reads."""

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

SERVICE_TOKEN = "a long secret, voil\u00e0"  # of a service behind one
START = 120  # seconds for a server to come up; Prefect migrates an empty home first
STOP = 15  # seconds for it to go after SIGTERM
# Below those that the system hands out; each process of the tests begins elsewhere, and takes none twice.
PORTS = iter(range(20_000 + os.getpid() % 100 * 100, 32_000))


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path  # its standard output and error

    def client(self) -> httpx.Client:
        """A client that opens a connection for each request, so that none inherits what another did to its own."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, limits=limits)


@contextlib.contextmanager
def using_home(home: Path) -> Iterator[Path]:
    """Make `home` the BENTOML_HOME of this process and those it starts; conftest's fixture for longer than a test."""
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
    """Serve the checkout, or a Bento by its tag, on a free port of the loopback until the block ends.

    Args:
        home: the server's BENTOML_HOME; the log goes beside it.
        target: what `bentoml serve` takes: a folder or a Bento's tag.
        cwd: the folder to start it in.
        environment: variables beside this process's own.
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
    """Run a command that serves on a port of the loopback until the block ends; `alive` answers once it is up."""
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
    """One that nobody listens on, and that neither the system nor another process of the tests will hand out."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
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
    pytest.fail(f"{server.url}{path} did not answer:\n{server.log.read_text()}")


def wait_until_ready(client: httpx.Client) -> None:
    """Wait until the service has a model."""
    deadline = time.monotonic() + 60
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the process; past a bound, SIGKILL to its group and its workers, which BentoML starts outside it."""
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
