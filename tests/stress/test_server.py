"""The temporary Prefect server of a command. test_flow.py tests its independence from user settings."""

import importlib.metadata
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefects import wait_until

from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
START = "from ops.server import use_server as use\nuse().wait()\nprint('it answers', flush=True)\ninput()"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "TMPDIR": str(tmp_path / "tmp"), "FASHION_DATA_DIR": str(tmp_path / "data")}


def start(environment: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", START]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_it_stops_with_a_killed_command_and_removes_its_folder(environment: dict[str, str], tmp_path: Path) -> None:
    with start(environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "it answers\n"
        (folder,) = (tmp_path / "tmp").iterdir()
        (server,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not folder.exists(), "the folder to be gone")
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server to be gone")


def test_a_failed_start_is_reported_in_one_line_and_does_not_block_the_next(
    environment: dict[str, str], tmp_path: Path
) -> None:
    template = tmp_path / "data" / "cache" / f"prefect-{importlib.metadata.version('prefect')}.db"
    template.parent.mkdir(parents=True)
    with sqlite3.connect(template) as foreign:
        foreign.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        foreign.execute("INSERT INTO alembic_version VALUES ('of another')")
    foreign.close()
    output, errors = start(environment).communicate()
    message = (
        "the temporary Prefect server did not start. Its log ends with: "
        "alembic.util.exc.CommandError: Can't locate revision"
    )
    assert (output, message in errors.splitlines()[-1]) == ("", True), errors
    assert not list((tmp_path / "tmp").iterdir())
    assert not template.exists()
