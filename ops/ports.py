"""A port in use, in one line: the servers themselves answer with a page of traceback, or try again for ever."""

import contextlib
import shlex
import socket

from components.errors import SettingsError
from flows.notify.redact import redact

SHOWN = 80  # characters of a command line


def refuse_used_port(host: str, port: int, variable: str) -> None:
    """Check that a server could listen there.

    Args:
        host: its name or address.
        port: the port.
        variable: the environment variable that takes another.

    Raises:
        SettingsError: it could not.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {error.strerror}{_holder(port)}; {variable}=... takes another"
        ) from error


def _holder(port: int) -> str:
    """Who listens on a port, if it can be seen: one sees one's own processes, and root sees all."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in process.net_connections()):
                return f" by process {process.pid} ({redact(shlex.join(process.cmdline()))[:SHOWN]})"
    return ""
