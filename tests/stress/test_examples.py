"""The commands and variables of examples/compose.yaml, run in order without containers, with a real PostgreSQL."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from postgres import postgres
from servers import free_port, running, stop, wait_until_ready

from components.settings import CHECKOUT
from examples.client import classify

pytestmark = pytest.mark.slow
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "examples" / "compose.yaml").read_text())
BIN = Path(sys.executable).parent
TRAIN = "deployment run training/on-demand --param preset=quick --param epochs=1 --watch"


@dataclass(frozen=True)
class Local:
    """The services of the Compose file as local processes."""

    folder: Path
    database: str
    archives: Path
    prefect_port: int
    port: int

    def _here(self, text: str) -> str:
        """Replace paths, hosts and ports of the containers with local ones."""
        text = re.sub(
            r"^postgresql\+asyncpg://prefect:\$\{POSTGRES_PASSWORD:\?\}@database/prefect$", self.database, text
        )
        text = text.replace(".venv/bin/", f"{BIN}/").replace("/home/fashion", str(self.folder))
        text = text.replace("//prefect:4200", f"//127.0.0.1:{self.prefect_port}").replace("0.0.0.0", "127.0.0.1")
        return re.sub(r"\b4200\b", str(self.prefect_port), re.sub(r"\b3000\b", str(self.port), text))

    def command(self, name: str) -> list[str]:
        return [self._here(word) for word in COMPOSE["services"][name]["command"]]

    def environment(self, name: str) -> dict[str, str]:
        given = {key: self._here(value) for key, value in COMPOSE["services"][name]["environment"].items()}
        given |= {"FASHION_SOURCE": str(self.archives), "FASHION_TOKEN": "", "PORT": str(self.port)}
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **given}

    def is_healthy(self, name: str) -> bool:
        kind, *check = COMPOSE["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run([self._here(word) for word in check], capture_output=True).returncode == 0

    def run(self, command: list[str], name: str) -> str:
        done = subprocess.run(command, cwd=CHECKOUT, env=self.environment(name), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def local(tmp_path: Path, archives: Path) -> Iterator[Local]:
    for name in ("bentoml", "data"):
        (tmp_path / name).mkdir()
    with postgres() as database:
        yield Local(tmp_path, database, archives, free_port(), free_port())


def test_from_the_database_to_an_answer(local: Local, tmp_path: Path) -> None:
    server = running(
        local.command("prefect"),
        local.prefect_port,
        local.environment("prefect"),
        CHECKOUT,
        tmp_path / "prefect.log",
        alive="/api/health",
    )
    with server:
        assert local.is_healthy("prefect")
        local.run(local.command("register"), "register")
        log = tmp_path / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                local.command("worker"),
                cwd=CHECKOUT,
                env=local.environment("worker"),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            local.run([str(BIN / "prefect"), *TRAIN.split()], "worker")
        finally:
            stop(worker)
        served = running(
            local.command("service"), local.port, local.environment("service"), CHECKOUT, tmp_path / "service.log"
        )
        with served as service, httpx.Client(base_url=service.url, trust_env=False) as client:
            assert local.is_healthy("service")
            wait_until_ready(client)
            photo = CHECKOUT / "examples" / "photos" / "bag.png"
            (found,) = classify([photo], service.url)["predictions"]
            assert found["file"] == "bag.png"
    assert not list((local.folder / "data" / "prefect").glob("*.db*")), "nothing is in SQLite"
