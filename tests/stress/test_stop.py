"""The service stops on SIGTERM within a time limit, leaves no orphan, and restarts a killed worker."""

import contextlib
import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image
from servers import START, Server, free_port, serve, stop, using_home
from sockets import BYTES, HEAD, connect, status_of, take

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.registry import champion, store
from components.settings import CHECKOUT
from components.training.train import Trained
from serving.connections import DRAIN

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]
BOUND = DRAIN + 5  # seconds until both processes are gone


@pytest.fixture(scope="module")
def home(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with using_home(tmp_path_factory.mktemp("stop") / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        yield home


def worker_of(server: Server) -> psutil.Process:
    (worker,) = psutil.Process(server.process.pid).children(recursive=True)
    return worker


def assert_gone(port: int, worker: psutil.Process, within: float = 5) -> None:
    worker.wait(within)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_sigterm_stops_it_within_a_time_limit_whatever_clients_do(home: Path, test_split: Examples) -> None:
    """It answers a request in flight. An idle connection, half a head or an endless body does not delay it."""
    body = test_split.images[:1].tobytes()
    with serve(home) as server, contextlib.ExitStack() as held:
        worker = worker_of(server)
        working, idle, half, trickling = [held.enter_context(connect(server)) for _ in range(4)]
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(take(idle, b"\r\n\r\n\n")) == 200
        half.sendall(b"GET /livez HTTP/1.1\r\nHost:")
        trickling.sendall(HEAD % (b"/classify", b"image/png", 1 << 20) + b"\x89PNG")
        working.sendall(HEAD % (b"/predict", BYTES.encode(), len(body)) + body[:-1])
        time.sleep(0.5)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        working.sendall(body[-1:])
        assert status_of(take(working, b"}]}")) == 200
        assert take(idle, b"never") == take(half, b"never") == b""
        output = take(trickling, b"never")
        assert (status_of(output), b"the service is shutting down; retry later" in output) == (503, True)
        assert server.process.wait(BOUND) == 0
        assert time.monotonic() - began < DRAIN + 1
        assert_gone(server.port, worker)
    assert "Traceback" not in server.log.read_text()


def test_uninterruptible_work_does_not_delay_a_stop(home: Path) -> None:
    """Eight requests with eight transparent photos of 24 million pixels: decoding takes longer than a stop may take."""
    file = io.BytesIO()
    Image.new("RGBA", (4900, 4900), (10, 20, 30, 40)).save(file, "PNG")
    picture = file.getvalue()
    part = b'--cut\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + picture + b"\r\n"
    body = part * 8 + b"--cut--\r\n"
    with serve(home) as server, contextlib.ExitStack() as clients:
        worker = worker_of(server)
        for client in [clients.enter_context(connect(server)) for _ in range(8)]:
            client.sendall(HEAD % (b"/classify", b"multipart/form-data; boundary=cut", len(body)) + body)
        time.sleep(1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(BOUND) == 0
        assert time.monotonic() - began > DRAIN, "it was no such work"
        assert_gone(server.port, worker)


@pytest.mark.parametrize("command", [["-m", "fashion", "serve"], ["-m", "bentoml", "serve", str(CHECKOUT)]])
def test_it_listens_on_the_loopback_address_by_default_and_can_be_stopped_while_starting(
    home: Path, tmp_path: Path, command: list[str]
) -> None:
    port, log = free_port(), tmp_path / "log"
    whole = [sys.executable, *command, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(whole, cwd=CHECKOUT, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + START
        while b"Starting production" not in log.read_bytes():  # just before this line, BentoML ignores signals
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = {one.laddr.ip for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == port}
        assert found == {"127.0.0.1"}
        workers = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(BOUND) == 0
        assert not any(worker.is_running() for worker in workers)
    finally:
        stop(process)


def test_a_killed_worker_is_restarted_and_waiting_clients_are_answered(home: Path) -> None:
    with serve(home) as server:
        worker_of(server).kill()
        waiting = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(waiting):
            waiting.request("POST", "/predict", bytes(784), {"Content-Type": BYTES})
            assert waiting.getresponse().status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(BOUND) == 0


def test_without_its_supervisor_the_worker_exits_and_frees_the_port(home: Path) -> None:
    with serve(home) as server:
        worker = worker_of(server)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        assert_gone(server.port, worker, within=BOUND)
        assert "Traceback" not in server.log.read_text()


def test_a_port_in_use_is_reported_with_an_exit_status(home: Path) -> None:
    """BentoML's own command reports it as well, in more than one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ours = [sys.executable, "-m", "fashion", "serve", "--port", port]
        done = subprocess.run(ours, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: cannot listen on 127.0.0.1, port {port}: ")
        assert done.returncode == 1
        theirs = [str(Path(sys.executable).with_name("bentoml")), "serve", str(CHECKOUT), "--port", port]
        done = subprocess.run(theirs, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "Address already in use" in done.stderr
