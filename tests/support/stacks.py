"""A stack started by `fashion up` with separate homes and ports and a password, and helpers to control it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prefects import LONG, PREFECT, Api
from servers import free_port

from components.settings import CHECKOUT

if TYPE_CHECKING:
    from ops.layout import StackLayout
    from ops.start import Piece

SECRET = "somebody:something"
QUICK = {"preset": "quick", "overrides": {"hidden": [16]}, "epochs": 1}  # the parameters of a short training


@dataclass(frozen=True)
class Stack:
    """A stack and its environment; a user's commands also need the server's address and password."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def prepare(cls, folder: Path, archives: Path) -> "Stack":
        ours = ("PREFECT_", "FASHION_", "MAKE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        # A socket's path has at most 107 bytes, but a checkout may be deeper.
        data = folder / ("deep-" * 20) / "data"
        (folder / "project").mkdir()
        (folder / "project" / "prefect.yaml").symlink_to(CHECKOUT / "prefect.yaml")
        return cls(
            folder,
            {
                **kept,
                "PORT": str(free_port()),
                "PREFECT_PORT": str(free_port()),
                "PREFECT_SERVER_API_AUTH_STRING": SECRET,
                "PREFECT_WORKER_QUERY_SECONDS": "1",  # instead of 10: how often the worker looks for runs
                "BENTOML_HOME": str(folder / "bentoml"),
                "FASHION_DATA_DIR": str(data),
                "FASHION_SOURCE": str(archives),
            },
        )

    @property
    def data(self) -> Path:
        return Path(self.environment["FASHION_DATA_DIR"])

    @property
    def project(self) -> Path:
        """The folder in which `fashion up` runs; the checkout itself may belong to a running stack."""
        return self.folder / "project"

    @cached_property
    def api(self) -> Api:
        return Api(f"http://127.0.0.1:{self.environment['PREFECT_PORT']}/api", SECRET)

    @property
    def service(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def layout(self) -> "StackLayout":
        """The layout as seen by a user's command."""
        from ops.layout import running_layout

        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return running_layout()

    def fashion(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return self._run([sys.executable, "-m", "fashion", *arguments], {**self.environment, **more}, self.project)

    @property
    def user(self) -> dict[str, str]:
        """The environment of a user of the server, with a separate home."""
        access = {"PREFECT_API_URL": self.api.url, "PREFECT_API_AUTH_STRING": SECRET}
        return {**self.environment, **access, "PREFECT_HOME": str(self.folder / "user")}

    def prefect(self, *arguments: str, cwd: Path = CHECKOUT) -> "subprocess.CompletedProcess[str]":
        return self._run([str(PREFECT), *arguments], self.user, cwd)

    def _run(self, command: list[str], environment: dict[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=LONG)

    def pieces(self) -> "dict[str, Piece]":
        from ops.start import look

        return {piece.name: piece for piece in look(self.layout)}

    def processes(self) -> list[psutil.Process]:
        """All running processes of the stack, including descendants."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FASHION_STACK_HOME") == str(self.data / "stack"):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    def start_run(self, deployment: str, parameters: dict[str, Any] | None = None, **more: Any) -> str:
        return self.api.start_run(deployment, parameters, **more)

    def end_of(self, run: str) -> str:
        return self.api.end_of(run, self.log("worker"))

    def process_of(self, run: str) -> psutil.Process:
        """The process of a flow run."""
        (process,) = (one for one in self.processes() if one.environ().get("PREFECT__FLOW_RUN_ID") == run)
        return process
