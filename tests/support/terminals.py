"""Runs a command in a pseudo-terminal and simulates key presses."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CTRL_C = b"\x03"
SIZE = struct.pack("HHHH", 40, 160, 0, 0)  # rows, columns


class Terminal:
    """A command in a pseudo-terminal, with its output and exit status."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # background jobs and their children ignore it by default
        self.keyboard, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, SIZE)
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(screen)
        self.printed = b""

    @property
    def text(self) -> str:
        return self.printed.decode(errors="replace").replace("\r", "")

    def wait_until(self, holds: Callable[[], bool], timeout: float = 240) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            self._read()

    def press(self, key: bytes = CTRL_C) -> None:
        self.printed = b""
        os.write(self.keyboard, key)

    def end(self, timeout: float = 30) -> tuple[int, float]:
        """Wait for the command to end. Returns the exit status and the seconds waited."""
        began = time.monotonic()
        while self.process.poll() is None:
            if time.monotonic() - began > timeout:
                self.process.kill()
                pytest.fail(f"the command did not end\n{self.text}")
            self._read()
        took = time.monotonic() - began
        while self._read():
            pass
        os.close(self.keyboard)
        return self.process.returncode, took

    def _read(self) -> bool:
        if not select.select([self.keyboard], [], [], 0.05)[0]:
            return False
        try:
            read = os.read(self.keyboard, 1 << 16)
        except OSError:  # the terminal was closed
            return False
        self.printed += read
        return bool(read)
