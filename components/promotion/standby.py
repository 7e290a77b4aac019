"""Canary servers, one of which can start early: its imports then overlap with the end of the training."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.files import DAY, remove_leftovers, temporary_name
from components.paths import RESOURCES
from components.promotion.server import start_server
from components.registry.store import home


@dataclass(frozen=True)
class Server:
    """A running server, in whose home a model can be made live."""

    source: Path  # folder of the service
    home: Path  # its BENTOML_HOME
    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def log(self) -> Path:
        """Its standard output and error."""
        return self.home / "server.log"


class Standby:
    """At most one server that waits for its model."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.stack = contextlib.ExitStack()

    def start(self) -> None:
        """Start the server, unless it runs. A failure is left to the canary, which starts another."""
        if self.server is None:
            with contextlib.suppress(OSError):
                self.server = self.stack.enter_context(_open_server(RESOURCES))

    @contextlib.contextmanager
    def take(self, source: Path) -> Iterator[Server]:
        """Yield the waiting server, or a new one. On exit, it ends and its home is removed.

        Args:
            source: folder of the service.
        """
        waiting, self.server = self.server, None
        with self.stack.pop_all() as stack:
            if waiting and waiting.source == source and waiting.process.poll() is None:
                yield waiting
            else:
                yield stack.enter_context(_open_server(source))

    def close(self) -> None:
        """End the waiting server."""
        self.server = None
        self.stack.close()


standby = Standby()  # of this process


@contextlib.contextmanager
def _open_server(source: Path) -> Iterator[Server]:
    folder = home() / "staging" / temporary_name("canary")
    remove_leftovers(folder.parent, older_than=DAY)
    folder.mkdir(parents=True)
    try:
        with start_server(source, folder, folder / "server.log") as (process, port):
            yield Server(source, folder, process, port)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
