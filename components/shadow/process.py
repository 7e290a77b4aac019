"""A worker's end of its candidate's process. Nothing here waits."""

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any, cast

import orjson

from components import end_with_parent
from components.catalogue_in_use import VARIABLE, catalogue_in_use
from components.paths import CHECKOUT
from components.registry.shadowed import Shadow
from components.registry.store import bentoml_home
from components.shadow import candidate
from components.telemetry import OFF

LOADING, ANSWERING = 120.0, 60.0  # seconds that it may take
ENDING = 1.0  # seconds to wait for the end of a killed process, which needs nothing more from this one
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
MOST_READ = PIPE_BYTES = 1 << 20  # bytes


class CandidateProcess:
    """A process with a candidate. On Linux it ends with the thread that started it."""

    def __init__(self, shadow: Shadow) -> None:
        """Start it.

        Raises:
            OSError: the system has no room for it.
        """
        own = ["-m", candidate.__name__, shadow.tag, shadow.card_sha256]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, `end` closes it
        self.process = subprocess.Popen(
            [sys.executable, "-P", end_with_parent.__file__, str(os.getpid()), sys.executable, *own],
            cwd=CHECKOUT,
            env={
                **os.environ,
                **OFF,
                **ONE_THREAD,
                "BENTOML_HOME": str(bentoml_home()),
                VARIABLE: catalogue_in_use(),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._input, self._output = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        for stream in (self._input, self._output):
            os.set_blocking(stream.fileno(), False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # beyond the user's limit
                fcntl.fcntl(self._input, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._unsent, self._received = memoryview(b""), b""
        self._started = time.monotonic()
        self._deadline: float | None = self._started + LOADING

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @property
    def is_idle(self) -> bool:
        """Whether it has answered everything, and is ready."""
        return self._deadline is None

    def send(self, content: bytes) -> None:
        """Begin to send a batch; `exchange` sends the rest."""
        self._unsent, self._deadline = memoryview(content), time.monotonic() + ANSWERING

    def exchange(self) -> Iterator[dict[str, Any]]:
        """Send as much as the process takes, and yield the answers that have arrived.

        Raises:
            EOFError: the process has ended, or does not answer. Its message says why.
        """
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            if self._unsent:
                self._unsent = self._unsent[os.write(self._input.fileno(), self._unsent) :]
        ended = False
        with contextlib.suppress(BlockingIOError):
            content = os.read(self._output.fileno(), MOST_READ)
            ended, self._received = not content, self._received + content
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            self._deadline = None
            yield orjson.loads(line)
        if ended:
            raise EOFError(self._describe_end())
        if self._deadline and time.monotonic() > self._deadline:
            raise EOFError("it did not respond in time")

    def end(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # at the lowest priority, even its end may take long
            self.process.wait(ENDING)
        for stream in (self._input, self._output, self._errors):
            with contextlib.suppress(OSError):
                stream.close()

    def _describe_end(self) -> str:
        status = ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = f" with status {self.process.wait(ENDING)}"
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"its process ended{status}" + (f": {lines[-1][:300]}" if lines else "")
