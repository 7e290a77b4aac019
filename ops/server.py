"""The Prefect server for a command that runs a flow: the one in PREFECT_API_URL, or a temporary one.

A temporary server belongs to the command and ignores the user's Prefect configuration: profiles, PREFECT_HOME, and
`prefect.toml` or `.env` in the current folder.
"""

import atexit
import contextlib
import importlib.metadata
import io
import logging
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, cast

import pydantic

from components.errors import SettingsError, StackError
from components.settings import load_settings
from ops import temporary_server
from ops.environment import DEFAULTS
from ops.stopping import stop

START_TIMEOUT = 120.0  # seconds for a temporary server to start; it may migrate its database on a busy machine
REQUEST_TIMEOUT = 10.0  # seconds for a response of a running server
KEPT = ("PREFECT_LOGGING_", *DEFAULTS)  # user variables that also apply to a temporary server
SOURCES = (
    "Check the variables PREFECT_*, profiles.toml in PREFECT_HOME, "
    "and prefect.toml, pyproject.toml and .env in the current folder"
)
UVICORN = "Application startup failed"  # uvicorn's last line, which does not name the cause
LOOPBACK = "127.0.0.1"


def use_server() -> "NamedServer | TemporaryServer":
    """Return a server for this process. Call this before importing Prefect, which reads its settings on import."""
    url = os.environ.get("PREFECT_API_URL")
    return NamedServer(url) if url else TemporaryServer()


class NamedServer:
    """A running server. The user's Prefect configuration applies: API key, profile, home."""

    def __init__(self, url: str) -> None:
        """Check that the server is usable.

        Raises:
            StackError: it does not respond.
            SettingsError: Prefect's settings are invalid, or its home is not writable.
        """
        _check(url)
        _read_settings()
        from prefect.settings import PREFECT_HOME

        home = PREFECT_HOME.value()
        try:
            tempfile.TemporaryFile(dir=home).close()
        except OSError as error:
            reason = f"PREFECT_HOME, where Prefect stores results, is not writable: {home}: {error.strerror}"
            raise SettingsError(reason) from error

    def wait(self) -> None:
        """Return at once; the server is running."""


def _check(url: str) -> None:
    import httpx

    from flows.notify.redact import redact

    try:
        response = httpx.get(f"{url.rstrip('/')}/health", timeout=REQUEST_TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        found = (str(error) or type(error).__name__).rstrip(".")
    else:
        if response.status_code < 500:
            return
        found = f"status {response.status_code}"
    raise StackError(
        f"no Prefect server responds at {redact(url)} (PREFECT_API_URL): {found}. "
        "Start it ('fashion up' starts a local one), or unset PREFECT_API_URL to use a temporary server"
    )


def _read_settings() -> None:
    """Import the part of Prefect that reads its settings, without the page that it prints about invalid ones."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            import prefect.context  # noqa: F401
    except Exception as error:
        raise SettingsError(f"invalid Prefect settings: {_one_line(error)}. {SOURCES}") from error
    sys.stderr.write(printed.getvalue())


def _one_line(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        (first, *_) = error.errors()
        return f"{error.title}, {'.'.join(map(str, first['loc']))}: {first['msg']}, found {first['input']!r}"
    return " ".join(str(error).split())


def hide_address() -> None:
    """Keep the address of a run's page on a temporary server out of the log: the page ends with the command.

    With --verbose, it is logged.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_is_no_address)


def _is_no_address(record: logging.LogRecord) -> bool:
    return bool(os.environ.get("FASHION_DEBUG")) or not record.getMessage().startswith("View at ")


class TemporaryServer:
    """A server that this process starts and that ends with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fashion-prefect-"))
        stop.last.append(self.remove_folder)
        atexit.register(self.remove_folder)
        with socket.create_server((LOOPBACK, 0)) as listening:
            self._set_environment(listening.getsockname()[1])
            self.process = self._start(listening)
        stop.spared.append(self.process.pid)
        stop.last.insert(0, self.close)
        atexit.register(self.close)  # before Prefect registers its final requests to the server, so it runs after them
        with contextlib.chdir(self.folder):  # a folder without settings
            _read_settings()

    def _set_environment(self, port: int) -> None:
        for name in filter(_is_foreign, list(os.environ)):
            del os.environ[name]
        os.environ |= {
            "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
            "PREFECT_HOME": str(self.folder),
            "PREFECT_PROFILES_PATH": str(self.folder / "profiles.toml"),  # does not exist
        }
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOOPBACK)))

    def _start(self, listening: socket.socket) -> "subprocess.Popen[bytes]":
        template = load_settings().data_dir / "cache" / f"prefect-{importlib.metadata.version('prefect')}.db"
        script = [sys.executable, "-P", temporary_server.__file__, str(self.folder), str(listening.fileno())]
        with (self.folder / "server.log").open("wb") as log:
            return subprocess.Popen(
                [*script, str(template)],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listening.fileno()],
                start_new_session=True,  # keep Ctrl-C from the server, which must receive the end of the run
            )

    def wait(self) -> None:
        """Wait until it responds.

        Raises:
            StackError: it does not start.
        """
        hide_address()
        output = cast(IO[bytes], self.process.stdout)
        if not select.select([output], [], [], START_TIMEOUT)[0]:
            raise StackError(f"the temporary Prefect server did not start within {START_TIMEOUT:.0f} s")
        if not output.readline():
            log = (self.folder / "server.log").read_text(errors="replace").splitlines()
            last = next((line.strip() for line in reversed(log) if line.strip() and UVICORN not in line), "nothing")
            raise StackError(f"the temporary Prefect server did not start. Its log ends with: {last}")

    def close(self) -> None:
        """Kill the server; it has nothing to finish."""
        self.process.kill()
        self.process.wait()
        self.remove_folder()

    def remove_folder(self) -> None:
        """Remove the folder, which a killed server leaves behind."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_foreign(name: str) -> bool:
    return name.startswith("PREFECT_") and not name.startswith(KEPT)
