"""The supervisor of a stack: start it, ask it, and end it with everything that it started."""

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

STOP = 40.0  # seconds for everything to end before it is killed; the worker's own bound is 30
ASK = 5.0  # seconds for an answer of a supervisor that is well
RUN = "PREFECT__FLOW_RUN_ID"  # in the environment of a run, and of what it starts
EVERY = 0.2  # seconds between two looks


def start(layout: StackLayout) -> None:
    """Start the supervisor, in the background; the pieces are started one by one.

    Raises:
        StackError: it does not take its configuration.
    """
    for folder in (layout.home, layout.logs, layout.prefect_home):
        folder.mkdir(parents=True, exist_ok=True)
    keep_ports(layout)
    command = [str(Path(sys.executable).with_name("supervisord")), "--configuration", str(CONFIG)]
    done = subprocess.run(command, cwd=layout.home, env=layout.environment(), capture_output=True, text=True)
    if done.returncode:
        raise StackError(f"the supervisor does not start: {last_line(done.stderr.partition('For help')[0])}")
    deadline = time.monotonic() + STOP
    while not is_up(layout):
        if time.monotonic() > deadline:
            raise StackError(f"the supervisor does not answer; {layout.logs / 'supervisord.log'} says why")
        time.sleep(EVERY)


def is_up(layout: StackLayout) -> bool:
    """Whether a supervisor answers."""
    try:
        with asking(layout, ASK) as supervisor:
            return bool(supervisor.getState())
    except Fault:  # it is on its way down
        return True
    except OSError:
        return False


@contextlib.contextmanager
def asking(layout: StackLayout, timeout: float = STOP) -> Iterator[Any]:
    """The supervisor's interface (http://supervisord.org/api.html), while the block lasts.

    Raises:
        OSError: there is none, or it does not answer within the timeout, in seconds.
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
    """The transport makes its socket itself; a supervisor that hangs takes calls and answers none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def describe(layout: StackLayout) -> dict[str, dict[str, Any]]:
    """Of each piece, what the supervisor knows: `statename`, `pid`, `exitstatus`, ...; empty where there is none."""
    with contextlib.suppress(OSError), asking(layout, ASK) as supervisor:
        return {info["name"]: info for info in supervisor.getAllProcessInfo()}
    return {}


def start_piece(layout: StackLayout, name: str) -> None:
    """Start a piece that does not run; the call returns at once."""
    with asking(layout) as supervisor, contextlib.suppress(Fault):  # which says that it runs
        supervisor.startProcess(name, False)


def stop(layout: StackLayout) -> int:
    """End every piece, the supervisor, and all that any of them started. Returns how many runs had to be ended.

    The Prefect server is the last, so that a run which is ended can still say so.
    """
    strays = 0
    with contextlib.suppress(OSError), asking(layout) as supervisor:
        for name in ("service", "worker"):
            with contextlib.suppress(Fault):  # it does not run
                supervisor.stopProcess(name)
        kept = descendants_of(int(supervisor.getPID()))
        runs = [process for process in marked(layout) if process.pid not in kept]
        strays = len(runs)
        end(runs)
        supervisor.shutdown()
    deadline = time.monotonic() + STOP
    while is_up(layout) and time.monotonic() < deadline:
        time.sleep(EVERY)
    end(marked(layout))
    return strays


def descendants_of(pid: int) -> set[int]:
    """The process itself and everything below it."""
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


def marked(layout: StackLayout) -> list[psutil.Process]:
    """Every process of this stack, also those whose parents are gone; runs are in sessions of their own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(layout.home):
                found.append(process)
    own = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in found if process.pid not in own]


def orphans(layout: StackLayout) -> dict[str, list[psutil.Process]]:
    """The processes of this stack by what they are (a piece, "supervisord" or "runs"); of use where none answers."""
    found: dict[str, list[psutil.Process]] = {}
    for process in marked(layout):
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            name = "runs" if RUN in environment else environment.get("SUPERVISOR_PROCESS_NAME", "supervisord")
            found.setdefault(name, []).append(process)
    return found


def end(processes: list[psutil.Process]) -> None:
    """SIGTERM; and SIGKILL to those that are still there after a while."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=STOP)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=STOP)


def last_line(text: str) -> str:
    """The last line that says something, or "nothing"."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")
