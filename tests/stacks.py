"""A stack that `fashion up` started, with homes and ports of its own, behind a password; and what tests do to it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from servers import free_port

from components.settings import CHECKOUT

SECRET = "somebody:something"
LONG = 600  # seconds, for anything that a test waits for


@dataclass(frozen=True)
class Stack:
    """Its environment, which the commands of a user have too, but for the server's address and the password."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def prepare(cls, folder: Path, archives: Path) -> "Stack":
        ours = ("PREFECT_", "FASHION_", "MAKE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        # A socket's path has at most 107 bytes; a checkout may lie deeper.
        data = folder / ("deep-" * 20) / "data"
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
    def api(self) -> str:
        return f"http://127.0.0.1:{self.environment['PREFECT_PORT']}/api"

    @property
    def service(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    def fashion(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return self._run([sys.executable, "-m", "flows", *arguments], {**self.environment, **more})

    def prefect(self, *arguments: str, cwd: Path = CHECKOUT) -> "subprocess.CompletedProcess[str]":
        user = {"PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": SECRET}
        program = str(Path(sys.executable).with_name("prefect"))
        home = {"PREFECT_HOME": str(self.folder / "user")}
        return self._run([program, *arguments], {**self.environment, **user, **home}, cwd)

    def _run(
        self, command: list[str], environment: dict[str, str], cwd: Path = CHECKOUT
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=LONG)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        user, _, password = SECRET.partition(":")
        answer = httpx.request(method, f"{self.api}{path}", json=body, auth=(user, password), timeout=90)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def pieces(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.fashion("status", "--json").stdout)["pieces"]
        return told

    def processes(self) -> list[psutil.Process]:
        """Everything that runs and was started by it, however deep."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FASHION_STACK_HOME") == str(self.data / "stack"):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def log(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text()

    def start_run(self, deployment: str, parameters: dict[str, Any] | None = None, **more: Any) -> str:
        found = self.ask("GET", f"/deployments/name/{deployment}")
        body = {"parameters": parameters or {}, **more}
        run: dict[str, str] = self.ask("POST", f"/deployments/{found['id']}/create_flow_run", body)
        return run["id"]

    def state(self, run: str) -> str:
        return str(self.ask("GET", f"/flow_runs/{run}")["state"]["name"])

    def end_of(self, run: str) -> str:
        """Wait for a run to end, and say how."""
        last = ("Completed", "Failed", "Crashed", "Cancelled")
        wait_until(lambda: self.state(run) in last, f"run {run} to end", self.log("worker"))
        return self.state(run)

    def process_of(self, run: str) -> psutil.Process:
        """The process that a run is in."""
        (process,) = (one for one in self.processes() if one.environ().get("PREFECT__FLOW_RUN_ID") == run)
        return process


def wait_until(holds: Callable[[], bool], what: str, log: str = "") -> None:
    deadline = time.monotonic() + LONG
    while True:
        try:
            if holds():
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            pytest.fail(f"waited for {what} in vain\n{log[-4000:]}")
        time.sleep(0.2)
