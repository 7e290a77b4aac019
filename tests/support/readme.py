"""Runs the commands of the README in order, in a folder that looks like a checkout."""

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from servers import free_port

from components.settings import CHECKOUT

README = (CHECKOUT / "README.md").read_text()
(FIRST_SCREEN,) = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.+)$", FIRST_SCREEN, re.MULTILINE)  # the last one's output is shown below it
SHOWN = "".join(line for line in FIRST_SCREEN.splitlines() if not line.startswith("$ "))
COMMAND_ROWS = re.findall(r"^\|.*", README.partition("## Commands")[2].partition("## Documentation")[0], re.MULTILINE)
TABLE = re.findall(r"`([^`]+)`", "\n".join(COMMAND_ROWS))
TIMEOUT = 600  # seconds per command


@dataclass(frozen=True)
class User:
    """A folder with the checkout's files, and an environment with temporary homes."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def prepare(cls, folder: Path, archives: Path) -> "User":
        (folder / "home").mkdir()
        for item in CHECKOUT.iterdir():
            if item.name not in {"data", ".git"}:
                (folder / item.name).symlink_to(item)
        ours = ("FASHION_", "PREFECT_", "MAKE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment = {
            **kept,
            "PORT": str(free_port()),
            "BENTOML_HOME": str(folder / "home" / "bentoml"),
            "PREFECT_HOME": str(folder / "home" / "prefect"),
            "FASHION_DATA_DIR": str(folder / "home" / "data"),
            "FASHION_SOURCE": str(archives),
        }
        return cls(folder, environment)

    def type_each(self, commands: list[str]) -> list[str]:
        """Run the commands; a service that one of them starts is stopped after the last. Returns what they print."""
        server, printed = None, list[str]()
        try:
            for command in commands:
                local = command.replace(":3000", f":{self.environment['PORT']}")
                if command == "make serve":
                    server = subprocess.Popen(
                        shlex.split(local), cwd=self.folder, env=self.environment, start_new_session=True
                    )
                    wait_until_ready(self.environment["PORT"])
                else:
                    printed.append(self._type(command, local))
            return printed
        finally:
            if server is not None:
                os.killpg(server.pid, 15)
                assert server.wait(30) in (0, -15)

    def _type(self, command: str, local: str) -> str:
        done = subprocess.run(
            ["bash", "-c", local],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if command.startswith("curl"):
            assert '"error"' not in done.stdout, done.stdout
            assert "fashion-mlp:" in done.stdout
        if command == "make run":
            assert "(live)" in done.stdout
        return done.stdout


def wait_until_ready(port: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail("make serve was not ready within a minute")
