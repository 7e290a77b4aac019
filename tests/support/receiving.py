"""Receivers that record webhook notifications and mails."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from servers import free_port

WAIT = 60  # seconds to wait for a message


@dataclass
class Receiver:
    """An HTTP server in this process, and the JSON it received."""

    port: int
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The Apprise URL."""
        return f"json://127.0.0.1:{self.port}/hook"

    def wait_for(self, subject: str) -> dict[str, Any]:
        """Wait for the first message whose subject contains this text."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            for message in list(self.received):
                if subject in message["title"]:
                    return message
            time.sleep(0.1)
        pytest.fail(f"no message about {subject!r}; received {[message['title'] for message in self.received]}")


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive notifications on a free local port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")  # Slack's answer

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()


@dataclass
class Mailbox:
    """A mail server in this process, and the mails it received."""

    port: int
    received: list[EmailMessage] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The Apprise URL."""
        return f"mailto://127.0.0.1:{self.port}?from=fashion@example.com&to=team@example.com"


@contextmanager
def mailing() -> Iterator[Mailbox]:
    """Receive mail on a free local port until the block ends."""

    class Handler:
        async def handle_DATA(  # noqa: N802, name required by aiosmtpd
            self, server: SMTP, session: Session, envelope: Envelope
        ) -> str:
            content = envelope.original_content or b""
            mailbox.received.append(message_from_bytes(content, EmailMessage, policy=policy.default))
            return "250 OK"

    mailbox = Mailbox(free_port())
    controller = Controller(Handler(), hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
