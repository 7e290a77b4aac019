"""Requests written by hand, on connections that the test holds."""

import socket

from servers import Server

BYTES = "application/octet-stream"
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"


def connect(server: Server, window: int = 0) -> socket.socket:
    """A connection, with so many bytes of room for what comes."""
    connection = socket.socket()
    connection.settimeout(30)
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.connect(("127.0.0.1", server.port))
    return connection


def status_of(answer: bytes) -> int:
    return int(answer.split(maxsplit=2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def take(one: socket.socket, end: bytes) -> bytes:
    """What comes until it ends so, or the connection does."""
    content = b""
    while not content.endswith(end) and (piece := one.recv(64 << 10)):
        content += piece
    return content
