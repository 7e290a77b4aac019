"""Control the supervisor of a stack: start it, query it, and stop it with all its processes."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil

from components.errors import StackError
from ops.layout import CONFIG, MARK, StackLayout, keep_ports

STOP_TIMEOUT = 40.0  # seconds until processes are killed; the worker's own timeout is 30
REQUEST_TIMEOUT = 5.0  # seconds for a response of a healthy supervisor
RUN = "PREFECT__FLOW_RUN_ID"  # set in the environment of a run and its children
INTERVAL = 0.2  # seconds between checks


def start(layout: StackLayout) -> None:
    """Start the supervisor in the background, without the pieces.

    Raises:
        StackError: it does not start, for example because its configuration is invalid.
    """
    for folder in (layout.home, layout.logs, layout.prefect_home):
        folder.mkdir(parents=True, exist_ok=True)
    keep_ports(layout)
    command = [str(Path(sys.executable).with_name("supervisord")), "--configuration", str(CONFIG)]
    done = subprocess.run(command, cwd=layout.home, env=layout.environment(), capture_output=True, text=True)
    if done.returncode:
        raise StackError(f"the supervisor did not start: {last_line(done.stderr.partition('For help')[0])}")
    deadline = time.monotonic() + STOP_TIMEOUT
    while not is_up(layout):
        if time.monotonic() > deadline:
            raise StackError(f"the supervisor does not respond. See {layout.logs / 'supervisord.log'}")
        time.sleep(INTERVAL)


def is_up(layout: StackLayout) -> bool:
    """Whether a supervisor responds."""
    try:
        with asking(layout, REQUEST_TIMEOUT) as supervisor:
            return bool(supervisor.getState())
    except Fault:  # it is shutting down
        return True
    except OSError:
        return False


@contextlib.contextmanager
def asking(layout: StackLayout, timeout: float = STOP_TIMEOUT) -> Iterator[Any]:
    """Context manager that returns the supervisor's XML-RPC interface (http://supervisord.org/api.html).

    Raises:
        OSError: no supervisor runs, or it does not respond within the timeout, in seconds.
    """
    from supervisor.xmlrpc import SupervisorTransport

    with contextlib.chdir(layout.home), _socket_timeout(timeout):
        transport = SupervisorTransport("", "", f"unix://{layout.socket}")
        try:
            yield ServerProxy("http://127.0.0.1", transport).supervisor
        finally:
            transport.close()


@contextlib.contextmanager
def _socket_timeout(timeout: float) -> Iterator[None]:
    """Set the default timeout, because the transport creates its own socket and a supervisor may hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def describe(layout: StackLayout) -> dict[str, dict[str, Any]]:
    """Return the process info of each piece: `statename`, `pid`, `exitstatus`, ...; empty if no supervisor runs."""
    with contextlib.suppress(OSError), asking(layout, REQUEST_TIMEOUT) as supervisor:
        return {info["name"]: info for info in supervisor.getAllProcessInfo()}
    return {}


def start_piece(layout: StackLayout, name: str) -> None:
    """Start a piece unless it runs; returns at once."""
    with asking(layout) as supervisor, contextlib.suppress(Fault):  # already running
        supervisor.startProcess(name, False)


def stop(layout: StackLayout) -> int:
    """Stop all pieces, the supervisor and their child processes. Returns the number of runs that were stopped.

    The Prefect server stops last, so that stopped runs can report their state.
    """
    strays = 0
    with contextlib.suppress(OSError), asking(layout) as supervisor:
        for name in ("service", "worker"):
            with contextlib.suppress(Fault):  # not running
                supervisor.stopProcess(name)
        kept = descendants_of(int(supervisor.getPID()))
        runs = [process for process in marked(layout) if process.pid not in kept]
        strays = len(runs)
        end(runs)
        supervisor.shutdown()
    deadline = time.monotonic() + STOP_TIMEOUT
    while is_up(layout) and time.monotonic() < deadline:
        time.sleep(INTERVAL)
    end(marked(layout))
    return strays


def descendants_of(pid: int) -> set[int]:
    """PIDs of a process and all its descendants."""
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


def marked(layout: StackLayout) -> list[psutil.Process]:
    """All processes of this stack, including orphans; runs have their own sessions."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(layout.home):
                found.append(process)
    own = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in found if process.pid not in own]


def orphans(layout: StackLayout) -> dict[str, list[psutil.Process]]:
    """The processes of this stack by role: a piece, "supervisord" or "runs". For use when no supervisor responds."""
    found: dict[str, list[psutil.Process]] = {}
    for process in marked(layout):
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            name = "runs" if RUN in environment else environment.get("SUPERVISOR_PROCESS_NAME", "supervisord")
            found.setdefault(name, []).append(process)
    return found


def end(processes: list[psutil.Process]) -> None:
    """Terminate processes; kill those that remain after a timeout."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=STOP_TIMEOUT)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=STOP_TIMEOUT)


def last_line(text: str) -> str:
    """The last non-empty line, or "nothing"."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")
