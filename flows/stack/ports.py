"""A port in use, in one line: the servers themselves answer with a page of traceback, or try again for ever."""

import socket

from components.errors import SettingsError


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
            f"cannot listen on {host}, port {port}: {error.strerror}; {variable}=... takes another"
        ) from error
