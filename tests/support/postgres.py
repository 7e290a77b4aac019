"""A temporary PostgreSQL server."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import START, free_port

DEBIAN = Path("/usr/lib/postgresql")


def find_programs() -> Path:
    """The folder with `initdb` and `postgres` of the newest installed version."""
    found = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL is installed (Debian's package postgresql)")
    return found[-1].parent


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server on a free local port until the block ends, and yield its SQLAlchemy URL for asyncpg."""
    programs, port, password = find_programs(), free_port(), secrets.token_urlsafe()
    # PostgreSQL refuses to run as root, and other users cannot read pytest's folders.
    other: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        (folder / "password").write_text(password)
        if other:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        data = folder / "data"
        make = f"{programs}/initdb --pgdata {data} --username prefect --pwfile password --auth scram-sha-256 --no-sync"
        done = subprocess.run(make.split(), cwd=folder, capture_output=True, text=True, **other)
        assert done.returncode == 0, done.stderr
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        command = [f"{programs}/postgres", "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        with (folder / "log").open("wb") as log:
            server: subprocess.Popen[bytes] = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, start_new_session=True, **other
            )
        try:
            _wait(programs, port, server, folder / "log")
            yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # closes the connections, then stops
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _wait(programs: Path, port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    ask = [f"{programs}/pg_isready", "--host", "127.0.0.1", "--port", str(port), "--quiet"]
    deadline = time.monotonic() + START
    while subprocess.run(ask).returncode:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
