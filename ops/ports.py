"""Report a used port in one line; the servers themselves print a long traceback or retry forever."""

import contextlib
import errno
import shlex
import socket
from dataclasses import dataclass

import httpx
import psutil

from components.errors import SettingsError
from flows.notify.redact import redact
from ops.layout import MARK

SHOWN = 80  # characters of a command line
ASK_TIMEOUT = 2.0  # seconds for the program at a port to say what it is


@dataclass(frozen=True)
class Occupant:
    """What listens on a port."""

    pid: int  # 0: not visible; only root sees the processes of other users
    command: str
    is_ours: bool = False  # whether it answers as this project's service does
    in_stack: bool = False  # whether 'fashion up' started it

    def __str__(self) -> str:
        process = f"process {self.pid} ({self.command})" if self.pid else "another program"
        if not self.is_ours:
            return process
        return f"this project's service, {process}" if self.pid else "this project's service"

    @property
    def how_to_stop(self) -> str:
        """What to do about it."""
        if self.in_stack:
            return "Stop it with 'fashion down'"
        if not self.is_ours:
            return "Stop it"
        kill = f" or 'kill {self.pid}'" if self.pid else ""
        return f"Stop it (Ctrl-C where 'fashion serve' runs{kill})"


def refuse_used_port(host: str, port: int, variable: str) -> None:
    """Check that a server can listen on a port.

    Args:
        host: host name or address.
        port: port number.
        variable: environment variable that sets the port.

    Raises:
        SettingsError: the port cannot be used; the message says what uses it, and what to do.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        found, stop = f"cannot listen on {host}, port {port}: {error.strerror}", ""
        if error.errno == errno.EADDRINUSE:
            occupant = find_occupant(host, port)
            found, stop = f"{found} by {occupant}", f"{occupant.how_to_stop}, or "
        choose = f"choose another port with {variable}=..."
        raise SettingsError(f"{found}. {stop}{choose if stop else choose.capitalize()}") from error


def find_occupant(host: str, port: int) -> Occupant:
    """Identify the program that listens on a port."""
    is_ours = _is_service(host, port)
    process = _find_process(port)
    if process is None:
        return Occupant(0, "", is_ours)
    with contextlib.suppress(psutil.Error):
        command = redact(shlex.join(process.cmdline()))[:SHOWN]
        return Occupant(process.pid, command, is_ours, MARK in process.environ())
    return Occupant(0, "", is_ours)


def _find_process(port: int) -> "psutil.Process | None":

    for process in psutil.process_iter():  # by ascending id: a service's supervisor comes before its workers
        with contextlib.suppress(psutil.Error):
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in process.net_connections()):
                return process
    return None


def _is_service(host: str, port: int) -> bool:
    """Whether GET /model is answered as the service answers it: with a model, or with an error that has a field."""
    name = f"[{host}]" if ":" in host else host
    try:
        # Without the token, which another program must not see: a service that needs it answers with its own error.
        answer = httpx.get(f"http://{name}:{port}/model", timeout=ASK_TIMEOUT, trust_env=False).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    if not isinstance(answer, dict):
        return False
    error = answer.get("error")
    return "classes_fingerprint" in answer or (isinstance(error, dict) and error.keys() >= {"field", "reason"})
