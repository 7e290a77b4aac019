"""Report a used port in one line; the servers themselves print a long traceback or retry forever."""

import contextlib
import shlex
import socket

from components.errors import SettingsError
from flows.notify.redact import redact

SHOWN = 80  # characters of a command line


def refuse_used_port(host: str, port: int, variable: str) -> None:
    """Check that a server can listen on a port.

    Args:
        host: host name or address.
        port: port number.
        variable: environment variable that sets the port.

    Raises:
        SettingsError: the port cannot be used.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {error.strerror}{_holder(port)}. Choose another with {variable}=..."
        ) from error


def _holder(port: int) -> str:
    """Describe the process that listens on a port, if it is visible; only root sees the processes of other users."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in process.net_connections()):
                return f" by process {process.pid} ({redact(shlex.join(process.cmdline()))[:SHOWN]})"
    return ""
