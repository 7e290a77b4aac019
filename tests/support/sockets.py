"""Raw HTTP requests on sockets."""

import socket

from servers import Server

BYTES = "application/octet-stream"
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"


def connect(server: Server, window: int = 0) -> socket.socket:
    """Open a connection with a receive buffer of `window` bytes."""
    connection = socket.socket()
    connection.settimeout(30)
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.connect(("127.0.0.1", server.port))
    return connection


def status_of(answer: bytes) -> int:
    return int(answer.split(maxsplit=2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def take(one: socket.socket, end: bytes) -> bytes:
    """Receive until the content ends with `end` or the connection closes."""
    content = b""
    while not content.endswith(end) and (piece := one.recv(64 << 10)):
        content += piece
    return content
