"""A receiver of messages: what is posted to it is kept."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

WAIT = 60  # seconds for a message to come


@dataclass
class Receiver:
    """An HTTP server of this process, and the JSON that came."""

    port: int
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As Apprise has it."""
        return f"json://127.0.0.1:{self.port}/hook"

    def wait_for(self, told: str) -> dict[str, Any]:
        """The first message with these words in its subject."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            for message in list(self.received):
                if told in message["title"]:
                    return message
            time.sleep(0.1)
        pytest.fail(f"nobody was told of {told!r}, only of {[message['title'] for message in self.received]}")


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive on a free port of the loopback while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()
